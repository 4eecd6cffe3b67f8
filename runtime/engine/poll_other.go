//go:build !linux

package engine

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"

	"orrery/runtime/notify"
)

// poller waits for descriptors; here it needs Linux.
type poller struct{}

const (
	pollIn  = 1
	pollHup = 2
)

func newPoller() (*poller, error) {
	return nil, errors.New("sockets are watched on Linux only: leave out lazy, accept and fdstore")
}

func (p *poller) add(*os.File, int32, uint32) error { return errors.ErrUnsupported }

func (p *poller) remove(*os.File) {}

func (p *poller) wait() (int32, uint32, bool) { return 0, 0, false }

func (p *poller) close() {}

func acceptOn(*os.File) (*os.File, unix.Sockaddr, error) { return nil, nil, errors.ErrUnsupported }

func onFD(*os.File, func(fd int) error) error { return errors.ErrUnsupported }

func duplicate(*os.File) (*os.File, error) { return nil, errors.ErrUnsupported }

func sameObject(a, b *os.File) bool { return a == b }

// awaitNewline calls ready once a newline is on a readiness descriptor. It
// closes r.
func awaitNewline(r *os.File, ready func()) { notify.WaitNewline(r, ready) }
