// Command torture is the services of the torture tests of orrery: each verb is
// one that behaves well or badly in one way.
package main

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

func main() {
	verbs := map[string]func([]string) error{
		"serve":   serve,
		"sleep":   sleep,
		"node":    node,
		"lines":   lines,
		"chatter": chatter,
		"crash":   crash,
		"exit":    exitWhen,
		"ping":    ping,
		"flood":   flood,
		"bad":     bad,
	}
	if len(os.Args) < 2 || verbs[os.Args[1]] == nil {
		fmt.Fprintf(os.Stderr, "torture: got %q, want a verb\n", os.Args[1:])
		os.Exit(2)
	}
	if err := verbs[os.Args[1]](os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, "torture:", err)
		os.Exit(1)
	}
}

// now is the monotonic clock that all processes of a machine share, in ns.
func now() int64 {
	var ts unix.Timespec
	unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts)
	return ts.Nano()
}

// only makes sure that this is the one instance of name: it holds a lock as long
// as it lives, and writes a line into the file "violations" when another one
// has it.
func only(name string) {
	f, err := os.OpenFile(name+".only", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		violated(err.Error())
		return
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		violated(fmt.Sprintf("pid %d: there is another %s", os.Getpid(), name))
		return
	}
	held = append(held, f)
}

// held keeps the locks from being collected.
var held []*os.File

func violated(what string) { appendLine("violations", what) }

func appendLine(file, text string) {
	f, err := os.OpenFile(file, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return
	}
	f.WriteString(text + "\n")
	f.Close()
}

// stamp writes the time into a file that appears with its content.
func stamp(file string) error {
	tmp := file + ".new"
	if err := os.WriteFile(tmp, strconv.AppendInt(nil, now(), 10), 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, file)
}

func terminated() <-chan os.Signal {
	c := make(chan os.Signal, 16)
	signal.Notify(c, syscall.SIGTERM)
	return c
}

// sleep NAME lives until it is told to end.
func sleep(args []string) error {
	term := terminated()
	only(args[0])
	<-term
	return nil
}

// node DIR NAME MS writes when it started, was told to end, and ended MS later.
// It counts what it is told.
func node(args []string) error {
	term := terminated()
	base := args[0] + "/" + args[1]
	ms, err := strconv.Atoi(args[2])
	if err != nil {
		return err
	}
	only(args[1])
	if err := stamp(base + ".start"); err != nil {
		return err
	}
	<-term
	if err := stamp(base + ".term"); err != nil {
		return err
	}
	end := time.After(time.Duration(ms) * time.Millisecond)
	for told := 1; ; told++ {
		appendLine(base+".told", strconv.Itoa(told))
		select {
		case <-term:
			continue
		case <-end:
		}
		return stamp(base + ".exit")
	}
}

// exitWhen CODE FILE exits with the code as soon as the file is there.
func exitWhen(args []string) error {
	code, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	for {
		if _, err := os.Stat(args[1]); !errors.Is(err, os.ErrNotExist) {
			os.Exit(code)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// crash FILE adds the time to a file and fails.
func crash(args []string) error {
	appendLine(args[0], strconv.FormatInt(now(), 10))
	os.Exit(1)
	return nil
}
