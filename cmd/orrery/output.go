package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"sync"

	"orrery/runtime/logs"
	"orrery/runtime/task"
)

// The ways in which a run shows what its tasks print.
const (
	asPrefixed = "prefixed" // line by line, as it comes
	asGrouped  = "grouped"  // when the task has ended, in one piece
	asFailed   = "failed"   // the same at the end of the run, of those that failed
	asNone     = "none"
)

// outputs shows what the tasks of a run print. Safe for concurrent use.
type outputs struct {
	screen *screen
	how    string

	mu     sync.Mutex
	failed []*taskOutput
}

func newOutputs(s *screen) *outputs {
	how := s.app.output
	if how == "" {
		how = asPrefixed
		if inCI() {
			how = asGrouped
		}
	}
	o := &outputs{screen: s, how: how}
	s.last = o.last
	return o
}

// of gives a task its writers. The two may be written to at the same time, each
// by one goroutine; done comes after them.
func (o *outputs) of(node string) (out, errOut io.Writer, done func(task.State)) {
	t := &taskOutput{outputs: o, node: node}
	a, b := &lines{show: t.line}, &lines{show: t.line}
	return a, b, func(state task.State) {
		a.flush()
		b.flush()
		o.ended(t, state)
	}
}

func (o *outputs) ended(t *taskOutput, state task.State) {
	if o.how == asGrouped {
		o.show(t, state)
	}
	if state != task.Failed {
		t.text.close()
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.failed = append(o.failed, t)
}

// show writes the whole output of a task, without a line of another one in it.
func (o *outputs) show(t *taskOutput, state task.State) {
	if t.text.size == 0 {
		return
	}
	s := o.screen
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.github && state != task.Failed {
		fmt.Fprintf(s.out, "::group::%s\n", t.node)
		defer fmt.Fprintln(s.out, "::endgroup::")
	}
	if s.github && t.commands {
		defer shield(s.out)()
	}
	if err := t.text.copyTo(s.out); err != nil {
		fmt.Fprintf(s.err, "cannot show what %s has printed: %v\n", t.node, err)
	}
}

// finish shows what is shown at the end: of how == asFailed.
func (o *outputs) finish() {
	if o.how != asFailed {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, t := range o.failed {
		o.show(t, task.Failed)
	}
}

// forget drops what tasks have printed whose failure was reported.
func (o *outputs) forget() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, t := range o.failed {
		t.text.close()
	}
	o.failed = nil
}

// last writes the last lines of a task that has failed, for the report.
func (o *outputs) last(w io.Writer, node string) bool {
	if o.how == asFailed {
		return false // all of it has just been shown
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, t := range o.failed {
		if t.node != node {
			continue
		}
		for _, line := range t.tail {
			o.screen.quote(w, line)
		}
		return len(t.tail) > 0
	}
	return false
}

// taskOutput is what one task has printed.
type taskOutput struct {
	*outputs
	node string

	mu   sync.Mutex
	text spool    // as it is shown, where it is not shown at once
	tail []string // the last lines

	commands bool // there is something in text that GitHub might take for a command
}

// line takes one line, of either stream.
func (t *taskOutput) line(b []byte) {
	if t.how == asNone {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	text := logs.Sanitise(b)
	if len(t.tail) == lastShown {
		t.tail = append(t.tail[:0], t.tail[1:]...)
	}
	t.tail = append(t.tail, text)
	switch {
	case t.how == asPrefixed:
		t.screen.line(logs.Line{Node: t.node, Text: b})
	case t.screen.github && t.how == asGrouped:
		t.commands = t.commands || isCommand(text)
		t.text.add(text + "\n")
	default:
		t.commands = t.commands || isCommand(text)
		t.text.add(t.screen.prefixOf(t.node) + text + "\n")
	}
}

// maxSpool is how much of a task's output is kept in memory; the rest goes to a
// file that has no name.
const maxSpool = 1 << 20

// spool keeps text until it can be shown.
type spool struct {
	size int
	head bytes.Buffer
	file *os.File
	err  error // the disk is full: what came later is lost
}

func (s *spool) add(text string) {
	s.size += len(text)
	if s.file == nil && s.head.Len()+len(text) <= maxSpool {
		s.head.WriteString(text)
		return
	}
	if s.file == nil && s.err == nil {
		if s.file, s.err = os.CreateTemp("", "orrery-output"); s.err == nil {
			os.Remove(s.file.Name())
		}
	}
	if s.err == nil {
		_, s.err = s.file.WriteString(text)
	}
}

func (s *spool) copyTo(w io.Writer) error {
	if _, err := w.Write(s.head.Bytes()); err != nil {
		return err
	}
	if s.file != nil {
		if _, err := s.file.Seek(0, io.SeekStart); err != nil {
			return err
		}
		if _, err := io.Copy(w, s.file); err != nil {
			return err
		}
	}
	return s.err
}

func (s *spool) close() {
	if s.file != nil {
		s.file.Close()
	}
	*s = spool{}
}

// lines cuts a stream into lines. Not safe for concurrent use.
type lines struct {
	show func([]byte)
	rest []byte
}

// Write shows the lines that are complete.
func (l *lines) Write(b []byte) (int, error) {
	n := len(b)
	for {
		i := bytes.IndexByte(b, '\n')
		if i < 0 {
			l.rest = append(l.rest, b...)
			return n, nil
		}
		l.show(append(l.rest, b[:i]...))
		l.rest, b = nil, b[i+1:]
	}
}

func (l *lines) flush() {
	if len(l.rest) > 0 {
		l.show(l.rest)
		l.rest = nil
	}
}
