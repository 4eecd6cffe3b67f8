// Package serve runs an HTTP server that loses no request when it is replaced.
package serve

import (
	"context"
	"net"
	"net/http"
	"os"
	"sync"
	"time"
)

// Listen takes the first socket that was passed (LISTEN_FDS), or opens one.
func Listen(address string) (net.Listener, error) {
	if os.Getenv("LISTEN_FDS") == "" {
		return net.Listen("tcp", address)
	}
	f := os.NewFile(3, "http")
	defer f.Close()
	return net.FileListener(f)
}

// Run answers until ctx ends. Then it takes no more connections, which wait in the held socket for its successor, and
// answers on those that it has. (http.Server.Shutdown would drop a request that was being read when it was called.)
func Run(ctx context.Context, l net.Listener, grace time.Duration) error {
	var open sync.WaitGroup
	server := &http.Server{ConnState: func(_ net.Conn, s http.ConnState) {
		switch s {
		case http.StateNew:
			open.Add(1)
		case http.StateClosed, http.StateHijacked:
			open.Done()
		}
	}}
	stop := context.AfterFunc(ctx, func() {
		server.SetKeepAlivesEnabled(false)
		l.Close()
	})
	defer stop()
	if err := server.Serve(l); ctx.Err() == nil {
		return err
	}
	drained := make(chan struct{})
	go func() {
		open.Wait()
		close(drained)
	}()
	select {
	case <-drained:
	case <-time.After(grace):
	}
	return server.Close()
}
