package bind

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"orrery/lang/graph"
)

// wellKnown are the folders that hold servers and are on few a PATH.
func wellKnown() []string {
	return []string{
		"/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/opt/homebrew/opt/*/bin", "/opt/homebrew/bin", "/usr/local/opt/*/bin",
		"/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin", "/usr/lib/rabbitmq/bin",
	}
}

// tool is the path of a program of a declared tool: on the PATH, in the folders of the tool, in well-known ones.
func (b *Binding) tool(r graph.Ref) (string, error) {
	t := b.g.Tool(r.Name)
	program := r.Attr
	if program == "" {
		program = r.Name
	}
	if t == nil || !slices.Contains(t.Programs, program) {
		return "", fmt.Errorf("cannot tell %s: there is no such tool", r)
	}
	if b.plain {
		return program, nil
	}
	id := r.Name + ":" + program
	b.mu.RLock()
	path, ok := b.tools[id]
	b.mu.RUnlock()
	if ok {
		return path, nil
	}
	env, _ := b.opts.getenv("PATH")
	path, err := b.findProgram(program, filepath.SplitList(env), t)
	if err != nil {
		return "", err
	}
	b.mu.Lock()
	b.tools[id] = path
	b.mu.Unlock()
	return path, nil
}

// Tools are the paths of all programs of the tools that a task declares.
func (b *Binding) Tools(task string) ([]string, error) {
	n := b.g.Node(task)
	if n == nil || n.Kind != graph.KindTask {
		return nil, nil
	}
	var files []string
	for _, name := range n.Task.Tools {
		t := b.g.Tool(name)
		if t == nil {
			continue
		}
		for _, p := range t.Programs {
			file, err := b.tool(graph.Ref{Scope: graph.ScopeTool, Name: name, Attr: p})
			if err != nil {
				return nil, b.neededBy(task, err)
			}
			files = append(files, file)
		}
	}
	return files, nil
}

// findProgram looks in the folders of the PATH, then of the tool, then in the well-known ones.
// The first that has the wanted version is taken.
func (b *Binding) findProgram(program string, path []string, t *graph.Tool) (string, error) {
	var dirs []string
	for _, d := range path {
		if filepath.IsAbs(d) {
			dirs = append(dirs, d)
		}
	}
	for _, p := range t.Paths {
		if !filepath.IsAbs(p) {
			p = filepath.Join(b.dirs.Root, p)
		}
		dirs = append(dirs, newest(p)...)
	}
	for _, p := range wellKnown() {
		dirs = append(dirs, newest(p)...)
	}
	missing := &MissingToolError{Program: program, Version: t.Version, Packages: t.Packages}
	for _, d := range dirs {
		if slices.Contains(missing.Tried, d) {
			continue
		}
		missing.Tried = append(missing.Tried, d)
		file := filepath.Join(d, program)
		if st, err := os.Stat(file); err != nil || !st.Mode().IsRegular() || st.Mode()&0o111 == 0 {
			continue
		}
		ok, has := b.fits(file, t)
		if ok {
			return file, nil
		}
		missing.Found = append(missing.Found, has)
	}
	return "", missing
}

// neededBy adds to an error of a tool which node needs it, and where that is said.
func (b *Binding) neededBy(node string, err error) error {
	var missing *MissingToolError
	n := b.g.Node(node)
	if !errors.As(err, &missing) || n == nil || missing.By != "" {
		return err
	}
	missing.By = node
	if n.Pos.Line > 0 {
		missing.By += " (" + n.Pos.String()
		if len(n.Stack) > 0 {
			missing.By += ", by way of " + n.Stack[len(n.Stack)-1].Pos.String()
		}
		missing.By += ")"
	}
	return err
}

// newest lists the folders that match, the highest version first.
func newest(pattern string) []string {
	if !strings.ContainsAny(pattern, `*?[`) {
		return []string{pattern}
	}
	found, err := filepath.Glob(pattern)
	if err != nil {
		return nil
	}
	slices.SortStableFunc(found, func(a, b string) int { return compareVersions(b, a) })
	return found
}

// compareVersions compares texts, runs of digits by their number: 9 comes before 15.
func compareVersions(a, b string) int {
	for a != "" && b != "" {
		da, db := digits(a), digits(b)
		if da > 0 && db > 0 {
			na, nb := strings.TrimLeft(a[:da], "0"), strings.TrimLeft(b[:db], "0")
			if c := cmp.Or(cmp.Compare(len(na), len(nb)), strings.Compare(na, nb)); c != 0 {
				return c
			}
			a, b = a[da:], b[db:]
			continue
		}
		if a[0] != b[0] {
			return cmp.Compare(a[0], b[0])
		}
		a, b = a[1:], b[1:]
	}
	return cmp.Compare(len(a), len(b))
}

// digits is how many digits s begins with.
func digits(s string) int {
	n := 0
	for n < len(s) && s[n] >= '0' && s[n] <= '9' {
		n++
	}
	return n
}

// Error names the program, who needs it, where it was looked for, and what to install.
func (e *MissingToolError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "cannot find the program %q", e.Program)
	if e.Version != "" {
		fmt.Fprintf(&b, " in version %s", e.Version)
	}
	if e.By != "" {
		fmt.Fprintf(&b, ", which %s needs,", e.By)
	}
	fmt.Fprintf(&b, " in %s", strings.Join(e.Tried, ", "))
	if len(e.Found) > 0 {
		fmt.Fprintf(&b, ": %s", strings.Join(e.Found, ", "))
	}
	var hints []string
	for _, s := range []struct{ key, name, how string }{
		{"debian", "Debian", "apt install "}, {"fedora", "Fedora", "dnf install "}, {"arch", "Arch", "pacman -S "}, {"brew", "Homebrew", "brew install "}, {"nix", "Nix", "nix profile install nixpkgs#"},
		{"npm", "npm", "npm install -g "}, {"go", "Go", "go install "},
	} {
		if p, ok := e.Packages.Get(s.key); ok {
			hints = append(hints, s.name+": "+s.how+p)
		}
	}
	if len(hints) > 0 {
		b.WriteString("; install it (" + strings.Join(hints, "; ") + ")")
	} else {
		b.WriteString("; install it, or name its folder in paths of the tool")
	}
	return b.String()
}
