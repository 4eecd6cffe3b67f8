package task

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
)

// toucher is the program of the sandbox tests: it does each act of its arguments (act:operand) and prints the act and what came of it.
func toucher(acts []string) int {
	for _, a := range acts {
		act, operand, _ := strings.Cut(a, ":")
		fmt.Printf("%s=%s\n", a, outcome(touch(act, operand)))
	}
	return 0
}

func outcome(err error) string {
	var errno syscall.Errno
	switch {
	case err == nil:
		return "ok"
	case errors.As(err, &errno):
		return map[syscall.Errno]string{syscall.EACCES: "EACCES", syscall.EPERM: "EPERM", syscall.ENOENT: "ENOENT", syscall.EBADF: "EBADF"}[errno]
	}
	return err.Error()
}

func touch(act, p string) error {
	switch act {
	case "read", "link":
		_, err := os.ReadFile(p)
		return err
	case "write", "new":
		f, err := os.OpenFile(p, os.O_WRONLY|os.O_CREATE, 0o644)
		if err == nil {
			err = f.Close()
		}
		return err
	case "list":
		_, err := os.ReadDir(p)
		return err
	case "mkdir":
		return os.Mkdir(p, 0o755)
	case "remove":
		return os.Remove(p)
	case "chmod":
		return os.Chmod(p, 0o600)
	case "rename":
		from, to, _ := strings.Cut(p, ":")
		return os.Rename(from, to)
	case "run":
		return exec.Command(p).Run()
	case "fdhop":
		const path = 0x200000 // O_PATH
		fd, err := syscall.Open(p, path, 0)
		if err != nil {
			return err
		}
		_, err = os.ReadFile("/proc/self/fd/" + strconv.Itoa(fd))
		return err
	case "leak":
		fd, _ := strconv.Atoi(p)
		_, err := syscall.Pread(fd, make([]byte, 1), 0)
		return err
	case "tcp", "udp", "unix":
		c, err := net.Dial(act, p)
		if err == nil {
			c.Close()
		}
		return err
	case "signal":
		pid, _ := strconv.Atoi(p)
		return syscall.Kill(pid, 0)
	case "child":
		out, err := exec.Command("/proc/self/exe", "touch", "grandchild:"+p).Output()
		if err == nil && !strings.HasSuffix(strings.TrimSpace(string(out)), "=ok") {
			err = syscall.EACCES
		}
		return err
	case "grandchild":
		out, err := exec.Command("/bin/cat", p).CombinedOutput()
		if strings.Contains(string(out), "Permission denied") {
			return syscall.EACCES
		}
		return err
	}
	return errors.New("no such act")
}
