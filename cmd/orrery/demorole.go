package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// demoVerb is the hidden verb that is a service of the demo.
const demoVerb = "__demo"

// demoRole is one service, or the task, of the demo; it returns the exit code.
func demoRole(args []string) int {
	if len(args) == 0 {
		fmt.Fprintln(os.Stderr, "orrery demo starts the services")
		return exitUsage
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	var err error
	switch {
	case args[0] == "clock":
		err = serveDemo(ctx, demoClock())
	case args[0] == "api":
		err = serveDemo(ctx, demoAPI())
	case args[0] == "web":
		err = serveDemo(ctx, demoWeb())
	case args[0] == "words" && len(args) == 3:
		err = demoWords(args[1], args[2])
	default:
		err = fmt.Errorf("the demo has no %q", args[0])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return exitFailed
	}
	return exitOK
}

// serveDemo serves on the socket that was passed, or on PORT, until the end.
func serveDemo(ctx context.Context, handler http.Handler) error {
	l, err := demoListener()
	if err != nil {
		return err
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	fmt.Printf("listening on %s\n", l.Addr())
	if err := notifyReady(); err != nil {
		return err
	}
	go func() {
		<-ctx.Done()
		last, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		server.Shutdown(last)
	}()
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	fmt.Println("stopped")
	return nil
}

func demoListener() (net.Listener, error) {
	if os.Getenv("LISTEN_FDS") != "1" {
		return net.Listen("tcp", net.JoinHostPort("127.0.0.1", os.Getenv("PORT")))
	}
	f := os.NewFile(3, "socket")
	defer f.Close()
	return net.FileListener(f)
}

// notifyReady is sd_notify("READY=1"), where somebody listens.
func notifyReady() error {
	path := os.Getenv("NOTIFY_SOCKET")
	if path == "" {
		return nil
	}
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = c.Write([]byte("READY=1"))
	return err
}

func demoClock() http.Handler {
	began := time.Now()
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		json.NewEncoder(w).Encode(map[string]string{"time": time.Now().Format(time.TimeOnly), "up": time.Since(began).Round(time.Second).String()})
	})
}

func demoAPI() http.Handler {
	var served atomic.Int64
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var clock map[string]string
		if err := demoAsk(r.Context(), os.Getenv("CLOCK"), &clock); err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		fmt.Printf("request %d\n", served.Add(1))
		json.NewEncoder(w).Encode(map[string]string{"time": clock["time"], "clock_up": clock["up"], "served": fmt.Sprint(served.Load()), "pid": fmt.Sprint(os.Getpid())})
	})
}

func demoAsk(ctx context.Context, url string, v any) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	return json.NewDecoder(resp.Body).Decode(v)
}

// demoPage is the page: it asks itself again every two seconds. html/template
// would make the program a tenth larger.
const demoPage = `<!doctype html><html><head><meta charset="utf-8"><meta http-equiv="refresh" content="2"><title>orrery demo</title>
<style>body{font:16px/1.5 sans-serif;max-width:46em;margin:2em auto;padding:0 1em}td,th{text-align:left;padding:.2em 1.5em .2em 0}code{background:#eee;padding:.1em .3em}</style></head>
<body><h1>%s</h1><p>It is %s, says clock, which api asked (%s requests, pid %s).</p>
<table><tr><th>node</th><th>state</th><th>pid</th><th>restarts</th></tr>%s</table>
<p>In %s, try:</p><ul><li><code>orrery restart api</code>: this page never fails, for orrery holds the socket of api</li><li><code>orrery logs -f</code>, <code>orrery why web</code>, <code>orrery graph</code></li>
<li><code>echo Hello there &gt; greeting.txt; orrery run words</code></li></ul></body></html>`

type demoNode struct {
	Name, State   string
	PID, Restarts int
}

func demoWeb() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("/{$}", func(w http.ResponseWriter, r *http.Request) {
		var api, words map[string]string
		if err := demoAsk(r.Context(), os.Getenv("API"), &api); err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		if text, err := os.ReadFile(os.Getenv("WORDS")); err == nil {
			json.Unmarshal(text, &words) // one that is being written has no words yet
		}
		dir, _ := os.Getwd()
		rows := ""
		for _, n := range demoStatus(r.Context()) {
			rows += fmt.Sprintf("<tr><td>%s</td><td>%s</td><td>%d</td><td>%d</td></tr>", html.EscapeString(n.Name), html.EscapeString(n.State), n.PID, n.Restarts)
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		fmt.Fprintf(w, demoPage, html.EscapeString(words["text"]), html.EscapeString(api["time"]), html.EscapeString(api["served"]), html.EscapeString(api["pid"]), rows, html.EscapeString(dir))
	})
	return mux
}

// demoStatus is what orrery status says of the project that this is part of.
func demoStatus(ctx context.Context) []demoNode {
	self, err := os.Executable()
	if err != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, self, "status", "--json").Output()
	if err != nil {
		return nil
	}
	var st struct{ Nodes []demoNode }
	if json.Unmarshal(out, &st) != nil {
		return nil
	}
	return st.Nodes
}

// demoWords is the task: a text becomes JSON.
func demoWords(from, to string) error {
	text := "Hello from orrery"
	if b, err := os.ReadFile(from); err == nil && strings.TrimSpace(string(b)) != "" {
		text = strings.TrimSpace(string(b))
	}
	out, err := json.Marshal(map[string]string{"text": text})
	if err != nil {
		return err
	}
	fmt.Printf("%d words\n", len(strings.Fields(text)))
	return os.WriteFile(to, append(out, '\n'), 0o644)
}
