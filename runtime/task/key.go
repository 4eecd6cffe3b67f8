package task

import (
	"cmp"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"orrery/lang/graph"
	"orrery/runtime/files"
	"orrery/runtime/fresh"
)

// Var is a variable of the environment with where it comes from, in the words of bind.Var.
type Var struct {
	// Key and Value are the two halves of K=V.
	Key, Value string
	// Origin says who set it. What describes the machine, the user or the place is not in the key: "caller", "cwd", "user", "secrets",
	// "tools". All else is.
	Origin string
	// Secret says that the value holds a secret: the key holds a keyed hash of it.
	Secret bool
}

// Input is something that a result depends on.
type Input struct {
	// From names the output of a task, such as "build.bin"; empty: files of the project.
	From string
	// Path is a file or folder, absolute or relative to the root; empty if Pattern is set.
	Path string
	// Pattern is matched below the root. A name that begins with a dot must be named by it.
	Pattern *graph.Pattern
	// Implied says that it is not among the declared inputs: the command or the environment refers to it.
	Implied bool
}

// KeyInput is what, besides the Job, a result depends on, and whether it may be kept.
type KeyInput struct {
	// Cache is what the task declares; nil: nothing. Live says that it touches a service.
	Cache *bool
	Live  bool
	// Env is the environment of the Job, with origins.
	Env []Var
	// Tools are the programs of the declared tools, absolute.
	Tools []string
	// Inputs are the declared inputs, and the outputs of tasks that are referred to.
	Inputs []Input
	// CacheKey are the texts of cache_key.
	CacheKey []string
}

// cached tells whether the result may be kept.
func (k *KeyInput) cached(j *Job) bool { return k.Uncached(j) == "" }

// template tells whether what the job fills a directory with may be kept.
func (k *KeyInput) template(j *Job) bool {
	return !j.Interactive && (k.Cache == nil || *k.Cache) && (!k.Live || len(k.CacheKey) > 0)
}

// secrets are the values that no kept output may hold.
func (k *KeyInput) secrets() []string {
	var all []string
	for _, v := range k.Env {
		if v.Secret && len(v.Value) >= 4 { // shorter ones would blacken half of the text
			all = append(all, v.Value)
		}
	}
	return all
}

// keyed is a key, the lines it was made from, and the files that were looked at.
type keyed struct {
	key   string
	lines []string
	files []looked
	found []string // the files of the steps' programs
	seen  sights   // of the files, and of the folders and programs that led to them
}

// looked is a file in the state in which it was looked at; target is what a link leads to.
type looked struct {
	kind, show string
	id, target ident
}

// touched names a file that is not in the state that it was in. The lines of both are the same, and so are the files.
func (k *keyed) touched(now *keyed) string {
	for i, f := range k.files {
		if now.files[i] != f {
			return f.kind + " " + f.show
		}
	}
	return ""
}

// Lines are the readable lines of the key that the task has now, and the key: their hash. Each is a kind, a name and what is known
// of it. They say nothing of creates and status, nor of where the project lies.
func (c *Caching) Lines(j *Job, k *KeyInput) (key string, lines []string, err error) {
	known, err := k.compute(j, c)
	if err != nil {
		return "", nil, err
	}
	return known.key, known.lines, nil
}

// Cached tells whether the result of a task is kept.
func (c *Caching) Cached(j *Job, k *KeyInput) bool { return c != nil && c.Store != nil && k.cached(j) }

func hashText(text string) string {
	h := sha256.Sum256([]byte(text))
	return hex.EncodeToString(h[:])
}

// keyVersion is in every key; a new one makes all results unknown.
const keyVersion = "orrery-task 1"

// compute looks at everything that the result depends on.
func (k *KeyInput) compute(j *Job, c *Caching) (*keyed, error) {
	out := &keyed{}
	add := func(kind, name string, rest ...string) {
		out.lines = append(out.lines, strings.Join(append([]string{kind, word(name)}, rest...), " "))
	}
	out.lines = append(out.lines, keyVersion)
	add("platform", runtime.GOOS+"/"+runtime.GOARCH)
	add("cwd", relative(j.Root, j.Dir))
	if j.User != "" || j.Group != "" {
		add("user", j.User, word(j.Group))
	}
	for i, s := range j.Steps {
		add("command", strconv.Itoa(i+1), words(s.Argv)...)
		for _, kv := range s.Env {
			name, value, _ := strings.Cut(kv, "=")
			add("command-env", strconv.Itoa(i+1)+"."+name, word(value))
		}
	}
	for _, v := range slices.SortedFunc(slices.Values(k.Env), func(a, b Var) int { return cmp.Compare(a.Key, b.Key) }) {
		switch {
		case !v.keyed():
		case v.Secret:
			m := hmac.New(sha256.New, c.Salt)
			fmt.Fprintf(m, "%s=%s", v.Key, v.Value)
			add("secret", v.Key, hex.EncodeToString(m.Sum(nil)[:16]))
		default:
			add("env", v.Key, word(v.Value))
		}
	}
	for i, t := range k.CacheKey {
		add("cache_key", strconv.Itoa(i+1), word(t))
	}
	for _, o := range j.Outputs {
		if o.Pattern != nil {
			add("output", o.Name, append(append([]string{"pattern"}, words(o.Pattern.Include)...), excluded(o.Pattern)...)...)
			continue
		}
		add("output", o.Name, word(relative(j.Root, o.Path)))
	}
	for _, v := range j.Values {
		add("value", v)
	}
	out.lines = append(out.lines, j.sandboxLines()...)
	found, err := k.list(j)
	if err != nil {
		return nil, err
	}
	if err := found.look(j.hashes(), out); err != nil {
		return nil, err
	}
	out.found = found.programs
	out.key = hashText(strings.Join(out.lines, "\n") + "\n")
	return out, nil
}

// keyed tells whether a variable is part of the key.
func (v Var) keyed() bool {
	switch v.Origin {
	case "caller", "cwd", "user", "secrets", "tools":
		return false
	}
	return true
}

func excluded(p *graph.Pattern) []string {
	if len(p.Exclude) == 0 {
		return nil
	}
	return append([]string{"without"}, words(p.Exclude)...)
}

// relative is a path as a key names it: from the root with slashes, or absolute if it lies elsewhere.
func relative(root, p string) string {
	if n := len(root); len(p) > n+1 && p[:n] == root && p[n] == '/' && filepath.IsLocal(p[n+1:]) && filepath.Clean(p[n+1:]) == p[n+1:] {
		return p[n+1:] // as nearly all are
	}
	if !filepath.IsAbs(p) {
		p = filepath.Join(root, p)
	}
	rel, err := filepath.Rel(root, p)
	if err != nil || !filepath.IsLocal(rel) {
		return filepath.ToSlash(filepath.Clean(p))
	}
	return filepath.ToSlash(rel)
}

// word is a text without spaces, that tells every text from every other.
func word(s string) string {
	for _, c := range []byte(s) {
		if c <= ' ' || c >= 0x7f || c == '"' || c == '\\' {
			return strconv.Quote(s)
		}
	}
	if s == "" {
		return `""`
	}
	return s
}

func words(all []string) []string {
	out := make([]string, len(all))
	for i, s := range all {
		out[i] = word(s)
	}
	return out
}

// errNoProgram says that a program is not on the PATH; running it will tell more.
var errNoProgram = errors.New("no such program")

// program finds what a step runs, as the start of it will, and where that really is. It adds what it looked at.
func (j *Job) program(s Step, seen *sights) (file, real string, err error) {
	if len(s.Argv) == 0 || s.Argv[0] == "" {
		return "", "", errNoProgram
	}
	name := s.Argv[0]
	if strings.Contains(name, "/") {
		if !filepath.IsAbs(name) {
			name = filepath.Join(j.Dir, name)
		}
		seen.look(name, fresh.Target)
		real, err = filepath.EvalSymlinks(name)
		return "", real, err
	}
	path := ""
	for _, kv := range slices.Concat(j.Env, s.Env) {
		if v, ok := strings.CutPrefix(kv, "PATH="); ok {
			path = v
		}
	}
	for _, dir := range filepath.SplitList(path) {
		if !filepath.IsAbs(dir) {
			dir = filepath.Join(j.Dir, dir)
		}
		file := filepath.Join(dir, name)
		st, err := files.Stat(file)
		seen.add(file, fresh.Target, st, err)
		if err == nil && st.Mode().IsRegular() && st.Mode()&0o111 != 0 {
			real, err = filepath.EvalSymlinks(file)
			return file, real, err
		}
	}
	return "", "", errNoProgram
}

// programs are what the steps and tools are, by content.
func (k *KeyInput) programs(j *Job, f *listing) {
	seen := map[string]bool{}
	add := func(kind, show, path string, err error) {
		if seen[kind+show] {
			return
		}
		seen[kind+show] = true
		it := item{kind: kind, show: show, path: path}
		if err != nil {
			it.gone = true
		}
		f.items = append(f.items, it)
	}
	for _, s := range j.Steps {
		file := ""
		if len(s.Argv) > 0 {
			var path string
			var err error
			file, path, err = j.program(s, &f.seen)
			add("program", s.Argv[0], path, err)
		}
		f.programs = append(f.programs, file)
	}
	if len(k.Tools) > 0 {
		f.seen.path(j.Env) // a tool may come to be found in another place
	}
	for _, t := range k.Tools {
		f.seen.look(t, fresh.Target)
		path, err := filepath.EvalSymlinks(t)
		add("tool", relative(j.Root, t), path, err)
	}
}

// missing tells whether an error says that a file is not there.
func missing(err error) bool { return errors.Is(err, fs.ErrNotExist) || errors.Is(err, errNotDir) }
