package proc

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Cgroup makes a cgroup v2 directory for one tree, below our own, for [Spec].Cgroup. The error says why there is none: no
// cgroup v2, not delegated to us, or a kernel before 5.14. name is made into a file name.
func Cgroup(name string) (string, error) {
	base, err := ownCgroup()
	if err != nil {
		return "", fmt.Errorf("cannot use cgroups: %w", err)
	}
	dir := filepath.Join(base, cgroupName(name))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("cannot use cgroups: %w", err)
	}
	if unix.Access(filepath.Join(dir, "cgroup.kill"), unix.W_OK) != nil || unix.Access(filepath.Join(base, "cgroup.procs"), unix.W_OK) != nil {
		os.Remove(dir)
		return "", fmt.Errorf("cannot use cgroups: %s is not ours to kill by (Linux 5.14 and a delegated cgroup are needed)", dir)
	}
	return dir, nil
}

// cgroupName makes a name into that of a cgroup of ours.
func cgroupName(name string) string {
	clean := func(r rune) rune {
		if r == '/' || r < ' ' {
			return '-'
		}
		return r
	}
	return "orrery-" + strings.Map(clean, name)
}

// ownCgroup is the directory of the v2 cgroup that we are in.
func ownCgroup() (string, error) {
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return "", err
	}
	root, mount := cgroupMount(string(mounts))
	if mount == "" {
		return "", errors.New("no cgroup v2 is mounted")
	}
	own, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(own)) {
		path, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "0::")
		if !ok {
			continue
		}
		rel, err := filepath.Rel(root, path)
		if err != nil || rel == ".." || strings.HasPrefix(rel, "../") {
			return "", fmt.Errorf("our cgroup %s lies outside of what is mounted at %s", path, mount)
		}
		return filepath.Join(mount, rel), nil
	}
	return "", errors.New("we are in no cgroup v2")
}

// cgroupMount finds the mount of cgroup v2 in the text of /proc/self/mountinfo: the root of it, and where it is mounted.
func cgroupMount(mountinfo string) (root, mount string) {
	for line := range strings.Lines(mountinfo) {
		left, right, ok := strings.Cut(line, " - ")
		f := strings.Fields(left)
		if ok && strings.HasPrefix(right, "cgroup2 ") && len(f) > 4 {
			return f[3], f[4]
		}
	}
	return "", ""
}

// populated says whether any process is left in the cgroup or below it.
func populated(dir string) bool {
	b, err := os.ReadFile(filepath.Join(dir, "cgroup.events"))
	return err == nil && bytes.Contains(b, []byte("populated 1"))
}

// killCgroup ends all that is in the cgroup and below it, in one step that no fork escapes.
func killCgroup(dir string) error {
	if !populated(dir) {
		return nil
	}
	return os.WriteFile(filepath.Join(dir, "cgroup.kill"), []byte("1"), 0)
}

// removeCgroup removes dir and the cgroups that a program made inside it, as far as they are empty.
func removeCgroup(dir string) {
	var dirs []string
	filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			dirs = append(dirs, path)
		}
		return nil
	})
	for _, d := range slices.Backward(dirs) {
		unix.Rmdir(d)
	}
}
