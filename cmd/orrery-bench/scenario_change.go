package main

import (
	"context"
	"fmt"
	"os"
	"time"
)

// change writes a watched file and waits for the next instance.
func change() scenario {
	m := measure{"watch", "watch", "ms", "change of a watched file until the restarted server listens"}
	run := func(ctx context.Context, r *runner, f *found) ([]sample, error) {
		var list []sample
		err := r.in(f, func(s *session) error {
			s.services = servers(1, s.file("run"))
			s.services[0].watch = s.file("src")
			if err := s.write("src/file", "1"); err != nil {
				return err
			}
			pids, _, err := s.up(ctx)
			if err != nil {
				return err
			}
			if err := s.settled(ctx, 1500*time.Millisecond); err != nil {
				return err
			}
			t := time.Now()
			if err := os.WriteFile(s.file("src", "file"), []byte("2"), 0o644); err != nil {
				return err
			}
			e, err := s.hub.await(ctx, 10*time.Second, func(e event) bool { return e.kind == "up" && e.pid != pids["s0"] })
			if err != nil {
				return fmt.Errorf("no restart after the change: %w", err)
			}
			list = append(list, sample{id: m.id, value: ms(e.at.Sub(t))})
			return nil
		})
		return list, err
	}
	return scenario{[]measure{m}, func(p peer) bool { return p.watches }, run}
}
