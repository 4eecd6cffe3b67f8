package task

import (
	"path/filepath"
	"slices"
	"strings"

	"orrery/lang/graph"
	"orrery/runtime/sandbox"
)

// The modes of Job.Sandbox.
const (
	sandboxOff    = "off"    // nothing is refused or told
	sandboxWarn   = "warn"   // what is touched and not declared is told in Result.Notes
	sandboxStrict = "strict" // it is refused, and a failure says so
)

// sandboxLines are those of the key. What lets everything through makes the same result; what refuses is a check that the result has passed.
func (j *Job) sandboxLines() []string {
	var out []string
	if j.Sandbox == sandboxStrict {
		out = append(out, "sandbox strict")
	}
	if j.NoNetwork {
		out = append(out, "network closed")
	}
	return out
}

// systemTrees are open for reading to every task, as far as they exist: programs, libraries, settings and the description of the machine.
func systemTrees() []string {
	return []string{
		"/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/opt", "/etc", "/proc", "/sys", "/nix/store", "/gnu/store",
		"/run/current-system", "/run/systemd/resolve", "/run/resolvconf", "/run/NetworkManager", "/var/lib/ca-certificates",
	}
}

// devices may be read and written by every task; what is below the last two, too.
func devices() []string {
	return []string{"/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty", "/dev/ptmx", "/dev/pts", "/dev/shm"}
}

// policy is what a task may touch. All paths are absolute and without links.
type policy struct {
	root     string
	trees    []string        // to read and list, with all below
	declared []string        // the same, of the project: but for .git and .orrery
	files    map[string]bool // to read
	lists    []string        // to list, with all below
	own      []string        // to do anything with, with all below
	outputs  []string        // files or folders
	taken    map[string]bool // what lay beside outputs before, with names like theirs
	patterns []*graph.Pattern
	beyond   map[string]bool // what the program has open as its first three descriptors
}

// allows decides on one access.
func (p *policy) allows(t sandbox.Try) bool {
	switch {
	case below(t.Path, p.own), p.beyond[t.Path], p.output(t):
		return true
	case t.Can == sandbox.Write:
		return false
	case below(t.Path, p.trees), p.inFolder(t.Path):
		return true
	case t.Can == sandbox.List:
		return below(t.Path, p.lists)
	}
	return p.files[t.Path]
}

// below says whether a path is one of the trees or in one.
func below(path string, trees []string) bool {
	return slices.ContainsFunc(trees, func(tree string) bool { return in(path, tree) })
}

func in(path, tree string) bool {
	rest, ok := strings.CutPrefix(path, tree)
	return ok && (rest == "" || rest[0] == '/' || tree == "/")
}

// inFolder says whether a path lies in a declared folder, and not in what never counts as its content.
func (p *policy) inFolder(path string) bool {
	return slices.ContainsFunc(p.declared, func(tree string) bool {
		return in(path, tree) && !slices.ContainsFunc(strings.Split(path[len(tree):], "/"), private)
	})
}

// output says whether an access is to an output: to itself, to what is in it, or to a file beside it that is made first and then takes its place
// (x.tmp, .x.123 for x), unless it was there before.
func (p *policy) output(t sandbox.Try) bool {
	for _, o := range p.outputs {
		if in(t.Path, o) {
			return true
		}
		if beside(t.Path, o) && !p.taken[t.Path] {
			return true
		}
	}
	rel, err := filepath.Rel(p.root, t.Path)
	if err != nil || !filepath.IsLocal(rel) {
		return false
	}
	return slices.ContainsFunc(p.patterns, func(x *graph.Pattern) bool {
		return matches(x, filepath.ToSlash(rel)) || t.Folder && p.searched(t.Path, x)
	})
}

// beside says whether a path looks like one that is to become an output.
func beside(path, output string) bool {
	dir, name := filepath.Split(path)
	odir, oname := filepath.Split(output)
	rest, ok := strings.CutPrefix(strings.TrimLeft(name, "._#~"), strings.TrimLeft(oname, "._#~"))
	return ok && dir == odir && (rest == "" || !letter(rest[0]))
}

func letter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' || c >= 0x80 }

// searched says whether a folder is one that a pattern looks into.
func (p *policy) searched(path string, x *graph.Pattern) bool {
	return slices.ContainsFunc(x.Include, func(include string) bool {
		return in(path, filepath.Join(p.root, filepath.FromSlash(staticDir(include))))
	})
}

// rules are what the kernel is told. It counts in folders where files are made: the folder of an output is open to it as a whole, and the policy
// alone is exact there.
func (p *policy) rules() []sandbox.Rule {
	var out []sandbox.Rule
	add := func(can sandbox.Access, paths ...string) {
		for _, path := range paths {
			out = append(out, sandbox.Rule{Path: path, Can: can})
		}
	}
	const all = sandbox.Read | sandbox.List | sandbox.Write
	add(sandbox.Read|sandbox.List, p.trees...)
	add(sandbox.Read|sandbox.List, p.declared...)
	add(sandbox.List, p.lists...)
	add(all, p.own...)
	add(all, "/dev/stdin", "/dev/stdout", "/dev/stderr")
	var folders []string
	for _, o := range p.outputs {
		folders = append(folders, filepath.Dir(o))
	}
	for _, x := range p.patterns {
		for _, include := range x.Include {
			folders = append(folders, filepath.Join(p.root, filepath.FromSlash(staticDir(include))))
		}
	}
	slices.Sort(folders)
	add(all, slices.Compact(folders)...)
	for file := range p.files {
		if dir := filepath.Dir(file); !below(dir, p.trees) && !below(dir, p.declared) {
			add(sandbox.Read, file)
		}
	}
	return out
}
