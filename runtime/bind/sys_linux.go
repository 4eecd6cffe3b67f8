package bind

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// newSocket makes a blocking socket that no child inherits by accident.
func newSocket(domain, typ int) (int, error) {
	return unix.Socket(domain, typ|unix.SOCK_CLOEXEC, 0)
}

// claim takes a number among all orreries of the machine: the name of an abstract socket, which lives in the same network
// namespace as the port and ends with us. So two of them never settle on one number while old connections linger there.
func claim(proto string, number int) (*os.File, error) {
	fd, err := newSocket(unix.AF_UNIX, unix.SOCK_DGRAM)
	if err != nil {
		return nil, err
	}
	err = unix.Bind(fd, &unix.SockaddrUnix{Name: fmt.Sprintf("@orrery/port/%s/%d", proto, number)})
	if err != nil {
		unix.Close(fd)
		if errors.Is(err, unix.EADDRINUSE) {
			return nil, errBusy
		}
		return nil, err
	}
	return os.NewFile(uintptr(fd), "claim"), nil
}

// inetLine is a socket in /proc/net/tcp and its like.
type inetLine struct {
	addr   netip.Addr
	port   int
	remote int
	state  string
	uid    string
	inode  string
}

// inetLines reads the sockets of a protocol whose local port is number.
func inetLines(proto string, number int) []inetLine {
	var found []inetLine
	want := fmt.Sprintf(":%04X", number)
	for _, name := range []string{proto, proto + "6"} {
		f, err := os.Open("/proc/net/" + name)
		if err != nil {
			continue
		}
		sc := bufio.NewScanner(f)
		for sc.Scan() {
			fs := strings.Fields(sc.Text())
			if len(fs) < 10 || !strings.HasSuffix(fs[1], want) {
				continue
			}
			l := inetLine{addr: procAddr(strings.TrimSuffix(fs[1], want)), port: number, state: fs[3], uid: fs[7], inode: fs[9]}
			if _, remote, ok := strings.Cut(fs[2], ":"); ok {
				n, _ := strconv.ParseInt(remote, 16, 32)
				l.remote = int(n)
			}
			found = append(found, l)
		}
		f.Close()
	}
	return found
}

// procAddr reads an address as /proc writes it: words of four bytes in the order of the machine.
func procAddr(s string) netip.Addr {
	b, err := hex.DecodeString(s)
	if err != nil {
		return netip.Addr{}
	}
	if binary.NativeEndian.Uint16([]byte{1, 0}) == 1 {
		for i := 0; i+3 < len(b); i += 4 {
			b[i], b[i+1], b[i+2], b[i+3] = b[i+3], b[i+2], b[i+1], b[i]
		}
	}
	a, _ := netip.AddrFromSlice(b)
	return a.Unmap()
}

const tcpListen = "0A"

// remains tells whether only old connections of a server that is gone stand at the number.
func remains(number int) bool {
	old := false
	for _, l := range inetLines("tcp", number) {
		if l.state == tcpListen {
			return false
		}
		old = true
	}
	return old
}

// PortOwner says who has a port open: "nginx (pid 12)"; empty if it cannot be learned. proto is "tcp" or "udp".
func PortOwner(proto string, number int) string {
	inodes := map[string]bool{}
	uid := ""
	for _, l := range inetLines(proto, number) {
		if proto == "tcp" && l.state != tcpListen || l.inode == "0" {
			continue
		}
		inodes["socket:["+l.inode+"]"] = true
		uid = l.uid
	}
	if len(inodes) == 0 {
		return claimOwner(proto, number)
	}
	if pid := holderOf(inodes); pid != "" {
		return processName(pid)
	}
	return "a process of uid " + uid
}

// claimOwner names the orrery that has reserved a number.
func claimOwner(proto string, number int) string {
	b, err := os.ReadFile("/proc/net/unix")
	if err != nil {
		return ""
	}
	name := fmt.Sprintf("@orrery/port/%s/%d", proto, number)
	for line := range strings.Lines(string(b)) {
		fs := strings.Fields(line)
		if len(fs) < 8 || fs[7] != name {
			continue
		}
		if pid := holderOf(map[string]bool{"socket:[" + fs[6] + "]": true}); pid != "" {
			return processName(pid) + ", which keeps it for a service"
		}
		return "another orrery"
	}
	return ""
}

// holderOf finds the first process, by number, that has one of the sockets open.
func holderOf(links map[string]bool) string {
	procs, err := os.ReadDir("/proc")
	if err != nil {
		return ""
	}
	best := 0
	for _, p := range procs {
		pid, err := strconv.Atoi(p.Name())
		if err != nil || best != 0 && pid > best {
			continue
		}
		fds, err := filepath.Glob("/proc/" + p.Name() + "/fd/*")
		if err != nil {
			continue
		}
		for _, fd := range fds {
			if to, err := os.Readlink(fd); err == nil && links[to] {
				best = pid
				break
			}
		}
	}
	if best == 0 {
		return ""
	}
	return strconv.Itoa(best)
}

func processName(pid string) string {
	comm, err := os.ReadFile("/proc/" + pid + "/comm")
	if err != nil {
		return "pid " + pid
	}
	return fmt.Sprintf("%s (pid %s)", strings.TrimSpace(string(comm)), pid)
}

// renameNew renames a folder to a name that nothing has.
func renameNew(old, name string) error {
	err := unix.Renameat2(unix.AT_FDCWD, old, unix.AT_FDCWD, name, unix.RENAME_NOREPLACE)
	if err == unix.EINVAL || err == unix.ENOSYS { // the file system cannot; a folder that holds something is refused all the same
		return os.Rename(old, name)
	}
	if err != nil {
		return &os.LinkError{Op: "rename", Old: old, New: name, Err: err}
	}
	return nil
}
