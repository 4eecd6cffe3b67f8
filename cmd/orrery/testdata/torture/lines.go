package main

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"time"
)

// lines N MS FILE writes N numbered lines in about MS milliseconds, then the
// longest time that one write took, in µs, into FILE.
func lines(args []string) error {
	n, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	ms, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	term := terminated()
	only("lines")
	const most = 100 // lines a write
	began := time.Now()
	longest := time.Duration(0)
	var buf []byte
	for i := 0; i < n; {
		buf = buf[:0]
		for k := 0; k < most && i < n; k++ {
			buf = fmt.Appendf(buf, "line %08d of the torture\n", i)
			i++
		}
		at := time.Now()
		if _, err := os.Stdout.Write(buf); err != nil {
			return err
		}
		longest = max(longest, time.Since(at))
		ahead := time.Duration(i)*time.Duration(ms)*time.Millisecond/time.Duration(n) - time.Since(began)
		if ahead > time.Millisecond {
			time.Sleep(ahead)
		}
	}
	if err := os.WriteFile(args[2], []byte(strconv.FormatInt(longest.Microseconds(), 10)), 0o600); err != nil {
		return err
	}
	<-term
	return nil
}

// chatter writes as fast as it is read, until it is told to end.
func chatter([]string) error {
	term := terminated()
	w := bufio.NewWriterSize(os.Stdout, 64<<10)
	for i := 0; ; i++ {
		select {
		case <-term:
			return nil
		default:
		}
		for range 1000 {
			fmt.Fprintf(w, "%d: there is nothing to say, and all the time in the world to say it in\n", i)
		}
	}
}
