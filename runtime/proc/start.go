package proc

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/creack/pty"

	"orrery/runtime/files"
)

// noFile marks a gap in the list of descriptors: the child has none of that number.
const noFile = ^uintptr(0)

// credential is whom to run as, in numbers.
type credential struct {
	Uid, Gid uint32
	Groups   []uint32
}

// launch is a Spec made ready: looked up, checked, its descriptors in a row.
type launch struct {
	spec  *Spec
	paths []string // what to execute, best first, seen from dir
	argv  []string
	env   []string
	dir   string // absolute, or empty
	files []uintptr
	cred  *credential // nil: unchanged
	tty   *os.File    // our end of the child's terminal
	temp  []*os.File  // to close once the child has them
}

// Start starts what s says. It returns when the program itself runs, or with a *StartError when it does not.
// It may be called from several goroutines at once. The caller must call Wait, and Close when it needs the process no more.
//
// As a side effect, every descriptor of ours from 3 up is marked close-on-exec, so that nothing that we inherited goes astray.
func Start(s *Spec) (*Process, error) {
	p, err := start(s)
	if err != nil && s.File != "" {
		again := *s
		again.File = ""
		p, err = start(&again)
	}
	return p, err
}

func start(s *Spec) (*Process, error) {
	l := &launch{spec: s}
	defer func() {
		for _, f := range l.temp {
			f.Close()
		}
	}()
	var p *Process
	err := l.prepare()
	if err == nil {
		p, err = l.start()
	}
	runtime.KeepAlive(s)
	if err != nil {
		if l.tty != nil {
			l.tty.Close()
		}
		return nil, err
	}
	return p, nil
}

func (l *launch) prepare() error {
	s := l.spec
	if len(s.Argv) == 0 {
		return &StartError{Op: "argv", Path: s.Name, Err: errors.New("got no argument, want at least the program")}
	}
	for _, a := range slices.Concat(s.Argv, []string{s.Argv0}) {
		if strings.IndexByte(a, 0) >= 0 {
			return &StartError{Op: "argv", Path: a, Err: errNul}
		}
	}
	if s.PidNamespace && s.Foreground {
		return &StartError{Op: "pid_namespace", Path: s.Name, Err: errors.New("its process group cannot be ours: it does not go with Foreground")}
	}
	l.argv = slices.Clone(s.Argv)
	if s.Argv0 != "" {
		l.argv[0] = s.Argv0
	}
	if s.Dir != "" {
		dir, err := filepath.Abs(s.Dir)
		if err != nil {
			return &StartError{Op: "enter", Path: s.Dir, Err: err}
		}
		l.dir = dir
	}
	var err error
	if l.cred, err = credentialOf(s.User, s.Group); err != nil {
		return err
	}
	ready, err := readyFD(s)
	if err != nil {
		return err
	}
	if l.env, err = environ(s, ready); err != nil {
		return err
	}
	if err := l.find(); err != nil {
		return err
	}
	return l.gather(ready)
}

// find looks for the program.
func (l *launch) find() error {
	if l.spec.File != "" {
		l.paths = []string{l.spec.File}
		return nil
	}
	paths, err := lookup(l.spec.Argv[0], pathOf(l.env), l.dir, runnable)
	if err != nil {
		if e := enter(l.dir); e != nil {
			return e
		}
		return err
	}
	l.paths = paths
	return nil
}

// readyFD chooses the number of the readiness descriptor; 0: there is none.
func readyFD(s *Spec) (int, error) {
	free := 3 + len(s.Listen)
	switch {
	case s.ReadyFile == nil && s.ReadyFD == 0:
		return 0, nil
	case s.ReadyFile == nil:
		return 0, &StartError{Op: "ready", Path: strconv.Itoa(s.ReadyFD), Err: errors.New("it has no file")}
	case s.ReadyFD == 0:
		return free, nil
	case s.ReadyFD < free || s.ReadyFD > 1023:
		return 0, &StartError{Op: "ready", Path: strconv.Itoa(s.ReadyFD),
			Err: fmt.Errorf("got descriptor %d, want %d to 1023 (the ones below are the standard ones and the sockets)", s.ReadyFD, free)}
	}
	return s.ReadyFD, nil
}

// gather lays out the descriptors of the child.
func (l *launch) gather(ready int) error {
	s := l.spec
	std := [3]*os.File{s.Stdin, s.Stdout, s.Stderr}
	if s.TTY {
		if std != [3]*os.File{} {
			return &StartError{Op: "tty", Path: s.Name, Err: errors.New("it takes the place of stdin, stdout and stderr: give none of them")}
		}
		slave, err := l.terminal()
		if err != nil {
			return &StartError{Op: "tty", Path: s.Name, Err: err}
		}
		std = [3]*os.File{slave, slave, slave}
	}
	if slices.Contains(std[:], nil) {
		null, err := files.Blocking(os.DevNull, os.O_RDWR)
		if err != nil {
			return &StartError{Op: "run", Path: s.Argv[0], Err: err}
		}
		l.temp = append(l.temp, null)
		for i := range std {
			if std[i] == nil {
				std[i] = null
			}
		}
	}
	for _, f := range std {
		l.files = append(l.files, f.Fd())
	}
	for _, x := range s.Listen {
		fd, err := rawFD(x.File)
		if err != nil {
			return &StartError{Op: "listen", Path: x.Name, Err: err}
		}
		l.files = append(l.files, fd)
	}
	if ready != 0 {
		for len(l.files) < ready {
			l.files = append(l.files, noFile)
		}
		l.files = append(l.files, s.ReadyFile.Fd())
	}
	for i, fd := range l.files {
		if fd == noFile && (i < 3+len(s.Listen) || i == ready) {
			return &StartError{Op: "run", Path: s.Argv[0], Err: os.ErrClosed}
		}
	}
	return l.inherit()
}

// inherit adds the descriptors that have no meaning to us.
func (l *launch) inherit() error {
	s := l.spec
	if len(s.Inherit) == 0 {
		return nil
	}
	if s.InheritFD < len(l.files) || s.InheritFD > 1023 {
		return &StartError{Op: "inherit", Path: strconv.Itoa(s.InheritFD),
			Err: fmt.Errorf("got descriptor %d, want %d to 1023 (the ones below have a meaning)", s.InheritFD, len(l.files))}
	}
	for len(l.files) < s.InheritFD {
		l.files = append(l.files, noFile)
	}
	for _, f := range s.Inherit {
		fd, err := rawFD(f)
		if err != nil || fd == noFile {
			return &StartError{Op: "inherit", Path: f.Name(), Err: os.ErrClosed}
		}
		l.files = append(l.files, fd)
	}
	return nil
}

// rawFD is the descriptor of f, without the change of blocking mode that (*os.File).Fd can make.
func rawFD(f *os.File) (uintptr, error) {
	c, err := f.SyscallConn()
	if err != nil {
		return 0, err
	}
	fd := noFile
	err = c.Control(func(n uintptr) { fd = n })
	return fd, err
}

// terminal opens a new one, gives the child's end to its user, and keeps ours.
func (l *launch) terminal() (*os.File, error) {
	master, slave, err := pty.Open()
	if err != nil {
		return nil, err
	}
	l.temp = append(l.temp, slave)
	err = pty.Setsize(master, &pty.Winsize{Rows: 24, Cols: 80})
	if err == nil && l.cred != nil {
		err = slave.Chown(int(l.cred.Uid), -1)
	}
	if err != nil {
		master.Close()
		return nil, err
	}
	l.tty = master
	return slave, nil
}

// runnable says why file cannot be a program, as far as its mode tells.
func runnable(file string) error {
	fi, err := files.Stat(file)
	switch {
	case err != nil:
		return err
	case fi.IsDir() || fi.Mode()&0o111 == 0:
		return syscall.EACCES
	}
	return nil
}

// enter says why dir cannot be a working directory, as far as we can see it.
func enter(dir string) *StartError {
	if dir == "" {
		return nil
	}
	fi, err := os.Stat(dir)
	var pe *os.PathError
	switch {
	case errors.As(err, &pe):
		return &StartError{Op: "enter", Path: dir, Err: pe.Err}
	case err == nil && !fi.IsDir():
		return &StartError{Op: "enter", Path: dir, Err: syscall.ENOTDIR}
	}
	return nil
}

// explain turns the bare errno of a failed exec of path into what the user must know.
func explain(path, dir string, err error) *StartError {
	if !errors.Is(err, syscall.ENOENT) {
		return &StartError{Op: "run", Path: path, Err: err}
	}
	file := at(dir, path)
	if _, serr := os.Stat(file); serr != nil {
		return &StartError{Op: "find", Path: path, Err: err}
	}
	why := "the loader that it is linked against does not exist here (built for another system?)"
	if in := interpreter(file); in != "" {
		why = fmt.Sprintf("its interpreter %q does not exist", in)
	}
	return &StartError{Op: "run", Path: path, Err: &textError{why, syscall.ENOENT}}
}

// interpreter is the program of a script's first line, or "".
func interpreter(file string) string {
	f, err := os.Open(file)
	if err != nil {
		return ""
	}
	defer f.Close()
	line, _ := bufio.NewReaderSize(f, 256).ReadSlice('\n')
	rest, ok := strings.CutPrefix(string(line), "#!")
	if !ok {
		return ""
	}
	// A carriage return that an editor left belongs to the name: %q shows it.
	rest = strings.Trim(rest, " \t\n")
	in, _, _ := strings.Cut(rest, " ")
	return in
}

// credentialOf resolves a user and a group by name or number; nil when nothing changes.
func credentialOf(name, group string) (*credential, error) {
	if name == "" && group == "" {
		return nil, nil
	}
	c := &credential{Uid: uint32(os.Geteuid()), Gid: uint32(os.Getegid())}
	if name != "" {
		if err := c.user(name, group != ""); err != nil {
			return nil, &StartError{Op: "user", Path: name, Err: err}
		}
	}
	if group != "" {
		gid, err := groupID(group)
		if err != nil {
			return nil, &StartError{Op: "group", Path: group, Err: err}
		}
		c.Gid = gid
		if !slices.Contains(c.Groups, gid) {
			c.Groups = append(c.Groups, gid)
		}
	}
	if os.Geteuid() == 0 {
		return c, nil
	}
	if c.Uid != uint32(os.Geteuid()) {
		return nil, &StartError{Op: "user", Path: name, Err: &textError{"only root can run a program as someone else: start orrery as root, or leave user out", syscall.EPERM}}
	}
	if group != "" && c.Gid != uint32(os.Getegid()) {
		return nil, &StartError{Op: "group", Path: group, Err: &textError{"only root can change the group: start orrery as root, or leave group out", syscall.EPERM}}
	}
	return nil, nil
}

func (c *credential) user(name string, grouped bool) error {
	u, err := user.Lookup(name)
	if err != nil {
		n, nerr := strconv.ParseUint(name, 10, 32)
		if nerr != nil {
			return err
		}
		if u, err = user.LookupId(name); err != nil {
			if !grouped {
				return fmt.Errorf("no user has this number, so its group is not known: give a group as well")
			}
			c.Uid, c.Groups = uint32(n), nil
			return nil
		}
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return err
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		return err
	}
	c.Uid, c.Gid = uint32(uid), uint32(gid)
	ids, err := u.GroupIds()
	if err != nil {
		return err
	}
	for _, id := range ids {
		if n, err := strconv.ParseUint(id, 10, 32); err == nil {
			c.Groups = append(c.Groups, uint32(n))
		}
	}
	return nil
}

func groupID(name string) (uint32, error) {
	g, err := user.LookupGroup(name)
	id := name
	if err == nil {
		id = g.Gid
	}
	n, nerr := strconv.ParseUint(id, 10, 32)
	if nerr != nil {
		return 0, err
	}
	return uint32(n), nil
}
