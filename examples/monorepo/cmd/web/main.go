// Command web serves the page, its bundle, the pages made of Markdown, and a count of words that a C program makes.
package main

import (
	"bytes"
	"context"
	"fmt"
	"html"
	"log"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"

	"monorepo/internal/messages"
)

const page = `<!doctype html>
<meta charset=utf-8>
<title>monorepo</title>
<h1>%s</h1>
<textarea id=text>the quick brown fox</textarea>
<button id=count>%s</button> <output id=result></output>
<p><a href="/docs/index.html">How it is built</a></p>
<script src="/web/main.js"></script>
`

func main() {
	log.SetFlags(0)
	http.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, page, html.EscapeString(messages.Get("hello")), html.EscapeString(messages.Get("count")))
	})
	http.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	http.HandleFunc("POST /count", count)
	http.Handle("GET /web/", http.StripPrefix("/web/", http.FileServer(http.Dir(os.Getenv("BUNDLE")))))
	http.Handle("GET /docs/", http.StripPrefix("/docs/", http.FileServer(http.Dir(os.Getenv("PAGES")))))
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
	log.Printf("serving on http://%s/", l.Addr())
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

// count passes the body to the C program, and its answer back.
func count(w http.ResponseWriter, r *http.Request) {
	cmd := exec.CommandContext(r.Context(), os.Getenv("WORDCOUNT"))
	cmd.Stdin = http.MaxBytesReader(w, r.Body, 1<<20)
	out, err := cmd.Output()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Write(bytes.TrimSpace(out))
}
