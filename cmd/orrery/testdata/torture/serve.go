package main

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// serve NAME answers HTTP on the socket that it was given: its pid. Told to end,
// it takes no new connection, answers those that it has taken, and ends.
func serve(args []string) error {
	term := terminated()
	only(args[0])
	if os.Getenv("LISTEN_PID") != fmt.Sprint(os.Getpid()) {
		return fmt.Errorf("got LISTEN_PID %q, want %d", os.Getenv("LISTEN_PID"), os.Getpid())
	}
	l, err := net.FileListener(os.NewFile(3, "listen"))
	if err != nil {
		return err
	}
	var busy sync.WaitGroup
	go func() {
		<-term
		// Not Close: what the kernel has queued is for the next instance.
		l.(*net.TCPListener).SetDeadline(time.Now())
	}()
	for {
		c, err := l.Accept()
		if err != nil {
			busy.Wait()
			return nil
		}
		busy.Go(func() { answer(c) })
	}
}

func answer(c net.Conn) {
	defer c.Close()
	c.SetDeadline(time.Now().Add(10 * time.Second))
	r := bufio.NewReader(c)
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		if strings.TrimRight(line, "\r\n") == "" {
			break
		}
	}
	body := fmt.Sprintf("pid %d\n", os.Getpid())
	fmt.Fprintf(c, "HTTP/1.0 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", len(body), body)
}

// bad KIND PORT FILE answers each connection in a way that a probe must bear:
// "hang" never answers, "huge" does not end its answer, "flap" is well and ill
// by turns. FILE is told the count of connections, the most at a time, and the
// bytes of the longest answer.
func bad(args []string) error {
	kind, file := args[0], args[2]
	only("bad-" + kind)
	l, err := net.Listen("tcp", "127.0.0.1:"+args[1])
	if err != nil {
		return err
	}
	b := &badServer{file: file}
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		n := b.count.Add(1)
		go func() {
			defer c.Close()
			b.enter()
			defer b.leave()
			r := bufio.NewReader(c)
			if _, err := r.ReadString('\n'); err != nil {
				return
			}
			b.answer(kind, n, c, r)
		}()
	}
}

type badServer struct {
	file  string
	count atomic.Int64

	mu                  sync.Mutex
	open, most, longest int64
}

func (b *badServer) enter() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.open++
	b.most = max(b.most, b.open)
	b.tell()
}

func (b *badServer) leave() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.open--
	b.tell()
}

func (b *badServer) tell() {
	text := fmt.Sprintf("%d %d %d\n", b.count.Load(), b.most, b.longest)
	os.WriteFile(b.file+".new", []byte(text), 0o600)
	os.Rename(b.file+".new", b.file)
}

func (b *badServer) answer(kind string, n int64, c net.Conn, r *bufio.Reader) {
	switch kind {
	case "hang":
		for { // until the other side has had enough
			if _, err := r.ReadByte(); err != nil {
				return
			}
		}
	case "huge":
		c.(*net.TCPConn).SetWriteBuffer(64 << 10)
		fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", 1<<30)
		chunk, sent := make([]byte, 32<<10), int64(0)
		for sent < 1<<30 {
			k, err := c.Write(chunk)
			sent += int64(k)
			if err != nil {
				break
			}
		}
		b.mu.Lock()
		b.longest = max(b.longest, sent)
		b.mu.Unlock()
	case "flap":
		status := "200 OK"
		if n > 20 && n%2 == 0 {
			status = "503 Service Unavailable"
		}
		fmt.Fprintf(c, "HTTP/1.0 %s\r\nContent-Length: 0\r\n\r\n", status)
		c.(*net.TCPConn).CloseWrite()
	}
}

// notifySocket connects to the socket that readiness is told on.
func notifySocket() (*net.UnixConn, error) {
	name := os.Getenv("NOTIFY_SOCKET")
	if strings.HasPrefix(name, "@") {
		name = "\x00" + name[1:]
	}
	return net.DialUnix("unixgram", nil, &net.UnixAddr{Name: name, Net: "unixgram"})
}

// ping NAME FILE writes when it says READY=1 into FILE.
func ping(args []string) error {
	term := terminated()
	c, err := notifySocket()
	if err != nil {
		return err
	}
	if err := stamp(args[1]); err != nil {
		return err
	}
	if _, err := c.Write([]byte("READY=1")); err != nil {
		return err
	}
	<-term
	return nil
}

// flood N FILE says READY=1 and then sends N datagrams as fast as it can; FILE
// tells how many and when it was over.
func flood(args []string) error {
	term := terminated()
	var n int
	if _, err := fmt.Sscan(args[0], &n); err != nil {
		return err
	}
	c, err := notifySocket()
	if err != nil {
		return err
	}
	if _, err := c.Write([]byte("READY=1")); err != nil {
		return err
	}
	sent, began := 0, now()
	for i := range n {
		_, err := fmt.Fprintf(c, "STATUS=datagram %d", i)
		if err != nil && err != syscall.ENOBUFS {
			break
		}
		sent++
	}
	text := fmt.Sprintf("%d %d\n", sent, (now()-began)/1e6)
	if err := os.WriteFile(args[1], []byte(text), 0o600); err != nil {
		return err
	}
	<-term
	return nil
}
