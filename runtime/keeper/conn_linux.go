package keeper

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// frame is one packet. Whoever received it owns its descriptors: take or close.
type frame struct {
	head
	payload []byte // unless Big
	memory  int    // where a Big payload lies; else -1
	files   []int
	short   bool // we had no descriptors left for all that came with it; then there are none
}

// packet is a frame to send.
func packet(h head, files ...int) *frame { return &frame{head: h, memory: -1, files: files} }

// close lets go of the descriptors that were not taken.
func (f *frame) close() {
	closeAll(f.files)
	f.files = nil
	if f.memory >= 0 {
		unix.Close(f.memory)
		f.memory = -1
	}
}

// bytes is the payload, wherever it lies.
func (f *frame) bytes() ([]byte, error) {
	if f.memory < 0 {
		return f.payload, nil
	}
	b := make([]byte, f.Big)
	for n := 0; n < len(b); {
		m, err := unix.Pread(f.memory, b[n:], int64(n))
		if err == unix.EINTR {
			continue
		}
		if err != nil || m == 0 {
			return nil, fmt.Errorf("cannot read a payload of %d bytes: %w", f.Big, errors.Join(err, io.ErrUnexpectedEOF))
		}
		n += m
	}
	return b, nil
}

func closeAll(fds []int) {
	for _, fd := range fds {
		unix.Close(fd)
	}
}

// errMalformed is what no engine of ours sends.
var errMalformed = errors.New("got a malformed packet")

// conn is one end of the socket: whole packets, each with its descriptors. One goroutine receives, any number sends.
type conn struct {
	u    *net.UnixConn
	mu   sync.Mutex // of sending
	buf  []byte
	ctrl []byte
}

// pair makes a socket: our end, and the one for the engine.
func pair() (*conn, *os.File, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	ours, theirs := os.NewFile(uintptr(fds[0]), "engine"), os.NewFile(uintptr(fds[1]), "keeper")
	c, err := newConn(ours)
	if err != nil {
		theirs.Close()
		return nil, nil, err
	}
	return c, theirs, nil
}

// newConn takes over f.
func newConn(f *os.File) (*conn, error) {
	defer f.Close()
	c, err := net.FileConn(f)
	if err != nil {
		return nil, err
	}
	u, ok := c.(*net.UnixConn)
	if !ok || u.LocalAddr().Network() != "unixpacket" {
		c.Close()
		return nil, fmt.Errorf("got a %s socket, want a packet socket of the keeper", c.LocalAddr().Network())
	}
	return &conn{u: u, buf: make([]byte, maxFrame+1), ctrl: make([]byte, unix.CmsgSpace(4*(maxFiles+3)))}, nil
}

// send sends one packet, whose descriptors stay the caller's. A payload that is too big for a packet goes in a file without a name.
func (c *conn) send(f *frame) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sendLocked(f)
}

func (c *conn) sendLocked(f *frame) error {
	fds := f.files
	if f.Files = len(fds); f.Files > maxFiles {
		return fmt.Errorf("got %d descriptors, want at most %d: %w", len(fds), maxFiles, unix.E2BIG)
	}
	payload := f.payload
	if f.memory < 0 && len(payload) > maxInline {
		m, err := memory("payload", payload)
		if err != nil {
			return err
		}
		defer m.Close()
		f.Big, payload = int64(len(payload)), nil
		fds = append(fds[:len(fds):len(fds)], int(m.Fd()))
	} else if f.memory >= 0 {
		payload = nil
		fds = append(fds[:len(fds):len(fds)], f.memory)
	}
	b, err := json.Marshal(&f.head)
	if err != nil {
		return err
	}
	b = append(append(b, '\n'), payload...)
	if len(b) > maxFrame {
		return fmt.Errorf("got a packet of %d bytes, want at most %d: %w", len(b), maxFrame, unix.E2BIG)
	}
	var ctrl []byte
	if len(fds) > 0 {
		ctrl = unix.UnixRights(fds...)
	}
	_, _, err = c.u.WriteMsgUnix(b, ctrl, nil)
	return err
}

// receive gives the next packet: io.EOF at the end, errMalformed for what none is.
func (c *conn) receive() (*frame, error) {
	n, cn, flags, _, err := c.u.ReadMsgUnix(c.buf, c.ctrl)
	if err != nil {
		var e unix.Errno
		if errors.As(err, &e) && e == unix.ECONNRESET { // the other end was closed with packets unread
			err = io.EOF
		}
		return nil, err
	}
	fds, bad := descriptors(c.ctrl[:cn])
	f := &frame{memory: -1, short: flags&unix.MSG_CTRUNC != 0}
	line, payload, ok := bytes.Cut(c.buf[:n], []byte("\n"))
	if bad || !ok || n > maxFrame || flags&unix.MSG_TRUNC != 0 || json.Unmarshal(line, &f.head) != nil || f.Files < 0 || f.Files > maxFiles {
		closeAll(fds)
		return nil, errMalformed
	}
	f.payload = bytes.Clone(payload)
	want := f.Files
	if f.Big != 0 {
		want++
	}
	if f.short || len(fds) != want {
		closeAll(fds)
		if len(fds) > want || !f.short {
			return nil, errMalformed
		}
		return f, nil
	}
	f.files = fds[:f.Files:f.Files]
	if f.Big != 0 {
		f.memory = fds[f.Files]
		var st unix.Stat_t
		if unix.Fstat(f.memory, &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFREG || st.Size != f.Big || f.Big < 0 || f.Big > maxPayload {
			f.close()
			return nil, errMalformed
		}
	}
	return f, nil
}

// descriptors are those of a control message.
func descriptors(ctrl []byte) (fds []int, bad bool) {
	if len(ctrl) == 0 {
		return nil, false
	}
	ms, err := unix.ParseSocketControlMessage(ctrl)
	bad = err != nil
	for _, m := range ms {
		got, err := unix.ParseUnixRights(&m)
		if err != nil {
			bad = true
			continue
		}
		fds = append(fds, got...)
	}
	return fds, bad
}

// memory is a file without a name that holds b, at its start.
func memory(name string, b []byte) (*os.File, error) {
	fd, err := unix.MemfdCreate("orrery-"+name, unix.MFD_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	f := os.NewFile(uintptr(fd), name)
	if _, err = f.Write(b); err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// numbers are the descriptors of files, without the change of blocking mode that (*os.File).Fd can make.
func numbers(files []*os.File) ([]int, error) {
	fds := make([]int, len(files))
	for i, f := range files {
		if f == nil {
			return nil, fmt.Errorf("got no file as number %d of %d: %w", i+1, len(files), os.ErrInvalid)
		}
		c, err := f.SyscallConn()
		if err == nil {
			err = c.Control(func(fd uintptr) { fds[i] = int(fd) })
		}
		if err != nil {
			return nil, err
		}
	}
	return fds, nil
}

// filesOf makes files of descriptors, which they own.
func filesOf(fds []int, name string) []*os.File {
	if len(fds) == 0 {
		return nil
	}
	files := make([]*os.File, len(fds))
	for i, fd := range fds {
		files[i] = os.NewFile(uintptr(fd), name)
	}
	return files
}
