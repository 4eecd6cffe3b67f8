package task

import (
	"bufio"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// policyOf looks at what a job declares, as it lies on the disk now. own are the trees that are its own for this run.
func policyOf(j *Job, own []string) (*policy, error) {
	r := &realPaths{dirs: map[string]string{}}
	p := &policy{root: r.tree(j.Root), files: map[string]bool{}, beyond: map[string]bool{}, taken: map[string]bool{}}
	for _, tree := range systemTrees() {
		if real := r.tree(tree); real != "" {
			p.trees = append(p.trees, without(real, p.root)...)
		}
	}
	for _, tree := range slices.Concat(own, devices()) {
		if real := r.tree(tree); real != "" {
			p.own = append(p.own, real)
		}
	}
	for _, o := range j.Outputs {
		if o.Pattern != nil {
			p.patterns = append(p.patterns, o.Pattern)
			continue
		}
		path := r.name(absolute(j.Root, o.Path))
		p.outputs = append(p.outputs, path)
		entries, _ := os.ReadDir(filepath.Dir(path))
		for _, e := range entries {
			if other := filepath.Join(filepath.Dir(path), e.Name()); beside(other, path) {
				p.taken[other] = true
			}
		}
	}
	p.programFolders(j, r)
	read := slices.Clone(j.Readable)
	k := j.Declared
	if k == nil {
		k = &KeyInput{}
	}
	for _, in := range k.Inputs {
		if in.Pattern != nil {
			for _, include := range in.Pattern.Include {
				p.lists = append(p.lists, r.name(filepath.Join(j.Root, filepath.FromSlash(staticDir(include)))))
			}
			continue
		}
		path := absolute(j.Root, in.Path)
		if st, err := os.Stat(path); err == nil && st.IsDir() {
			p.declared = append(p.declared, r.tree(path))
		}
	}
	list, err := k.list(j)
	if err != nil {
		return nil, err
	}
	for _, it := range list.items {
		if it.gone {
			continue
		}
		switch it.kind {
		case "program":
			read = append(read, it.path, interpreter(it.path))
		case "tool":
			read = append(read, it.path, interpreter(it.path))
			p.home(it.path, j)
		}
		r.add(p.files, it.path)
	}
	for _, path := range read {
		if path == "" {
			continue
		}
		path = absolute(j.Dir, path)
		if st, err := os.Stat(path); err == nil && st.IsDir() {
			p.trees = append(p.trees, r.tree(path))
			continue
		}
		r.add(p.files, path)
	}
	return p, nil
}

func absolute(dir, path string) string {
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	return filepath.Join(dir, path)
}

// programFolders opens the folders of the PATH that lie outside of the project, and the libraries beside them.
func (p *policy) programFolders(j *Job, r *realPaths) {
	path := ""
	for _, kv := range j.Env {
		if v, ok := strings.CutPrefix(kv, "PATH="); ok {
			path = v
		}
	}
	for _, dir := range filepath.SplitList(path) {
		real := ""
		if filepath.IsAbs(dir) {
			real = r.tree(dir)
		}
		if real == "" || in(real, p.root) || in(p.root, real) || below(real, p.trees) {
			continue
		}
		p.trees = append(p.trees, real)
		if name := filepath.Base(dir); name != "bin" && name != "sbin" {
			continue
		}
		for _, name := range []string{"lib", "lib64", "libexec"} {
			if lib := r.tree(filepath.Join(filepath.Dir(dir), name)); lib != "" && !in(p.root, lib) && !in(lib, p.root) {
				p.trees = append(p.trees, lib)
			}
		}
	}
}

// home opens the folder in which a tool is installed: that above the bin with its program, such as /home/u/go1.26. One that is hidden (~/.local), the
// home of the user, and what holds the project are no such folders.
func (p *policy) home(program string, j *Job) {
	bin := filepath.Dir(program)
	dir := filepath.Dir(bin)
	if filepath.Base(bin) != "bin" || dir == "/" || strings.HasPrefix(filepath.Base(dir), ".") || in(p.root, dir) || in(dir, p.root) {
		return
	}
	for _, kv := range j.Env {
		if home, ok := strings.CutPrefix(kv, "HOME="); ok && in(home, dir) {
			return
		}
	}
	p.trees = append(p.trees, dir)
}

// without is a tree, or what is left of it without the project.
func without(tree, root string) []string {
	if !in(root, tree) {
		return []string{tree}
	}
	entries, _ := os.ReadDir(tree)
	var out []string
	for _, e := range entries {
		if path := filepath.Join(tree, e.Name()); path != root {
			out = append(out, without(path, root)...)
		}
	}
	return out
}

// interpreter is the program that a script's first line names, or "".
func interpreter(file string) string {
	f, err := os.Open(file)
	if err != nil {
		return ""
	}
	defer f.Close()
	line, _ := bufio.NewReaderSize(io.LimitReader(f, 256), 256).ReadString('\n')
	rest, ok := strings.CutPrefix(line, "#!")
	if !ok {
		return ""
	}
	name, _, _ := strings.Cut(strings.Trim(rest, " \t\n"), " ")
	return name
}

// realPaths resolves links, each folder once.
type realPaths struct{ dirs map[string]string }

// tree is a folder or file without links; "" if there is none.
func (r *realPaths) tree(path string) string {
	if real, ok := r.dirs[path]; ok {
		return real
	}
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		real = ""
	}
	r.dirs[path] = real
	return real
}

// name is a path whose folder has no links, whatever is at it; as it is if the folder is not there.
func (r *realPaths) name(path string) string {
	if dir := r.tree(filepath.Dir(path)); dir != "" {
		return filepath.Join(dir, filepath.Base(path))
	}
	return path
}

// add takes a file, and what it leads to if it is a link.
func (r *realPaths) add(files map[string]bool, path string) {
	name := r.name(path)
	files[name] = true
	if st, err := os.Lstat(name); err == nil && st.Mode()&os.ModeSymlink != 0 {
		if real := r.tree(name); real != "" {
			files[real] = true
		}
	}
}
