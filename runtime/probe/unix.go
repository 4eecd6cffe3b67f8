package probe

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"orrery/lang/graph"
)

// unixProbe: somebody accepts connections on a socket of the file system, or,
// with a path that begins with @, an abstract one.
type unixProbe struct{ path string }

func newUnix(p *graph.Probe, t Target) (Probe, error) {
	path, err := t.socketPath(p)
	if err != nil {
		return nil, err
	}
	return &unixProbe{path}, nil
}

// socketPath binds the path of a probe's socket.
func (t *Target) socketPath(p *graph.Probe) (string, error) {
	path, err := t.fill("socket", p.Socket)
	if err != nil {
		return "", err
	}
	if path == "" {
		return "", fmt.Errorf("socket: got an empty path")
	}
	if !filepath.IsAbs(path) && !strings.HasPrefix(path, "@") {
		path = filepath.Join(t.Dir, path)
	}
	const most = len(syscall.RawSockaddrUnix{}.Path) - 1
	if len(path) > most {
		return "", fmt.Errorf("socket: got a path of %d bytes, want at most %d: %s", len(path), most, path)
	}
	return path, nil
}

// Check connects and closes, whatever the type of the socket.
func (p *unixProbe) Check(ctx context.Context) error {
	start := time.Now()
	var err error
	for _, network := range []string{"unix", "unixpacket", "unixgram"} {
		var conn net.Conn
		conn, err = new(net.Dialer).DialContext(ctx, network, p.path)
		if err == nil {
			return conn.Close()
		}
		if !errors.Is(err, syscall.EPROTOTYPE) {
			break
		}
	}
	return fmt.Errorf("connect %s: %s", p.path, reason(ctx, start, err))
}
