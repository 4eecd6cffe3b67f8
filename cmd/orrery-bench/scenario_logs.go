package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// lines has one service write n lines as fast as it can, and counts what the manager has kept of them.
func lines(n int) scenario {
	all := []measure{
		{fmt.Sprintf("logs.%d", n), "logs", "ms", fmt.Sprintf("first line written until the manager has stored all %d of 100 bytes", n)},
		{"logs.lost", "logs", "lines", "lines of these that are missing, torn or doubled"},
	}
	run := func(ctx context.Context, r *runner, f *found) ([]sample, error) {
		flood := service{name: "flood", mode: "__flood", args: []string{fmt.Sprintf("lines=%d", n)}, logs: true}
		var list []sample
		err := r.in(f, func(s *session) error {
			s.services = []service{flood}
			if err := s.start(); err != nil {
				return err
			}
			var began, ended time.Time
			_, err := s.hub.await(ctx, limit, func(e event) bool {
				switch e.kind {
				case "begin":
					began = e.at
				case "end":
					ended = e.at
				}
				return !ended.IsZero() && !began.IsZero()
			})
			if err != nil {
				return fmt.Errorf("the writer did not end: %w: %s", err, s.said())
			}
			last := s.stored(ctx, n)
			good := s.count()
			list = append(list, sample{id: "logs.lost", value: float64(n - good)})
			if good != n {
				list[0].note = fmt.Sprintf("%d of %d intact", good, n)
			}
			list = append(list, sample{id: all[0].id, value: ms(last.Sub(began))})
			return nil
		})
		return list, err
	}
	return scenario{all, func(p peer) bool { return p.name != "bare" }, run}
}

// files are those that hold the output of the flood, or the session's own.
func (s *session) files() []string {
	var all []string
	for _, pattern := range s.peer.logs(s, "flood") {
		found, _ := filepath.Glob(s.file(pattern))
		all = append(all, found...)
	}
	return all
}

// stored waits until the last line has come, or nothing has come for two seconds, and returns when that was. Nothing tells
// of it, so the end of the files is looked at again and again.
func (s *session) stored(ctx context.Context, n int) time.Time {
	want := []byte(fmt.Sprintf("%s%09d ", lineMark, n))
	var size int64
	last := time.Now()
	for ctx.Err() == nil && time.Since(last) < 2*time.Second {
		var sum int64
		for _, name := range s.files() {
			end, length := ending(name)
			sum += length
			if bytes.Contains(end, want) {
				return time.Now()
			}
		}
		if sum != size {
			size, last = sum, time.Now()
		}
		_ = sleep(ctx, time.Millisecond)
	}
	return last
}

// ending is the last part of a file, and its length.
func ending(name string) ([]byte, int64) {
	f, err := os.Open(name)
	if err != nil {
		return nil, 0
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, 0
	}
	b := make([]byte, min(st.Size(), 1024))
	n, _ := f.ReadAt(b, st.Size()-int64(len(b)))
	return b[:n], st.Size()
}

// count is how many different lines are there in full. A manager may put a prefix before each.
func (s *session) count() int {
	seen := map[int]bool{}
	for _, name := range s.files() {
		f, err := os.Open(name)
		if err != nil {
			continue
		}
		for r := bufio.NewReaderSize(f, 1<<20); ; {
			line, err := r.ReadSlice('\n')
			if k, ok := whole(line); ok {
				seen[k] = true
			}
			if err == io.EOF {
				break
			}
		}
		_ = f.Close()
	}
	return len(seen)
}

// whole is the number of a line that is complete. A terminal ends it with a carriage return too.
func whole(line []byte) (int, bool) {
	_, rest, ok := bytes.Cut(line, []byte(lineMark))
	rest = bytes.TrimRight(rest, "\r\n")
	if !ok || len(rest) != 100-len(lineMark)-1 || !bytes.HasSuffix(rest, bytes.TrimSpace([]byte(lineEnd))) {
		return 0, false
	}
	n, err := strconv.Atoi(string(rest[:9]))
	return n, err == nil
}
