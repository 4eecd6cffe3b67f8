package notify

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// stranger is a user that is neither root nor the user of a service.
const stranger, servant = 64321, 64322

// sendAs sends as another user; it needs no file that only root can read.
func sendAs(t *testing.T, uid uint32, path, text string) error {
	t.Helper()
	const python = "/usr/bin/python3"
	if _, err := os.Stat(python); err != nil {
		t.Skip(python + " is not installed")
	}
	cmd := exec.Command(python, "-c", pythonSend, text)
	cmd.Dir = "/"
	cmd.Env = []string{"NOTIFY_SOCKET=" + path}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Logf("%s", out)
	}
	return err
}

func TestUsers(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root, to act as other users")
	}
	path := socketPath(t)
	os.Chmod(filepath.Dir(filepath.Dir(path)), 0o711)
	s, err := Listen(path, servant, servant)
	if err != nil {
		t.Fatal(err)
	}
	got := serve(t, s)
	if err := sendAs(t, servant, path, `b"READY=1"`); err != nil {
		t.Fatal(err)
	}
	if m := next(t, got); m.Uid != servant || m.Gid != servant {
		t.Errorf("got uid %d, gid %d, want %d", m.Uid, m.Gid, servant)
	}
	if err := sendAs(t, stranger, path, `b"READY=1"`); err == nil {
		t.Error("a stranger could reach the socket through its directory")
	}
	// Suppose that it gets through: the credentials still tell.
	os.Chmod(filepath.Dir(path), 0o777)
	os.Chmod(path, 0o666)
	if err := sendAs(t, stranger, path, `b"READY=1"`); err != nil {
		t.Fatal(err)
	}
	if before := fence(t, s, got); len(before) != 0 || s.Stats().Foreign != 1 {
		t.Errorf("got %+v, %+v, want one foreign datagram and no message", before, s.Stats())
	}
}

// Root gives away only a directory that holds nothing else, and one that the
// user owns already is used again.
func TestGivenDirectories(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root, to give files away")
	}
	path := socketPath(t)
	dir := filepath.Dir(path)
	os.Mkdir(dir, 0o700)
	secret := filepath.Join(dir, "secret")
	os.WriteFile(secret, nil, 0o600)
	if s, err := Listen(path, servant, servant); err == nil || !strings.Contains(err.Error(), "it holds secret") {
		t.Errorf("got %v, %v, want a refusal", s, err)
	}
	os.Remove(secret)
	for range 2 {
		s, err := Listen(path, servant, servant)
		if err != nil {
			t.Fatal(err)
		}
		var st unix.Stat_t
		if unix.Lstat(dir, &st); st.Uid != servant {
			t.Errorf("got directory of user %d, want %d", st.Uid, servant)
		}
		s.Close()
	}
	if _, err := os.Lstat(dir); err != nil {
		t.Errorf("got %v, want a directory that was there before kept", err)
	}
	os.Chown(dir, stranger, stranger)
	if s, err := Listen(path, servant, servant); err == nil {
		t.Errorf("got %v, want the directory of a stranger refused", s)
	}
}

// When the kernel had to cut the control data off, the message is dropped, and
// what did come through does not leak.
func TestTruncatedControl(t *testing.T) {
	s := openQuiet(t)
	null := devNull(t)
	base := openFDs(t)
	send(t, s.path, "READY=1\nFDSTORE=1", null, null, null)
	data := make([]byte, 100)
	control := make([]byte, credentialSpace+unix.CmsgSpace(4))
	n, cn, flags, _, err := s.conn.ReadMsgUnix(data, control)
	if err != nil {
		t.Fatal(err)
	}
	if flags&unix.MSG_CTRUNC == 0 || openFDs(t) == base {
		t.Fatalf("got flags %#x, want truncated control data with a descriptor", flags)
	}
	s.receive(data[:n], control[:cn], flags, func(m Message) { t.Errorf("got %+v, want nothing", m) })
	if st := s.Stats(); st.Malformed != 1 {
		t.Errorf("got %+v, want one malformed", st)
	}
	wantFDs(t, base)
}

// A full table of descriptors of our own truncates too; the next message is
// received as ever.
func TestNoDescriptorsLeft(t *testing.T) {
	s, got := open(t)
	null := devNull(t)
	c := dial(t)
	defer unix.Close(c)
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	low := limit
	low.Cur = 3 // 0, 1 and 2 are open: nothing new fits
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &low); err != nil {
		t.Fatal(err)
	}
	e1 := sendmsg(c, s.path, "READY=1\nFDSTORE=1", null)
	e2 := sendmsg(c, s.path, "STATUS=after")
	m := next(t, got)
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if e1 != nil || e2 != nil || m.Status == nil || m.Ready {
		t.Errorf("got %v, %v, %+v, want the second message only", e1, e2, m)
	}
	if st := s.Stats(); st.Malformed != 1 || st.Errors != 0 {
		t.Errorf("got %+v, want one malformed", st)
	}
}
