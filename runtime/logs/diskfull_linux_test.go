package logs

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestDiskFull runs itself in a mount namespace of its own with a file system of 1 MiB, so that nothing is left
// mounted, and no root is needed where user namespaces are allowed.
func TestDiskFull(t *testing.T) {
	if os.Getenv("LOGS_TEST_TMPFS") == "" {
		cmd := exec.Command(os.Args[0], "-test.run=^TestDiskFull$", "-test.v")
		cmd.Env = append(os.Environ(), "LOGS_TEST_TMPFS="+t.TempDir())
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
		if os.Getuid() != 0 {
			cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
			cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
			cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
		}
		out, err := cmd.CombinedOutput()
		if _, exited := err.(*exec.ExitError); err != nil && !exited {
			t.Skipf("cannot make a mount namespace: %v", err)
		}
		if strings.Contains(string(out), "--- SKIP") {
			t.Skipf("%s", out)
		}
		t.Logf("%s", out)
		if err != nil {
			t.Error(err)
		}
		return
	}
	dir := os.Getenv("LOGS_TEST_TMPFS")
	unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		t.Skipf("cannot mount a tmpfs: %v", err)
	}
	fillAndRecover(t, dir)
}

func fillAndRecover(t *testing.T, dir string) {
	s, err := Open(filepath.Join(dir, "logs"))
	if err != nil {
		t.Fatal(err)
	}
	c := capture(t, s, "a", Options{Single: true})
	ballast := filepath.Join(dir, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 600<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	wrote, worst := 0, time.Duration(0)
	line := func() {
		start := time.Now()
		n, err := fmt.Fprintf(c.Stdout(), "line %07d %s\n", wrote, strings.Repeat("x", 80))
		if err != nil {
			t.Fatal(err)
		}
		wrote += n
		worst = max(worst, time.Since(start))
	}
	for wrote < 4<<20 {
		line()
	}
	drain(t, c)
	full := len(content(t, s, "a", Stdout))
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	for range 1000 {
		line()
	}
	drain(t, c)
	fmt.Fprintln(c.Stdout(), "the end")
	wrote += len("the end\n")
	drain(t, c)
	if got := len(content(t, s, "a", Stdout)); got <= full {
		t.Errorf("got %d bytes after there was room again, %d before", got, full)
	}
	t.Logf("a write took at most %v; %d bytes of %d kept", worst, len(content(t, s, "a", Stdout)), wrote)
	if worst > time.Second {
		t.Errorf("a write took %v, want less than 1 s", worst)
	}
	dropped, kept, marks := 0, 0, 0
	for _, l := range read(t, s, Query{}) {
		var n int
		if _, err := fmt.Sscanf(l, "a [dropped] dropped %d bytes: no space left on device", &n); err == nil {
			dropped += n
			marks++
			continue
		}
		text := strings.TrimPrefix(l, "a stdout ")
		kept += len(strings.TrimSuffix(text, "…"))
		if !strings.HasSuffix(text, "…") {
			kept++
		}
	}
	if marks == 0 || marks > 20 || dropped+kept != wrote {
		t.Errorf("%d marks tell of %d dropped bytes, %d kept: got %d, want %d", marks, dropped, kept, dropped+kept, wrote)
	}
}
