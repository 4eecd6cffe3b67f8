package history

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"
)

// durationsHead is the first line of the file of durations; the others are milliseconds, a space, and the task.
const durationsHead = "orrery-durations 1"

// maxDurations bounds the file: those that ran last stay.
const maxDurations = 20000

func (s Store) durationsFile() string { return filepath.Join(s.Dir, "durations") }

// Durations are the last known real durations of some tasks, or of all if names is nil: what was restored from the cache does not count. Tasks that never
// ran are not in it; a file that cannot be read is an empty one. It is a hint for scheduling, no more: of two processes
// that end at once, one may forget what the other has noted.
func (s Store) Durations(names []string) map[string]time.Duration {
	asked := make(map[string]bool, len(names))
	for _, name := range names {
		asked[name] = true
	}
	known := make(map[string]time.Duration, len(names))
	s.eachDuration(func(_, name []byte, ms int64) {
		if _, twice := known[string(name)]; (names == nil || asked[string(name)]) && !twice {
			known[string(name)] = time.Duration(ms) * time.Millisecond
		}
	})
	return known
}

// eachDuration reads the lines of the file: those that ran last first.
func (s Store) eachDuration(visit func(line, name []byte, ms int64)) {
	text, err := os.ReadFile(s.durationsFile())
	if err != nil {
		return
	}
	head, rest, _ := bytes.Cut(text, []byte("\n"))
	if string(head) != durationsHead {
		return
	}
	for line := range bytes.Lines(rest) {
		line = bytes.TrimSuffix(line, []byte("\n"))
		number, name, _ := bytes.Cut(line, []byte(" "))
		if ms, err := strconv.ParseInt(string(number), 10, 64); err == nil && ms >= 0 && len(name) > 0 {
			visit(line, name, ms)
		}
	}
}

// saveDurations adds what a run took.
func (s Store) saveDurations(took map[string]time.Duration) error {
	text := []byte(durationsHead + "\n")
	n := 0
	add := func(line []byte) {
		if n++; n <= maxDurations {
			text = append(append(text, line...), '\n')
		}
	}
	for _, name := range slices.Sorted(maps.Keys(took)) {
		add(fmt.Append(nil, took[name].Milliseconds(), " ", name))
	}
	s.eachDuration(func(line, name []byte, _ int64) {
		if _, fresh := took[string(name)]; !fresh {
			add(line)
		}
	})
	err := replace(s.durationsFile(), func(w io.Writer) error {
		_, err := w.Write(text)
		return err
	})
	if err != nil {
		return fmt.Errorf("cannot keep how long tasks take: %w", err)
	}
	return nil
}
