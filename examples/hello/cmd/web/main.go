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

// linger is how long clients that hold a connection have to hear that it closes; see docs/guide-sockets.md.
const linger = 200 * time.Millisecond

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
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if ctx.Err() != nil {
			w.Header().Set("Connection", "close")
		}
		http.DefaultServeMux.ServeHTTP(w, r)
	})}
	context.AfterFunc(ctx, func() { l.Close() }) // who connects now waits for the next web
	log.Printf("serving on %s", l.Addr())
	if err := server.Serve(l); ctx.Err() == nil {
		log.Fatal(err)
	}
	time.Sleep(linger)
	grace, done := context.WithTimeout(context.Background(), 5*time.Second)
	defer done()
	if err := server.Shutdown(grace); err != nil { // requests under way end
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
