// A server on a held socket that fails no request while it is restarted.
package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// linger is how long clients that hold a connection have to hear that it closes:
// longer than the pause between two of their requests.
const linger = 200 * time.Millisecond

func main() {
	l, err := net.FileListener(os.NewFile(3, "http")) // LISTEN_FDS: the first socket
	if err != nil {
		panic(err)
	}
	var draining atomic.Bool
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if draining.Load() {
			w.Header().Set("Connection", "close")
		}
		fmt.Fprintf(w, "pid %d", os.Getpid())
	})}

	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, func() {
		draining.Store(true)
		l.Close() // 1. accept no more: the next process does
	})
	daemon.SdNotify(false, daemon.SdNotifyReady)
	s.Serve(l)                       // 2. every accepted connection is in good hands
	time.Sleep(linger)               // 3. idle clients learn that it closes
	s.Shutdown(context.Background()) // 4. requests under way end
}
