// Command web passes visitors on to the greeter. It serves on the socket that
// it was handed as descriptor 3, or on 127.0.0.1:8080 when it runs by itself.
package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	log.SetFlags(0)
	http.HandleFunc("GET /{$}", greet)
	http.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	l, err := listen()
	if err != nil {
		log.Fatal(err)
	}

	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	server := &http.Server{}
	drained := make(chan error, 1)
	go func() {
		<-ctx.Done()
		stop, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		drained <- server.Shutdown(stop)
	}()
	log.Printf("serving on %s", l.Addr())
	if err := server.Serve(l); err != http.ErrServerClosed {
		log.Fatal(err)
	}
	if err := <-drained; err != nil {
		log.Fatal(err)
	}
}

// listen takes the first socket that was passed (LISTEN_FDS), or opens one.
func listen() (net.Listener, error) {
	if os.Getenv("LISTEN_FDS") == "" {
		return net.Listen("tcp", "127.0.0.1:8080")
	}
	f := os.NewFile(3, "http")
	defer f.Close()
	return net.FileListener(f)
}

func greet(w http.ResponseWriter, r *http.Request) {
	name := r.FormValue("name")
	if name == "" {
		name = "world"
	}
	answer, err := http.Get(os.Getenv("GREETER_URL") + "/greet?name=" + url.QueryEscape(name))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	defer answer.Body.Close()
	w.WriteHeader(answer.StatusCode)
	io.Copy(w, answer.Body)
}
