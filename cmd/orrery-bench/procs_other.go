//go:build !linux

package main

import (
	"errors"
	"os"
	"os/exec"
	"runtime"
	"time"
)

var errLinux = errors.New("orrery-bench measures on Linux only: it reads /proc and adopts what daemons leave")

func supported() error { return errLinux }

type family struct{}

func newFamily() (*family, error) { return nil, errLinux }

func (f *family) close()                  {}
func (f *family) start(c *exec.Cmd) error { return c.Start() }
func (f *family) wait(c *exec.Cmd) error  { return c.Wait() }
func (f *family) sweep() int              { return 0 }

type process struct {
	pid, parent int
	args        []string
	helper      bool
}

func (p process) kill()              {}
func (p process) memory() int64      { return 0 }
func (p process) cpu() time.Duration { return 0 }

func peak(*os.ProcessState) float64 { return 0 }

func children() []int          { return nil }
func descendants() []process   { return nil }
func look(int) (process, bool) { return process{}, false }

func terminal() (master, slave *os.File, err error) { return nil, nil, errLinux }

func kernel() string { return runtime.GOOS }
