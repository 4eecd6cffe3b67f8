package shop

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"time"

	"github.com/coreos/go-systemd/v22/activation"
	"github.com/coreos/go-systemd/v22/daemon"
)

// drain is how long open requests may take to end once the server is told to stop.
const drain = 8 * time.Second

// linger is how long clients that hold a connection have to hear that it closes; see docs/guide-sockets.md in orrery.
const linger = 200 * time.Millisecond

// Serve answers HTTP until ctx ends, and then lets open requests finish.
func Serve(ctx context.Context, store *Store, queue *Queue) error {
	l, err := listen()
	if err != nil {
		return err
	}
	handler := handler(store, queue)
	server := &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if ctx.Err() != nil {
			w.Header().Set("Connection", "close")
		}
		handler.ServeHTTP(w, r)
	})}
	context.AfterFunc(ctx, func() { l.Close() }) // who connects now waits for the next one
	log.Printf("serving on http://%s", l.Addr())
	if _, err := daemon.SdNotify(false, daemon.SdNotifyReady); err != nil {
		return err
	}
	if err := server.Serve(l); ctx.Err() == nil {
		return err
	}
	time.Sleep(linger)
	stop, cancel := context.WithTimeout(context.Background(), drain)
	defer cancel()
	return server.Shutdown(stop)
}

// listen takes the socket that was passed on, or opens one.
func listen() (net.Listener, error) {
	passed, err := activation.Listeners()
	if err != nil {
		return nil, err
	}
	if len(passed) > 0 && passed[0] != nil {
		return passed[0], nil
	}
	return net.Listen("tcp", "127.0.0.1:8080")
}

func handler(store *Store, queue *Queue) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /{$}", answer(func(*http.Request) (any, error) {
		return map[string]string{"orders": "/orders", "stats": "/stats"}, nil
	}))
	mux.Handle("GET /healthz", answer(func(r *http.Request) (any, error) {
		ctx, cancel := context.WithTimeout(r.Context(), 900*time.Millisecond)
		defer cancel()
		return "ok", errors.Join(store.Ping(ctx), queue.Ping(ctx))
	}))
	mux.Handle("GET /orders", answer(func(r *http.Request) (any, error) { return store.List(r.Context()) }))
	mux.Handle("GET /stats", answer(func(r *http.Request) (any, error) { return store.Stats(r.Context()) }))
	mux.Handle("POST /orders", answer(func(r *http.Request) (any, error) { return order(r, store, queue) }))
	return mux
}

// order stores what a client asks for and tells the workers.
func order(r *http.Request, store *Store, queue *Queue) (any, error) {
	var in struct {
		Item     string `json:"item"`
		Quantity int    `json:"quantity"`
	}
	if err := json.NewDecoder(http.MaxBytesReader(nil, r.Body, 1<<16)).Decode(&in); err != nil {
		return nil, refusal(err.Error())
	}
	if in.Item == "" || in.Quantity < 1 || in.Quantity > 1_000_000 {
		return nil, refusal(fmt.Sprintf("got %d of %q, want 1 to 1000000 of something", in.Quantity, in.Item))
	}
	id, err := store.Add(r.Context(), in.Item, in.Quantity)
	if err != nil {
		return nil, err
	}
	if err := queue.Push(r.Context(), id); err != nil {
		log.Printf("order %d: cannot tell the workers, they will find it by themselves: %v", id, err)
	}
	return map[string]int64{"id": id}, nil
}

// refusal is an error that is the client's.
type refusal string

func (r refusal) Error() string { return string(r) }

// answer is a handler that writes what f gives as JSON.
func answer(f func(*http.Request) (any, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		body, err := f(r)
		if err != nil {
			status := http.StatusServiceUnavailable
			if _, ok := errors.AsType[refusal](err); ok {
				status = http.StatusBadRequest
			} else {
				log.Printf("%s %s: %v", r.Method, r.URL.Path, err)
			}
			w.WriteHeader(status)
			body = map[string]string{"error": err.Error()}
		}
		json.NewEncoder(w).Encode(body)
	})
}
