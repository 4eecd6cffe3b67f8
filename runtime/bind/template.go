package bind

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"orrery/lang/graph"
)

// newDir holds state directories that are being made, under the base of all: no node has such a name.
const newDir = ".new"

// keyDir stands for the state_dir in the key of a template: the same for every service and checkout.
const keyDir = "⟦state_dir⟧"

// instead is what the state_dir of a service means to the task that fills it.
type instead struct {
	service, dir string
	key          bool // it is for a key
}

func (b *Binding) stateDir(service string) string {
	if b.instead != nil && b.instead.service == service {
		return b.instead.dir
	}
	return b.dirs.Path("state", service)
}

// Template is the state_dir of a service while a task fills it: made under another name, and only then given its own. Its methods are for one
// goroutine, under the lock that the file Lock is for; only Vacant may be called without it.
type Template struct {
	// Service is whose state_dir it is.
	Service string
	// Tmp is what the task fills; UID and GID are to own it, -1 is us.
	Tmp      string
	UID, GID int
	// Lock is a file to lock, in a directory that exists.
	Lock string
	// Run is the Binding in which the state_dir is Tmp. In Key it is a placeholder, and so is the path of a secret: nothing of the place is left.
	Run, Key *Binding

	b *Binding
}

// Template gives what a task with a template needs. Every call gives another Tmp; nothing of it is made yet.
func (b *Binding) Template(task string) (*Template, error) {
	n := b.g.Node(task)
	if n == nil || n.Kind != graph.KindTask || n.Task.Template == "" {
		return nil, fmt.Errorf("cannot tell what %q fills: it is no task with a template", task)
	}
	service := n.Task.Template
	o, err := ownerOf(b.g, b.g.Node(service))
	if err != nil {
		return nil, err
	}
	ids := filepath.Dir(dataIDFile(b.dirs, service))
	if o != us { // its user must get there
		err = os.MkdirAll(b.dirs.State, 0o711)
	}
	if err == nil {
		err = os.MkdirAll(ids, 0o700)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot make the state directory of %s: %w", service, err)
	}
	t := &Template{Service: service, UID: o.uid, GID: o.gid, Lock: filepath.Join(ids, flat(service)+"~lock"), b: b}
	t.Tmp = b.dirs.Path("state", newDir+"/"+flat(service)+"~"+strings.ToLower(rand.Text()[:8]))
	with := func(i instead) *Binding {
		view := *b
		view.instead = &i
		return &view
	}
	t.Run = with(instead{service, t.Tmp, false})
	t.Key = with(instead{service, keyDir, true})
	return t, nil
}

// Vacant tells whether the state_dir may be filled: it is absent, or it is empty and we have made it (it has a data_id).
func (t *Template) Vacant() (bool, error) {
	dir := t.b.dirs.Path("state", t.Service)
	fi, err := os.Lstat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	if err != nil || !fi.IsDir() {
		return false, err
	}
	if _, err := os.Lstat(dataIDFile(t.b.dirs, t.Service)); err != nil {
		return false, nil
	}
	f, err := os.Open(dir)
	if err != nil {
		return false, err
	}
	defer f.Close()
	_, err = f.Readdirnames(1)
	if errors.Is(err, io.EOF) {
		return true, nil
	}
	return false, err
}

// Make makes Tmp, empty, and removes what runs that were killed have left of this service.
func (t *Template) Make() error {
	if err := t.sweep(); err != nil {
		return fmt.Errorf("cannot remove what an earlier run left of the state directory of %s: %w", t.Service, err)
	}
	_, err := t.b.dirs.make("state", newDir+"/"+filepath.Base(t.Tmp), owner{t.UID, t.GID})
	return err
}

func (t *Template) sweep() error {
	names, err := os.ReadDir(filepath.Dir(t.Tmp))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, n := range names {
		if strings.HasPrefix(n.Name(), flat(t.Service)+"~") {
			err = errors.Join(err, removeTree(filepath.Join(filepath.Dir(t.Tmp), n.Name())))
		}
	}
	return err
}

// Drop removes Tmp; what cannot be removed is left to the next Make.
func (t *Template) Drop() { _ = removeTree(t.Tmp) }

// Take gives Tmp the name of the state_dir, which is vacant; what has been put there meanwhile is an error. The data_id of what was there
// before is forgotten: the next start mints one.
func (t *Template) Take() error {
	dir := t.b.dirs.Path("state", t.Service)
	vacant, err := t.Vacant()
	if err == nil && !vacant {
		err = errors.New("it exists by now")
	}
	if err == nil {
		if err = os.Remove(dir); errors.Is(err, fs.ErrNotExist) {
			err = t.above(dir)
		}
	}
	if err == nil {
		err = t.b.forget(t.Service)
	}
	if err == nil {
		err = renameNew(t.Tmp, dir)
	}
	if err != nil {
		return fmt.Errorf("cannot make the state directory of %s: %w", t.Service, err)
	}
	return nil
}

// above makes the directories above a state_dir that is not there.
func (t *Template) above(dir string) error {
	if filepath.Dir(dir) == t.b.dirs.State {
		return nil
	}
	if _, err := t.b.dirs.make("state", t.Service, owner{t.UID, t.GID}); err != nil {
		return err
	}
	return os.Remove(dir)
}

// removeTree removes a folder also where folders in it are closed to us.
func removeTree(dir string) error {
	err := os.RemoveAll(dir)
	if !errors.Is(err, fs.ErrPermission) {
		return err
	}
	root, open := os.OpenRoot(dir)
	if open != nil {
		return err
	}
	defer root.Close()
	unseal(root, ".")
	return os.RemoveAll(dir)
}

// unseal makes a folder and those in it writable, as far as that can be done.
func unseal(root *os.Root, rel string) {
	if root.Chmod(rel, 0o700) != nil {
		return
	}
	f, err := root.Open(rel)
	if err != nil {
		return
	}
	all, _ := f.ReadDir(-1)
	f.Close()
	for _, e := range all {
		if e.IsDir() {
			unseal(root, filepath.Join(rel, e.Name()))
		}
	}
}

// SecretVars are the secrets that a node is given as files, as variables of a key: it depends on what is in them.
func (b *Binding) SecretVars(node string) ([]Var, error) {
	n := b.g.Node(node)
	if n == nil {
		return nil, nil
	}
	var vars []Var
	for _, name := range b.secretFiles(n) {
		s := b.g.Secret(name)
		if s == nil {
			continue
		}
		v, err := b.secret(s)
		if err != nil {
			return nil, err
		}
		vars = append(vars, Var{Key: "file:" + name, Value: v, Origin: "secret", Secret: true})
	}
	return vars, nil
}
