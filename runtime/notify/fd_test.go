package notify

import (
	"errors"
	"os"
	"os/exec"
	"testing"
)

func TestWaitNewline(t *testing.T) {
	for name, test := range map[string]struct {
		script string
		ready  bool
	}{
		"newline":       {"echo >&3", true},
		"text before":   {"printf 'almost\nmore' >&3; printf 'and more' >&3", true},
		"no newline":    {"printf almost >&3", false},
		"nothing":       {":", false},
		"left open":     {"echo >&3; exec sh -c :", true},
		"closed at end": {"exec 3>&-; exit 1", false},
	} {
		t.Run(name, func(t *testing.T) {
			r, w, err := ReadyPipe()
			if err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command("sh", "-c", test.script)
			cmd.ExtraFiles = []*os.File{w}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			w.Close()
			defer cmd.Wait()
			calls := 0
			err = WaitNewline(r, func() { calls++ })
			if (err == nil) != test.ready || (calls == 1) != test.ready || calls > 1 {
				t.Errorf("got %d calls, error %v, want ready %v", calls, err, test.ready)
			}
		})
	}
}

func TestWaitNewlineReportsAtOnce(t *testing.T) {
	r, w, err := ReadyPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	ready, done := make(chan bool), make(chan error)
	go func() { done <- WaitNewline(r, func() { close(ready) }) }()
	w.WriteString("\n")
	<-ready // while w is still open
	r.Close()
	if err := <-done; err != nil {
		t.Errorf("got %v, want nil: it was ready", err)
	}
}

func TestWaitNewlineEndsWhenClosed(t *testing.T) {
	r, w, err := ReadyPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	done := make(chan error)
	go func() { done <- WaitNewline(r, func() {}) }()
	r.Close()
	if err := <-done; !errors.Is(err, os.ErrClosed) {
		t.Errorf("got %v, want %v", err, os.ErrClosed)
	}
}
