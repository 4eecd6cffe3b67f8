// Command web serves the page, its bundle, the pages made of Markdown, and a count of words that a C program makes.
package main

import (
	"bytes"
	"context"
	"fmt"
	"html"
	"log"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"

	"monorepo/internal/messages"
	"monorepo/internal/serve"
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
	l, err := serve.Listen("127.0.0.1:8080")
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	log.Printf("serving on http://%s/", l.Addr())
	if err := serve.Run(ctx, l, 5*time.Second); err != nil {
		log.Fatal(err)
	}
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
