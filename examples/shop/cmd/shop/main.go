// Command shop takes orders over HTTP, keeps them in PostgreSQL and has them
// processed by workers, whom it tells of them through a Redis list.
//
//	shop migrate up   bring the database to the newest version
//	shop serve        answer HTTP, on the socket passed by LISTEN_FDS or on 127.0.0.1:8080
//	shop work         process orders until told to stop
//
// DATABASE_URL and REDIS_URL say where the servers are.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"shop/internal/shop"
)

func main() {
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	if err := run(ctx, strings.Join(os.Args[1:], " ")); err != nil {
		fmt.Fprintln(os.Stderr, "shop:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, verb string) error {
	store, err := shop.OpenStore(ctx, os.Getenv("DATABASE_URL"))
	if err != nil {
		return err
	}
	defer store.Close()
	if verb == "migrate up" {
		return store.Migrate(ctx, os.DirFS("migrations"))
	}
	queue, err := shop.OpenQueue(os.Getenv("REDIS_URL"))
	if err != nil {
		return err
	}
	defer queue.Close()
	switch verb {
	case "serve":
		return shop.Serve(ctx, store, queue)
	case "work":
		return shop.Work(ctx, store, queue)
	}
	return errors.New("usage: shop serve | work | migrate up")
}
