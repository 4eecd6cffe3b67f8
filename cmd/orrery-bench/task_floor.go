package main

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
)

// The floors: what the work costs with no tool at all.

// stats asks for each input and each output once.
func stats(s settings) error {
	n, err := strconv.Atoi(s["tasks"])
	if err != nil {
		return err
	}
	for _, j := range shape(n) {
		for _, name := range []string{"a", "b", "out"} {
			if _, err := os.Lstat(j.file(name)); err != nil {
				return err
			}
		}
	}
	return nil
}

// copies starts each command, two at a time, dependencies before what needs them.
func copies(s settings) error {
	n, err := strconv.Atoi(s["tasks"])
	if err != nil {
		return err
	}
	jobs := shape(n)
	for len(jobs) > 0 {
		layer := jobs[:1]
		for len(layer) < len(jobs) && jobs[len(layer)].name[0] == layer[0].name[0] {
			layer = jobs[:len(layer)+1]
		}
		if err := pair(layer); err != nil {
			return err
		}
		jobs = jobs[len(layer):]
	}
	return nil
}

// pair runs the commands of jobs that do not need each other.
func pair(jobs []*job) error {
	next := make(chan *job)
	failed := make(chan error, 2)
	for range 2 {
		go func() {
			var first error
			for j := range next {
				if err := exec.Command(j.argv[0], j.argv[1:]...).Run(); err != nil && first == nil {
					first = fmt.Errorf("%s: %w", j.line(), err)
				}
			}
			failed <- first
		}()
	}
	for _, j := range jobs {
		next <- j
	}
	close(next)
	first := <-failed
	if second := <-failed; first == nil {
		first = second
	}
	return first
}

// under runs a command and writes how much memory it had at most, or one of those that it waited for.
func under(s settings, argv []string) int {
	c := exec.Command(argv[0], argv[1:]...)
	c.Stdout, c.Stderr = os.Stdout, os.Stderr
	err := c.Run()
	if c.ProcessState != nil {
		text := fmt.Sprintf("%.2f\n", peak(c.ProcessState))
		if werr := os.WriteFile(s["to"], []byte(text), 0o644); err == nil {
			err = werr
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}
