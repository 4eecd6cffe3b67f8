package control

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestOneEngine(t *testing.T) {
	p := newPlace(t)
	p.Version = "1.2.3"
	lock, err := Acquire(p)
	check(t, err)
	_, err = Acquire(p)
	var running *ErrRunning
	if !errors.As(err, &running) || running.PID != os.Getpid() || running.Socket != p.Socket || running.Version != "1.2.3" {
		t.Fatalf("got %v, want an ErrRunning that names us", err)
	}
	if !running.alive() {
		t.Errorf("got %+v, want a living process", running.Info)
	}
	if info, held, err := p.Running(); !held || err != nil || info.PID != os.Getpid() {
		t.Errorf("got %+v, %v, %v, want a held lock", info, held, err)
	}
	for range 2 {
		check(t, lock.Release())
	}
	if _, err := lock.Listen(); err == nil {
		t.Error("got a listener from a released lock")
	}
	if info, held, err := p.Running(); held || err != nil {
		t.Errorf("got %+v, %v, %v, want a free lock", info, held, err)
	}
	lock, err = Acquire(p)
	check(t, err)
	check(t, lock.Release())
}

func TestStaleContentIsHarmless(t *testing.T) {
	p := newPlace(t)
	check(t, p.Make())
	living, err := json.Marshal(Info{PID: os.Getpid(), Start: startTime(os.Getpid()), Boot: bootID(), Socket: "/nowhere"})
	check(t, err)
	for _, content := range []string{"", "{", "\x00\x00\x00", `{"pid":1}`, string(living) + "\n and a torn tail"} {
		check(t, os.WriteFile(p.Lock, []byte(content), 0o644))
		_, err := Dial(t.Context(), p)
		var none *ErrNoEngine
		if !errors.As(err, &none) || none.Cause != nil {
			t.Errorf("content %q: Dial got %v, want no engine", content, err)
		}
		lock, err := Acquire(p)
		check(t, err)
		if got := readInfo(p.Lock); got.PID != os.Getpid() || got.Socket != p.Socket {
			t.Errorf("content %q: got %+v after Acquire", content, got)
		}
		check(t, lock.Release())
	}
}

func TestLookingDoesNotDisturb(t *testing.T) {
	p := newPlace(t)
	stop, ended := make(chan struct{}), make(chan struct{})
	for range 2 {
		go func() {
			defer func() { ended <- struct{}{} }()
			for {
				select {
				case <-stop:
					return
				default:
					p.Running()
				}
			}
		}()
	}
	for i := range 100 {
		lock, err := Acquire(p)
		if err != nil {
			t.Errorf("round %d: %v", i, err)
			break
		}
		check(t, lock.Release())
	}
	close(stop)
	<-ended
	<-ended
}

func TestCrashReleases(t *testing.T) {
	p := newPlace(t)
	cmd, out := startRole(t, "engine", p.Project)
	wantLine(t, out, "ready")
	_, err := Acquire(p)
	var running *ErrRunning
	if !errors.As(err, &running) || running.PID != cmd.Process.Pid {
		t.Fatalf("got %v, want an ErrRunning with pid %d", err, cmd.Process.Pid)
	}
	c := client(t, p)
	if c.PID() != cmd.Process.Pid {
		t.Errorf("got pid %d, want %d", c.PID(), cmd.Process.Pid)
	}

	check(t, cmd.Process.Kill())
	soon(t, c.Done(), "the client notices")
	cmd.Wait()
	err = c.Call(t.Context(), "echo", nil, nil)
	var none *ErrNoEngine
	if !errors.As(err, &none) || none.Cause == nil {
		t.Errorf("got %v, want an ErrNoEngine with a cause", err)
	}
	if _, err := os.Lstat(p.Socket); err != nil {
		t.Fatalf("want a stale socket: %v", err)
	}
	if _, err = Dial(t.Context(), p); !errors.As(err, &none) || none.Cause != nil {
		t.Errorf("got %v, want that none runs", err)
	}

	lock, err := Acquire(p)
	check(t, err)
	defer lock.Release()
	l, err := lock.Listen()
	check(t, err)
	wantMode(t, p.Socket, 0o600)
	check(t, l.Close())
	if _, err := os.Lstat(p.Socket); !os.IsNotExist(err) {
		t.Errorf("the socket is left behind: %v", err)
	}
}

func TestListenRefuses(t *testing.T) {
	p := newPlace(t)
	lock, err := Acquire(p)
	check(t, err)
	defer lock.Release()

	check(t, os.WriteFile(p.Socket, []byte("mine"), 0o600))
	_, err = lock.Listen()
	wantError(t, err, "want a socket or nothing")
	check(t, os.Remove(p.Socket))
	check(t, os.Symlink(filepath.Join(p.Run, "elsewhere"), p.Socket))
	_, err = lock.Listen()
	wantError(t, err, "want a socket or nothing")
	check(t, os.Remove(p.Socket))

	// Someone deletes .orrery under a running engine: the new one must not take its socket away.
	l, err := lock.Listen()
	check(t, err)
	defer l.Close()
	check(t, os.RemoveAll(p.Dir))
	second, err := Acquire(p)
	check(t, err)
	defer second.Release()
	_, err = second.Listen()
	wantError(t, err, "answers there although its lock file is gone")
	c, err := net.Dial("unix", p.Socket)
	check(t, err)
	c.Close()
}

func TestLockTellsTheSocket(t *testing.T) {
	p := serve(t, defaultLimits(), echo)
	dir, err := os.MkdirTemp("", "o")
	check(t, err)
	defer os.RemoveAll(dir)
	t.Setenv("XDG_RUNTIME_DIR", dir)
	q, err := Locate(p.Project)
	check(t, err)
	if q.Socket == p.Socket {
		t.Fatal("want another socket path in another login")
	}
	c := client(t, q)
	check(t, c.Call(t.Context(), "echo", nil, nil))
}

func TestDialWaitsForTheStart(t *testing.T) {
	noLeaks(t)
	p := newPlace(t)
	lock, err := Acquire(p)
	check(t, err)
	defer lock.Release()

	l := defaultLimits()
	l.dial = time.Millisecond
	_, err = dial(t.Context(), p, l)
	wantError(t, err, "does not answer")
	var none *ErrNoEngine
	if !errors.As(err, &none) || none.Cause == nil {
		t.Errorf("got %v, want an ErrNoEngine with a cause", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := Dial(ctx, p); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want the end of ctx", err)
	}

	dialed := make(chan error, 1)
	go func() {
		c, err := Dial(context.Background(), p)
		if err == nil {
			err = c.Call(context.Background(), "echo", nil, nil)
			c.Close()
		}
		dialed <- err
	}()
	n, err := lock.Listen()
	check(t, err)
	serving, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- Serve(serving, n, handlerFunc(echo)) }()
	check(t, <-dialed)
	stop()
	check(t, <-ended)
}
