package task

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/bmatcuk/doublestar/v4"

	"orrery/runtime/files"
)

// outputs are the declared outputs of a job, below the root of the project: nothing is made or looked at outside of it.
type outputs struct {
	root *files.Root
	job  *Job
	list []located
	seen sights // by the last scan
}

// located is an output and its path relative to the root.
type located struct {
	Output
	rel string
}

// openOutputs locates the outputs; one outside of the project is an error.
func openOutputs(j *Job) (*outputs, error) {
	o := &outputs{job: j}
	if len(j.Outputs) == 0 {
		return o, nil
	}
	for _, out := range j.Outputs {
		l := located{Output: out}
		if out.Pattern == nil {
			rel, err := inside(j.Root, out.Path)
			if err != nil {
				return nil, fmt.Errorf("output %s: %w", out.Name, err)
			}
			l.rel = rel
		}
		o.list = append(o.list, l)
	}
	root, err := files.OpenRoot(j.Root)
	if err != nil {
		return nil, fmt.Errorf("cannot look at the outputs: %w", err)
	}
	o.root = root
	return o, nil
}

// inside is a path relative to the root it must lie in.
func inside(root, p string) (string, error) {
	rel := filepath.Clean(p)
	if filepath.IsAbs(p) {
		var err error
		if rel, err = filepath.Rel(root, p); err != nil {
			return "", err
		}
	}
	if rel == "." || !filepath.IsLocal(rel) {
		return "", fmt.Errorf("got %q, want a path inside the project", p)
	}
	return rel, nil
}

func (o *outputs) close() {
	if o.root != nil {
		o.root.Close()
	}
}

// prepare makes the folders above the outputs, owned by the task's user.
func (o *outputs) prepare() error {
	for _, l := range o.list {
		dir := filepath.Dir(l.rel)
		if l.Pattern != nil {
			dir = "."
			if len(l.Pattern.Include) > 0 {
				dir = filepath.FromSlash(staticDir(l.Pattern.Include[0]))
			}
		}
		if err := o.mkdirs(dir); err != nil {
			return fmt.Errorf("cannot make the folder of the output %s: %w", l.Name, err)
		}
	}
	return nil
}

func (o *outputs) mkdirs(dir string) error {
	if dir == "." || dir == "" || o.root.HasDir(dir) {
		return nil
	}
	if err := o.mkdirs(filepath.Dir(dir)); err != nil {
		return err
	}
	err := o.root.Mkdir(dir, 0o755)
	if errors.Is(err, fs.ErrExist) {
		st, err := o.root.Stat(dir)
		if err == nil && !st.IsDir() {
			err = fmt.Errorf("%s is no folder", dir)
		}
		return err
	}
	if err != nil {
		return err
	}
	f, err := o.root.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(give(f, o.job.User, o.job.Group), f.Close())
}

// missing names every declared output that is not there.
func (o *outputs) missing() error {
	var errs []error
	for _, l := range o.list {
		if l.Pattern != nil {
			found, err := glob(o.job.Root, l.Pattern, nil)
			if err != nil {
				errs = append(errs, fmt.Errorf("cannot look at the output %s: %w", l.Name, err))
			} else if len(found) == 0 {
				errs = append(errs, fmt.Errorf("declared output %s: no file matches %s", l.Name, strings.Join(l.Pattern.Include, ", ")))
			}
			continue
		}
		if _, err := o.root.Lstat(l.rel); errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, fmt.Errorf("declared output %s is missing", l.rel))
		} else if err != nil {
			errs = append(errs, fmt.Errorf("cannot look at the output %s: %w", l.rel, err))
		}
	}
	return errors.Join(errs...)
}

// staticDir is the folder above the first part of a pattern that is no plain name.
func staticDir(pattern string) string {
	dir, _ := doublestar.SplitPattern(path.Clean(pattern))
	return dir
}

// give makes a file the user's that a program runs as; without one it stays ours.
func give(f *os.File, name, group string) error { return giveTo(f.Chown, name, group) }

// giveTo is give, by the function that changes the owner.
func giveTo(chown func(uid, gid int) error, name, group string) error {
	if os.Geteuid() != 0 || name == "" && group == "" {
		return nil
	}
	uid, gid := -1, -1
	if name != "" {
		u, err := user.Lookup(name)
		if err != nil {
			if u, err = user.LookupId(name); err != nil {
				return fmt.Errorf("unknown user %q", name)
			}
		}
		uid, _ = strconv.Atoi(u.Uid)
		gid, _ = strconv.Atoi(u.Gid)
	}
	if group != "" {
		g, err := user.LookupGroup(group)
		if err != nil {
			if g, err = user.LookupGroupId(group); err != nil {
				return fmt.Errorf("unknown group %q", group)
			}
		}
		gid, _ = strconv.Atoi(g.Gid)
	}
	return chown(uid, gid)
}
