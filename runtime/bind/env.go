package bind

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"orrery/lang/graph"
)

// passed are the variables of the caller that every task sees: they describe the machine and the user, and are no part of
// what a result depends on.
func passed() []string {
	return []string{"PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LC_*", "TERM", "TZ", "TMPDIR", "XDG_*",
		"*_proxy", "*_PROXY", "SSL_CERT_*", "MAKEFLAGS"}
}

// environ builds an environment in layers; a later one replaces what an earlier one said, in its place.
type environ struct {
	vars  []Var
	index map[string]int
}

func (e *environ) set(v Var) {
	if i, ok := e.index[v.Key]; ok {
		e.vars[i] = v
		return
	}
	e.index[v.Key] = len(e.vars)
	e.vars = append(e.vars, v)
}

func (e *environ) unset(key string) {
	if i, ok := e.index[key]; ok {
		e.vars[i].Key = "" // keeps the place of the others
		delete(e.index, key)
	}
}

func (e *environ) get(key string) string {
	if i, ok := e.index[key]; ok {
		return e.vars[i].Value
	}
	return ""
}

// list is what is left, sorted by name.
func (e *environ) list() []Var {
	vs := slices.DeleteFunc(slices.Clone(e.vars), func(v Var) bool { return v.Key == "" })
	slices.SortFunc(vs, func(a, b Var) int { return strings.Compare(a.Key, b.Key) })
	return vs
}

// Env is the environment of a node, sorted by name, each variable with its origin. Later layers win: the caller (for a task
// only what it lets pass), the project's dotenv files, project.env, env_exports of what the node uses, its env_file (read
// now), its env, in which None removes a variable. A missing dotenv file is empty, a missing env_file an error.
func (b *Binding) Env(node string) ([]Var, error) {
	n := b.g.Node(node)
	if n == nil {
		return nil, fmt.Errorf("cannot tell the environment of %q: there is no such node", node)
	}
	vars, err := b.env(n)
	if err != nil {
		return nil, fmt.Errorf("cannot tell the environment of %s: %w", node, err)
	}
	return vars, nil
}

func (b *Binding) env(n *graph.Node) ([]Var, error) {
	e := &environ{index: map[string]int{}}
	b.base(e, n)
	if err := b.self(e, n); err != nil {
		return nil, err
	}
	for _, file := range b.g.Project.Dotenv {
		if err := b.dotenv(e, "dotenv "+file, b.abs(file), true); err != nil {
			return nil, err
		}
	}
	for _, v := range b.g.Project.Env {
		e.set(Var{Key: v.Key, Value: v.Value, Origin: "project"})
	}
	for _, u := range n.Common().Uses {
		if s := b.g.Node(u); s != nil && s.Kind == graph.KindService {
			if err := b.texts(e, n, s.Service.EnvExports, "uses "+u); err != nil {
				return nil, err
			}
		}
	}
	if n.Kind == graph.KindService {
		for _, t := range n.Service.EnvFile {
			file, err := b.Path(t, n.Name())
			if err != nil {
				return nil, err
			}
			if err := b.dotenv(e, "env_file "+file, file, false); err != nil {
				return nil, err
			}
		}
	}
	if err := b.texts(e, n, n.Common().Env, "env"); err != nil {
		return nil, err
	}
	if err := b.toolPath(e, n); err != nil {
		return nil, err
	}
	return e.list(), nil
}

// base takes the variables of the caller: all of them for a service, those that pass for a task.
func (b *Binding) base(e *environ, n *graph.Node) {
	var pass []string
	if n.Kind == graph.KindTask {
		pass = slices.Concat(b.g.Project.PassEnv, n.Task.PassEnv)
	}
	for _, kv := range b.opts.Environ {
		k, v, ok := strings.Cut(kv, "=")
		switch {
		case !ok || k == "" || strings.HasPrefix(k, remoteCache):
		case n.Kind == graph.KindService:
			e.set(Var{Key: k, Value: v, Origin: "caller"})
		case matches(pass, k):
			e.set(Var{Key: k, Value: v, Origin: "pass_env"})
		case matches(passed(), k):
			e.set(Var{Key: k, Value: v, Origin: "caller"})
		}
	}
}

// remoteCache begins the variables of the remote cache: its passwords are not for the programs that we start.
const remoteCache = "ORRERY_REMOTE_CACHE"

func matches(patterns []string, key string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool {
		ok, err := path.Match(p, key)
		return ok || err != nil && p == key
	})
}

// self sets what follows from the node itself: its folder, its user, its secrets.
func (b *Binding) self(e *environ, n *graph.Node) error {
	dir, err := b.Dir(n.Name())
	if err != nil {
		return err
	}
	e.set(Var{Key: "PWD", Value: dir, Origin: "cwd"})
	if name, _ := b.User(n.Name()); name != "" {
		if u, err := lookupUser(name); err == nil {
			for _, kv := range [][2]string{{"HOME", u.HomeDir}, {"USER", u.Username}, {"LOGNAME", u.Username}} {
				e.set(Var{Key: kv[0], Value: kv[1], Origin: "user"})
			}
			e.unset("XDG_RUNTIME_DIR") // of root
		}
	}
	if len(b.secretFiles(n)) > 0 {
		e.set(Var{Key: "CREDENTIALS_DIRECTORY", Value: b.secretsDir(n.Name()), Origin: "secrets"})
	}
	return nil
}

// texts sets variables from texts; a nil text removes one.
func (b *Binding) texts(e *environ, n *graph.Node, d graph.Dict[graph.Text], origin string) error {
	for _, v := range d {
		if v.Value == nil {
			e.unset(v.Key)
			continue
		}
		f := filler{b: b, node: n.Name()}
		s, err := v.Value.Fill(f.value)
		if err != nil {
			return fmt.Errorf("%s: %w", v.Key, err)
		}
		e.set(Var{Key: v.Key, Value: s, Origin: origin, Secret: f.secret})
	}
	return nil
}

func (b *Binding) dotenv(e *environ, origin, file string, optional bool) error {
	if b.plain {
		return nil
	}
	text, err := os.ReadFile(file)
	if optional && os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		return err
	}
	vars, err := ParseDotenv(text)
	if err != nil {
		return fmt.Errorf("%s:%w", file, err)
	}
	for _, v := range vars {
		e.set(Var{Key: v.Key, Value: v.Value, Origin: origin})
	}
	return nil
}

// toolPath puts the folders of a task's tools first on its PATH.
func (b *Binding) toolPath(e *environ, n *graph.Node) error {
	if n.Kind != graph.KindTask || b.plain {
		return nil
	}
	var dirs []string
	files, err := b.Tools(n.Name())
	if err != nil {
		return err
	}
	for _, file := range files {
		if d := filepath.Dir(file); !slices.Contains(dirs, d) {
			dirs = append(dirs, d)
		}
	}
	if len(dirs) == 0 {
		return nil
	}
	if old := e.get("PATH"); old != "" {
		dirs = append(dirs, old)
	}
	e.set(Var{Key: "PATH", Value: strings.Join(dirs, ":"), Origin: "tools"})
	return nil
}

// Environ is a list of variables as K=V.
func Environ(vars []Var) []string {
	kvs := make([]string, len(vars))
	for i, v := range vars {
		kvs[i] = v.Key + "=" + v.Value
	}
	return kvs
}
