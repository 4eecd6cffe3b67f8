package bind

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"orrery/lang/graph"
)

// maxSource bounds a file that is copied as a config file.
const maxSource = 64 << 20

func (b *Binding) configDir(node string) string {
	return filepath.Join(b.dirs.Run, ".config", flat(node))
}

func (b *Binding) configPath(node, name string) string { return filepath.Join(b.configDir(node), name) }

// WriteConfigs writes the config files of a service to their stable paths, in a private directory of its user, each by a
// rename; files that are declared no more disappear. It tells which ones have changed, in order of declaration.
func (b *Binding) WriteConfigs(node string) ([]Change, error) {
	n := b.g.Node(node)
	if n == nil || n.Kind != graph.KindService {
		return nil, nil
	}
	dir := b.configDir(node)
	if len(n.Service.Config) == 0 {
		return nil, os.RemoveAll(dir)
	}
	o, err := ownerOf(b.g, n)
	if err != nil {
		return nil, err
	}
	if err := privateDir(b.dirs.Run, dir, o); err != nil {
		return nil, fmt.Errorf("cannot write the config files of %s: %w", node, err)
	}
	var changes []Change
	keep := []string{}
	for i := range n.Service.Config {
		c := &n.Service.Config[i]
		keep = append(keep, c.Name)
		changed, err := b.writeConfig(n, c, o)
		if err != nil {
			return changes, fmt.Errorf("cannot write the config file %s of %s: %w", c.Name, node, err)
		}
		if changed {
			changes = append(changes, Change{Name: c.Name, Apply: c.Apply, Path: b.configPath(node, c.Name)})
		}
	}
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		if err == nil && !slices.Contains(keep, e.Name()) {
			err = os.RemoveAll(filepath.Join(dir, e.Name()))
		}
	}
	return changes, err
}

func (b *Binding) writeConfig(n *graph.Node, c *graph.ConfigFile, o owner) (bool, error) {
	if c.Name == "" || c.Name == "." || c.Name == ".." || strings.ContainsAny(c.Name, "/\x00") {
		return false, fmt.Errorf("got name %q, want a plain file name", c.Name)
	}
	content, err := b.Render(n.Name(), c)
	if err != nil {
		return false, err
	}
	mode := os.FileMode(c.Mode)
	if c.Secret {
		mode &= 0o700
	}
	return writeFile(b.configPath(n.Name(), c.Name), content, fileMode{mode, o})
}

// Render is the content of a config file of a service, bound and encoded.
func (b *Binding) Render(node string, c *graph.ConfigFile) ([]byte, error) {
	switch {
	case c.Text != nil:
		s, err := b.Fill(c.Text, node)
		return []byte(s), err
	case c.Lines != nil:
		var out strings.Builder
		for _, l := range c.Lines {
			s, err := b.Fill(l, node)
			if err != nil {
				return nil, err
			}
			out.WriteString(s + "\n")
		}
		return []byte(out.String()), nil
	case c.Source != nil:
		file, err := b.Path(c.Source, node)
		if err != nil {
			return nil, err
		}
		content, err := readLimited(file, maxSource)
		if err == nil && len(content) > maxSource {
			err = fmt.Errorf("%s has more than %d bytes", file, maxSource)
		}
		return content, err
	}
	for _, k := range []struct {
		tree   graph.Tree
		encode func(any) ([]byte, error)
	}{{c.JSON, encodeJSON}, {c.YAML, encodeYAML}, {c.TOML, encodeTOML}, {c.INI, encodeINI}} {
		if k.tree.Value == nil {
			continue
		}
		v, err := b.tree(k.tree.Value, node)
		if err != nil {
			return nil, err
		}
		return k.encode(v)
	}
	return nil, fmt.Errorf("it has no content: give text, lines, json, yaml, toml, ini or source")
}

// tree binds a tree: texts become strings, one that is exactly a port becomes a number.
func (b *Binding) tree(v any, node string) (any, error) {
	switch v := v.(type) {
	case graph.Text:
		s, err := b.Fill(v, node)
		if err != nil {
			return nil, err
		}
		if r, ok := v.Native(); ok && r.Scope == graph.ScopeNode {
			if top, _ := cutAttr(r.Attr); top == "ports" || top == "port" {
				if n, err := strconv.ParseInt(s, 10, 64); err == nil {
					return n, nil
				}
			}
		}
		return s, nil
	case []any:
		list := make([]any, len(v))
		for i, e := range v {
			bound, err := b.tree(e, node)
			if err != nil {
				return nil, err
			}
			list[i] = bound
		}
		return list, nil
	case graph.Dict[any]:
		dict := make(graph.Dict[any], len(v))
		for i, e := range v {
			bound, err := b.tree(e.Value, node)
			if err != nil {
				return nil, err
			}
			dict[i] = graph.Entry[any]{Key: e.Key, Value: bound}
		}
		return dict, nil
	}
	return v, nil
}
