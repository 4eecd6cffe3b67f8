package term

import (
	"bytes"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// The pace of a footer.
const (
	// Pace is the least time between two frames.
	Pace = 100 * time.Millisecond
	// patience is how long something must last before a footer is drawn.
	patience = 150 * time.Millisecond
	// tick is how often time alone may change a frame.
	tick = time.Second
	// plenty is how much is kept for the next frame; beyond it writers wait for the terminal.
	plenty = 64 << 10
)

// below erases all from the start of the cursor's line on: the line, and what is
// below it. Not all at once, as tmux takes the erasing of a whole screen for a
// wish to have it in the history.
const below = "\r\x1b[K\r\n\x1b[J\x1b[A"

// Device is the terminal of a Screen.
type Device struct {
	// Write writes bytes; they are given in one piece for each frame.
	Write func([]byte) (int, error)
	// Size asks for the size.
	Size func() Size
	// Foreground says whether the terminal is ours to draw on: false for a job in
	// the background.
	Foreground func() bool
	// Now is the time.
	Now func() time.Time
}

// Options are those of a Screen.
type Options struct {
	// Style is what the terminal takes.
	Style Style
	// Footer says what to show now. It is called by one goroutine at a time, and
	// must not call the Screen.
	Footer func(Size, time.Time) []Line
	// Fatal are signals that are to end the process as if nobody looked after them,
	// once the footer is gone; for callers that do not handle them.
	Fatal []os.Signal
	// AtOnce draws the first frame without waiting to see whether it is worth it.
	AtOnce bool
}

// Screen writes lines to a terminal with a footer below them. It draws at most
// one frame each Pace, with one write, and only when something has changed; lines
// that come in between go with the next frame. It is safe for concurrent use, and
// must be closed; that is harmless twice.
type Screen struct {
	device Device
	o      Options
	dirty  atomic.Bool
	kick   chan struct{}
	sigs   chan os.Signal
	done   chan struct{}
	ended  chan struct{}
	close  sync.Once

	mu      sync.Mutex
	pending []byte // what was given and not written yet
	frame   []byte // what is drawn below the cursor
	drawn   time.Time
	began   bool // the time of patience is over
	closed  bool
}

// Open shows a footer on a terminal, after a moment. While it is open, SIGTSTP
// takes the footer away before the process stops, SIGCONT and SIGWINCH draw it
// anew, and SIGQUIT finds it gone.
func Open(tty *os.File, o Options) *Screen {
	fd := int(tty.Fd())
	return open(Device{Write: tty.Write, Size: func() Size { return sizeOf(fd) }, Foreground: func() bool { return foreground(fd) }, Now: time.Now}, o)
}

func open(d Device, o Options) *Screen {
	s := &Screen{device: d, o: o, kick: make(chan struct{}, 1), sigs: make(chan os.Signal, 8), done: make(chan struct{}), ended: make(chan struct{}), began: o.AtOnce}
	signal.Notify(s.sigs, syscall.SIGWINCH, syscall.SIGCONT)
	for _, sig := range append([]os.Signal{syscall.SIGTSTP, syscall.SIGQUIT}, o.Fatal...) {
		if !signal.Ignored(sig) {
			signal.Notify(s.sigs, sig)
		}
	}
	go s.loop()
	return s
}

// loop draws when something has changed, or the time.
func (s *Screen) loop() {
	defer close(s.ended)
	defer signal.Stop(s.sigs)
	timer := time.NewTimer(patience)
	if s.o.AtOnce {
		timer.Reset(0)
	}
	defer timer.Stop()
	for {
		select {
		case <-s.done:
			return
		case sig := <-s.sigs:
			s.handle(sig)
		case <-s.kick:
			s.mu.Lock()
			wait := Pace - s.device.Now().Sub(s.drawn)
			began := s.began
			s.mu.Unlock()
			if began {
				timer.Reset(max(0, wait))
			}
		case <-timer.C:
			s.dirty.Store(false)
			s.mu.Lock()
			s.began = true
			s.draw()
			s.mu.Unlock()
			timer.Reset(tick)
		}
	}
}

// handle does what a signal asks for.
func (s *Screen) handle(sig os.Signal) {
	s.mu.Lock()
	switch sig {
	case syscall.SIGWINCH, syscall.SIGCONT:
		if s.frame != nil {
			s.frame = []byte{} // it may be anything now
		}
	case syscall.SIGTSTP:
		s.erase()
		suspend()
	default:
		s.erase()
		raise(sig)
	}
	s.mu.Unlock()
	s.Changed()
}

// Changed says that the footer may have another text now. It costs next to
// nothing when that was said already.
func (s *Screen) Changed() {
	if s.dirty.Swap(true) {
		return
	}
	select {
	case s.kick <- struct{}{}:
	default:
	}
}

// Write takes text that is to stand above the footer. It is written with the
// next frame; of the last line only when it is complete, or the Screen is closed.
func (s *Screen) Write(b []byte) (int, error) {
	s.mu.Lock()
	if s.closed || !s.began {
		defer s.mu.Unlock()
		return s.device.Write(b)
	}
	s.pending = append(s.pending, b...)
	if len(s.pending) > plenty {
		s.draw()
	}
	s.mu.Unlock()
	s.Changed()
	return len(b), nil
}

// draw writes what has come and the footer, unless both are as they were.
func (s *Screen) draw() {
	if s.closed {
		return
	}
	size := s.device.Size()
	var frame []byte
	if s.device.Foreground() {
		frame = Frame(s.o.Footer(size, s.device.Now()), size, s.o.Style)
	}
	lines := s.pending[:bytes.LastIndexByte(s.pending, '\n')+1]
	if len(lines) == 0 && bytes.Equal(frame, s.frame) && (frame == nil) == (s.frame == nil) {
		return
	}
	var b []byte
	if s.frame != nil {
		b = append(b, below...)
	}
	b = append(append(b, lines...), frame...)
	s.pending = append(s.pending[:0], s.pending[len(lines):]...)
	s.frame, s.drawn = frame, s.device.Now()
	s.device.Write(b)
}

// erase takes the footer away and writes what has come.
func (s *Screen) erase() {
	var b []byte
	if s.frame != nil {
		b = append(b, below...)
	}
	if b = append(b, s.pending...); len(b) > 0 {
		s.device.Write(b)
	}
	s.pending, s.frame = s.pending[:0], nil
}

// Close takes the footer away, for good. What is written later goes straight to
// the terminal.
func (s *Screen) Close() {
	s.close.Do(func() {
		s.mu.Lock()
		s.erase()
		s.closed = true
		s.mu.Unlock()
		close(s.done)
		<-s.ended
	})
}
