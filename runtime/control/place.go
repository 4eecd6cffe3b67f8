package control

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
)

// maxSocket is the longest path that fits sun_path with its closing NUL, in bytes.
const maxSocket = 107

// Place says where a project's things lie. It is a plain value: Locate computes it without writing anything, Make creates
// the directories.
type Place struct {
	// Project is the real path of the project file; Root is its directory.
	Project, Root string
	// Hash is a short name for Project: 12 hex digits of its sha256.
	Hash string
	// Dir is .orrery beside the project file. State holds the services' data, Logs their output, Leases is the file of
	// port leases, Lock the file that the engine locks.
	Dir, State, Logs, Leases, Lock string
	// Cache is the cache of the user, shared by all checkouts; nothing here creates it.
	Cache string
	// Run holds the sockets, and the nodes' runtime directories; it is only for this user. Socket is the engine's.
	Run, Socket string
	// System: State and Run lie outside of the checkout, where the users of services can enter. See ForSystem.
	System bool
	// Version is told in the lock and in the hello. Locate fills in what the linker knows; set it before use to say better.
	Version string
}

// Locate finds the place of the project that projectFile (services.star) declares. Symlinks are resolved, so that every
// path to one file leads to one engine. Run lies in $XDG_RUNTIME_DIR when that is an absolute path to a directory of ours
// that no one else can write, else in /tmp. Nothing is created.
func Locate(projectFile string) (Place, error) {
	abs, err := filepath.Abs(projectFile)
	if err != nil {
		return Place{}, fmt.Errorf("cannot locate %s: %w", projectFile, err)
	}
	real, err := filepath.EvalSymlinks(abs)
	if err != nil {
		return Place{}, fmt.Errorf("cannot locate %s: %w", projectFile, err)
	}
	sum := sha256.Sum256([]byte(real))
	p := Place{Project: real, Root: filepath.Dir(real), Hash: hex.EncodeToString(sum[:6]), Version: buildVersion()}
	p.Dir = filepath.Join(p.Root, ".orrery")
	p.State = filepath.Join(p.Dir, "state")
	p.Logs = filepath.Join(p.Dir, "logs")
	p.Leases = filepath.Join(p.Dir, "leases.json")
	p.Lock = filepath.Join(p.Dir, "engine.lock")
	if base, err := os.UserCacheDir(); err == nil {
		p.Cache = filepath.Join(base, "orrery")
	} else {
		p.Cache = filepath.Join(p.Dir, "task-cache") // apart from NodeDir's .orrery/cache
	}
	p.Run = filepath.Join("/tmp", "orrery-"+strconv.Itoa(os.Geteuid())+"-"+p.Hash)
	if base := os.Getenv("XDG_RUNTIME_DIR"); ownDir(base) {
		p.Run = filepath.Join(base, "orrery-"+p.Hash)
	}
	p.Socket = filepath.Join(p.Run, "engine.sock")
	return p, p.CheckSocket(p.Socket)
}

// ForSystem is the same place for an engine that runs as root with services that have a user: their state and sockets lie
// in /var/lib/orrery/<hash> and /run/orrery/<hash>, whose directories (0711) they can enter, as they could not enter a
// checkout under a 0700 home. The lock, leases and logs stay in .orrery.
func (p Place) ForSystem() Place { return p.under("/var/lib/orrery", "/run/orrery") }

func (p Place) under(state, run string) Place {
	p.System = true
	p.State = filepath.Join(state, p.Hash)
	p.Run = filepath.Join(run, p.Hash)
	p.Socket = filepath.Join(p.Run, "engine.sock")
	return p
}

// CheckSocket says whether the kernel takes path as the address of a unix socket.
func (p Place) CheckSocket(path string) error {
	if len(path) <= maxSocket {
		return nil
	}
	return fmt.Errorf("cannot use the unix socket %s: got a path of %d bytes, want at most %d; set XDG_RUNTIME_DIR to a directory with a short path",
		path, len(path), maxSocket)
}

// Make creates the directories of the place, or checks those that exist. The run directory is refused when it is a
// symlink, belongs to another user, or can be written by others: someone else may have put sockets there.
func (p Place) Make() error {
	if err := p.makeDir(); err != nil {
		return fmt.Errorf("cannot make %s: %w", p.Dir, explain(err, p.Dir))
	}
	shared, own, mode := []string{p.Logs, p.State}, []string{p.Run}, os.FileMode(0o700)
	if p.System {
		shared, mode = []string{p.Logs}, 0o711
		own = []string{filepath.Dir(p.State), p.State, filepath.Dir(p.Run), p.Run}
	}
	for _, dir := range shared {
		if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
			return fmt.Errorf("cannot make %s: %w", dir, explain(err, p.Dir))
		}
	}
	for _, dir := range own {
		if err := makeOwn(dir, mode); err != nil {
			return err
		}
	}
	return p.CheckSocket(p.Socket)
}

// makeDir creates .orrery with a .gitignore that hides all of it.
func (p Place) makeDir() error {
	if err := os.Mkdir(p.Dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	f, err := os.OpenFile(filepath.Join(p.Dir, ".gitignore"), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, os.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	_, err = f.WriteString("*\n")
	return errors.Join(err, f.Close())
}

// explain adds the usual reason for a refused permission: an earlier run as root.
func explain(err error, dir string) error {
	if !errors.Is(err, os.ErrPermission) {
		return err
	}
	uid, ok := ownerOf(dir)
	if !ok || uid == os.Geteuid() {
		return err
	}
	return fmt.Errorf("%w: %s belongs to uid %d and we are uid %d; give it back with chown -R, or remove it", err, dir, uid, os.Geteuid())
}

// makeOwn creates dir with exactly this mode, or checks that an existing one is ours alone to write.
func makeOwn(dir string, mode os.FileMode) error {
	if err := os.Mkdir(dir, mode); err != nil && !errors.Is(err, os.ErrExist) {
		return fmt.Errorf("cannot make %s: %w", dir, err)
	}
	st, err := os.Lstat(dir)
	if err != nil {
		return fmt.Errorf("cannot make %s: %w", dir, err)
	}
	if why := foreign(st, os.Geteuid()); why != "" {
		return fmt.Errorf("cannot use %s: %s; remove it", dir, why)
	}
	if st.Mode().Perm() == mode {
		return nil
	}
	if err := os.Chmod(dir, mode); err != nil {
		return fmt.Errorf("cannot make %s: %w", dir, err)
	}
	return nil
}

// foreign says why someone other than euid may have had a hand in what st describes; empty when not.
func foreign(st os.FileInfo, euid int) string {
	sys, _ := st.Sys().(*syscall.Stat_t)
	switch {
	case st.Mode()&os.ModeSymlink != 0:
		return "it is a symlink, want a directory"
	case !st.IsDir():
		return "it is not a directory"
	case sys == nil:
		return "its owner cannot be learned"
	case int(sys.Uid) != euid:
		return fmt.Sprintf("it belongs to uid %d, want uid %d", sys.Uid, euid)
	case st.Mode().Perm()&0o022 != 0:
		return fmt.Sprintf("its mode is %#o, want no write for group and others", st.Mode().Perm())
	}
	return ""
}

// ownDir tells whether dir can hold our run directory: others could rename what lies in a directory of theirs.
func ownDir(dir string) bool {
	if !filepath.IsAbs(dir) {
		return false
	}
	st, err := os.Stat(dir)
	return err == nil && foreign(st, os.Geteuid()) == ""
}

// ownerOf is the user that owns path.
func ownerOf(path string) (uid int, ok bool) {
	st, err := os.Stat(path)
	if err != nil {
		return 0, false
	}
	sys, ok := st.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, false
	}
	return int(sys.Uid), true
}
