//go:build !linux

package main

import (
	"io/fs"
	"os"
	"runtime"
	"syscall"
)

// machine says that this is not the platform that orrery is made for.
func (d *diagnosis) machine() {
	d.add("kernel", checkNote, "", "%s: services do not outlive a killed engine, sockets and limits are not handed over", runtime.GOOS)
}

func ownedByUs(info fs.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(st.Uid) == os.Geteuid()
}

// ownProcesses are not looked for here.
func ownProcesses() (engines []engineProcess, strays []stray) { return nil, nil }
