package history

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// durationsHead is the first line of the file of durations; the others are milliseconds, a space, and the task.
const durationsHead = "orrery-durations 1"

// maxDurations bounds the file: those that ran last stay.
const maxDurations = 20000

func (s Store) durationsFile() string { return filepath.Join(s.Dir, "durations") }

// Durations are the last known real durations of tasks: what was restored from the cache does not count. Tasks that never
// ran are not in it; a file that cannot be read is an empty one. It is a hint for scheduling, no more: of two processes
// that end at once, one may forget what the other has noted.
func (s Store) Durations() map[string]time.Duration {
	known, _ := s.readDurations()
	return known
}

// readDurations reads the file, with its order: those that ran last first.
func (s Store) readDurations() (known map[string]time.Duration, order []string) {
	known = map[string]time.Duration{}
	text, err := os.ReadFile(s.durationsFile())
	if err != nil {
		return known, nil
	}
	lines := bufio.NewScanner(bytes.NewReader(text))
	if !lines.Scan() || lines.Text() != durationsHead {
		return known, nil
	}
	for lines.Scan() {
		ms, name, _ := strings.Cut(lines.Text(), " ")
		n, err := strconv.ParseInt(ms, 10, 64)
		if _, twice := known[name]; err != nil || n < 0 || name == "" || twice {
			continue
		}
		known[name] = time.Duration(n) * time.Millisecond
		order = append(order, name)
	}
	return known, order
}

// saveDurations adds what a run took.
func (s Store) saveDurations(took map[string]time.Duration) error {
	known, order := s.readDurations()
	names := slices.Sorted(maps.Keys(took))
	for _, name := range order {
		if _, fresh := took[name]; !fresh {
			names = append(names, name)
		}
	}
	maps.Copy(known, took)
	err := replace(s.durationsFile(), func(w io.Writer) error {
		fmt.Fprintln(w, durationsHead)
		for i, name := range names {
			if i == maxDurations {
				break
			}
			if _, err := fmt.Fprintln(w, known[name].Milliseconds(), name); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("cannot keep how long tasks take: %w", err)
	}
	return nil
}
