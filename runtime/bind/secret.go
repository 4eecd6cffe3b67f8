package bind

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"orrery/lang/graph"
)

// maxSecret bounds a secret; systemd has the same limit for credentials.
const maxSecret = 1 << 20

// secretTime is how long the program of a secret may take: it may ask a vault, or a person.
const secretTime = time.Minute

func (f *filler) secretValue(r graph.Ref) (string, error) {
	s := f.b.g.Secret(r.Name)
	if s == nil {
		return "", fmt.Errorf("cannot tell %s: there is no such secret", r)
	}
	if r.Attr == "path" {
		if f.node == "" {
			return "", fmt.Errorf("cannot tell %s: its file exists for each node that uses it, and none asks", r)
		}
		if f.b.instead != nil && f.b.instead.key {
			return r.String(), nil // its place is no part of a key
		}
		return filepath.Join(f.b.secretsDir(f.node), s.Name), nil
	}
	f.secret = true
	return f.b.secret(s)
}

// secret reads a secret: a program is asked once, a file is read (and decrypted) each time. One newline at its end is not part of it.
func (b *Binding) secret(s *graph.Secret) (string, error) {
	if b.plain {
		return "<secret " + s.Name + ">", nil
	}
	b.mu.RLock()
	v, ok := b.secrets[s.Name]
	b.mu.RUnlock()
	if ok && s.File == "" && s.Age == "" {
		return v, nil
	}
	v, err := b.readSecret(s)
	if err != nil {
		return "", fmt.Errorf("cannot read the secret %q: %w", s.Name, err)
	}
	b.mu.Lock()
	b.secrets[s.Name] = v
	b.mu.Unlock()
	return v, nil
}

func (b *Binding) readSecret(s *graph.Secret) (string, error) {
	var v []byte
	var err error
	switch {
	case s.Env != "":
		e, ok := b.opts.getenv(s.Env)
		if !ok {
			return "", fmt.Errorf("the environment variable %s is not set", s.Env)
		}
		return e, nil
	case s.File != "":
		v, err = readLimited(b.abs(s.File), maxSecret)
	case s.Age != "":
		v, err = b.decryptAge(s)
	case len(s.Command) > 0 && b.opts.Still:
		return "", errors.New("only its command tells it, which is not run here")
	default:
		v, err = b.secretFrom(s.Command)
	}
	if err != nil {
		return "", err
	}
	if len(v) > maxSecret {
		return "", fmt.Errorf("got more than %d bytes", maxSecret)
	}
	if s.Key != "" {
		return pickKey(v, s.Key)
	}
	return string(bytes.TrimSuffix(bytes.TrimSuffix(v, []byte("\n")), []byte("\r"))), nil
}

// pickKey is the value of one key of KEY=value lines. Errors show keys, never
// what else stands there.
func pickKey(text []byte, key string) (string, error) {
	vars, err := ParseDotenv(text)
	if err != nil {
		line, _, _ := strings.Cut(err.Error(), ":")
		return "", fmt.Errorf("line %s is not KEY=value, as key = %q wants it", line, key)
	}
	var keys []string
	for i := len(vars) - 1; i >= 0; i-- {
		if vars[i].Key == key {
			return vars[i].Value, nil
		}
		keys = append(keys, vars[i].Key)
	}
	slices.Sort(keys)
	return "", fmt.Errorf("it has no key %q; it has %s", key, strings.Join(keys, ", "))
}

func (b *Binding) secretFrom(argv []string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), secretTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Dir, cmd.Env = b.dirs.Root, b.opts.Environ
	cmd.WaitDelay = time.Second
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		msg, _, _ := strings.Cut(strings.TrimSpace(errs.String()), "\n")
		return nil, fmt.Errorf("%s: %w: %s", argv[0], err, msg)
	}
	return out, nil
}

// Secrets are the values of the secrets that were read so far, longest first, for scrubbing what is shown.
func (b *Binding) Secrets() []string {
	b.mu.RLock()
	defer b.mu.RUnlock()
	var vs []string
	for _, v := range b.secrets {
		if v != "" {
			vs = append(vs, v)
		}
	}
	slices.SortFunc(vs, func(a, c string) int {
		if d := len(c) - len(a); d != 0 {
			return d
		}
		return strings.Compare(a, c)
	})
	return slices.Compact(vs)
}

// secretsDir is the private directory of a node's secret files: CREDENTIALS_DIRECTORY.
func (b *Binding) secretsDir(node string) string {
	return filepath.Join(b.dirs.Run, ".secrets", flat(node))
}

// flat is a node's name as one component of a path; no name holds a dot.
func flat(node string) string { return strings.ReplaceAll(node, "/", ".") }

// secretFiles lists the secrets that a node refers to by path, also through exports.
func (b *Binding) secretFiles(n *graph.Node) []string {
	var names []string
	var text func(t graph.Text, depth int)
	text = func(t graph.Text, depth int) {
		for _, p := range t {
			if p.Ref == nil {
				continue
			}
			if p.Ref.Scope == graph.ScopeSecret && p.Ref.Attr == "path" && !slices.Contains(names, p.Ref.Name) {
				names = append(names, p.Ref.Name)
			}
			to := b.g.Node(p.Ref.Name)
			if top, name := cutAttr(p.Ref.Attr); p.Ref.Scope == graph.ScopeNode && top == "exports" && to != nil && depth < maxDepth {
				x, _ := to.Service.Exports.Get(name)
				text(x, depth+1)
			}
		}
	}
	n.Texts(func(_ string, _ graph.Use, t *graph.Text) { text(*t, 0) })
	for _, u := range n.Common().Uses {
		if to := b.g.Node(u); to != nil && to.Kind == graph.KindService {
			for _, e := range to.Service.EnvExports {
				text(e.Value, 0)
			}
		}
	}
	return names
}

// WriteSecrets writes the files of the secrets that a node refers to by path: 0400, in a private directory, owned by
// its user. It does nothing for a node without any.
func (b *Binding) WriteSecrets(node string) error {
	n := b.g.Node(node)
	if n == nil {
		return nil
	}
	names := b.secretFiles(n)
	if len(names) == 0 {
		return nil
	}
	o, err := ownerOf(b.g, n)
	if err != nil {
		return err
	}
	dir := b.secretsDir(node)
	if err := privateDir(b.dirs.Run, dir, o); err != nil {
		return fmt.Errorf("cannot write the secrets of %s: %w", node, err)
	}
	for _, name := range names {
		v, err := b.secret(b.g.Secret(name))
		if err == nil {
			_, err = writeFile(filepath.Join(dir, name), []byte(v), fileMode{0o400, o})
		}
		if err != nil {
			return fmt.Errorf("cannot write the secrets of %s: %w", node, err)
		}
	}
	return nil
}

// RemoveSecrets removes the secret files of a node that has ended.
func (b *Binding) RemoveSecrets(node string) error { return os.RemoveAll(b.secretsDir(node)) }
