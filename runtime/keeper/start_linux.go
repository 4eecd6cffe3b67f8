package keeper

import (
	"encoding/json"
	"errors"
	"math"
	"os"
	"os/exec"
	"strconv"

	"golang.org/x/sys/unix"
)

// command is that of a keeper: our own binary, by what we run from and not by its name, where another file may be by now.
func command(o Orders) (*exec.Cmd, error) {
	if o.Run == "" || len(o.Args) == 0 {
		return nil, errors.New("got orders without arguments for the engine or without a marker for the run")
	}
	in, err := json.Marshal(o)
	if err != nil {
		return nil, err
	}
	return self("/proc/self/exe", in, Verb)
}

// seal marks whatever we were started with close-on-exec: a keeper that held a caller's pipe would make it wait for ever.
func seal() {
	if unix.CloseRange(3, math.MaxInt32, unix.CLOSE_RANGE_CLOEXEC) == nil {
		return
	}
	ents, _ := os.ReadDir("/proc/self/fd")
	for _, e := range ents {
		if n, err := strconv.Atoi(e.Name()); err == nil && n > 2 {
			unix.CloseOnExec(n)
		}
	}
}
