package sandbox

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// TestOwn: what the kernel makes of /proc/self is that of the asker.
func TestOwn(t *testing.T) {
	for p, want := range map[string]string{
		"/proc/self/fd/3":       "/proc/7/fd/3",
		"/proc/self":            "/proc/7",
		"/proc/selfish":         "/proc/selfish",
		"/proc/thread-self/fd":  "/proc/7/fd",
		"//dev//fd/3":           "/proc/7/fd/3",
		"/dev/stderr":           "/proc/7/fd/2",
		"/dev/stdout.txt":       "/dev/stdout.txt",
		"/proc/1/fd/3":          "/proc/1/fd/3",
		"/home/u/proc/self/fd":  "/home/u/proc/self/fd",
		"/proc/self/../self/fd": "/proc/7/../self/fd", // refused by the kernel alone, where it is
	} {
		if got := own(p, "7"); got != want {
			t.Errorf("%s: got %s, want %s", p, got, want)
		}
	}
}

func TestLook(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	os.Mkdir(dir+"/d", 0o755)
	os.WriteFile(dir+"/d/f", nil, 0o644)
	os.Symlink("d/f", dir+"/l")
	os.Symlink("d", dir+"/e")
	os.Symlink("nowhere", dir+"/dangling")
	for _, c := range []struct {
		path   string
		follow bool
		want   what
		ok     bool
	}{
		{"/d/f", true, what{dir + "/d/f", true, false}, true},
		{"/l", true, what{dir + "/d/f", true, false}, true},
		{"/l", false, what{dir + "/l", true, false}, true},
		{"/e/../d/./f", true, what{dir + "/d/f", true, false}, true},
		{"/e/new", true, what{dir + "/d/new", false, false}, true},
		{"/e/new/", true, what{dir + "/d/new", false, false}, true},
		{"/e/", true, what{dir + "/d", true, true}, true},
		{"/no/new", true, what{}, false},
		{"/d/f/x", true, what{}, false},
		{"/dangling", false, what{dir + "/dangling", true, false}, true},
	} {
		got, ok := look(dir+c.path, c.follow)
		if ok != c.ok || ok && got != c.want {
			t.Errorf("%s: got %+v %v, want %+v %v", c.path, got, ok, c.want, c.ok)
		}
	}
}

// run is what a filter says of a call: a few steps of the machine that the kernel has for it.
func run(t *testing.T, f []unix.SockFilter, nr, arch, arg uint32) uint32 {
	t.Helper()
	acc := uint32(0)
	for i := 0; i < len(f); i++ {
		switch x := f[i]; x.Code {
		case unix.BPF_LD | unix.BPF_W | unix.BPF_ABS:
			acc = map[uint32]uint32{offsetCall: nr, offsetArch: arch, offsetArg: arg}[x.K]
		case unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K:
			if acc == x.K {
				i += int(x.Jt)
			} else {
				i += int(x.Jf)
			}
		case unix.BPF_RET | unix.BPF_K:
			return x.K
		default:
			t.Fatalf("unknown code %#x", x.Code)
		}
	}
	t.Fatal("the filter has no end")
	return 0
}

func TestFilters(t *testing.T) {
	const allow, ask, refuse = unix.SECCOMP_RET_ALLOW, unix.SECCOMP_RET_USER_NOTIF, unix.SECCOMP_RET_ERRNO | uint32(unix.EACCES)
	paths := pathFilter(9, []uint32{5, 7, 300})
	for _, c := range [][3]uint32{{5, 9, ask}, {7, 9, ask}, {300, 9, ask}, {6, 9, allow}, {5, 8, allow}, {300 | 1<<30, 9, allow}} {
		if got := run(t, paths, c[0], c[1], 0); got != c[2] {
			t.Errorf("call %d of %d: got %#x, want %#x", c[0], c[1], got, c[2])
		}
	}
	network := networkFilter(9)
	for _, c := range [][3]uint32{{unix.SYS_SOCKET, unix.AF_INET, refuse}, {unix.SYS_SOCKET, unix.AF_INET6, refuse}, {unix.SYS_SOCKET, unix.AF_PACKET, refuse},
		{unix.SYS_SOCKET, unix.AF_UNIX, allow}, {unix.SYS_SOCKET, unix.AF_NETLINK, allow}, {unix.SYS_OPENAT, unix.AF_INET, allow}} {
		if got := run(t, network, c[0], 9, c[1]); got != c[2] {
			t.Errorf("call %d, family %d: got %#x, want %#x", c[0], c[1], got, c[2])
		}
	}
	if got := run(t, network, unix.SYS_SOCKET, 8, unix.AF_INET); got != allow {
		t.Errorf("another processor: got %#x", got)
	}
}

func TestHandled(t *testing.T) {
	for abi, want := range map[int]uint64{1: 0x1fff, 2: 0x3fff, 3: 0x7fff, 4: 0x7fff, 5: 0xffff, 9: 0xffff} {
		if got := handled(abi); got != want {
			t.Errorf("ABI %d: got %#x, want %#x", abi, got, want)
		}
	}
}
