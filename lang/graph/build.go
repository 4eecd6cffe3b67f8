package graph

import (
	"fmt"
	"slices"
	"strings"
)

// builder makes a Graph: the phases of New, in order.
type builder struct {
	g        *Graph
	problems []*Problem
	tainted  map[string]bool // "node.export" that holds a secret; filled while asked
	hints    int             // nearest names looked for
}

func (b *builder) problem(i int, code, field, format string, args ...any) *Problem {
	p := &Problem{Code: code, Field: field, Message: fmt.Sprintf(format, args...), order: i}
	if i >= 0 && i < len(b.g.Nodes) {
		n := b.g.Nodes[i]
		p.Pos, p.Stack, p.Node = n.Pos, n.Stack, n.Name()
	}
	b.problems = append(b.problems, p)
	return p
}

// names fills the index and refuses names that are taken, or that an exporter
// would join.
func (b *builder) names() {
	units := make(map[string]int, len(b.g.Nodes))
	for i, n := range b.g.Nodes {
		name := n.Name()
		if !ValidName(name) || name == Self {
			p := b.problem(i, "bad-name", "name", "got the name %q, want [a-z0-9][a-z0-9_-]*, nested with /", name)
			if name == Self {
				p.Message = `cannot call a node "self": that is the name of the declaration at hand`
			}
			p.Hint = "give it another name"
		}
		if first, dup := b.g.index[name]; dup {
			p := b.problem(i, "duplicate-name", "name", "%s %q is declared twice", n.Kind, name)
			p.Related = b.declared("first declared here", first)
			p.Hint = "give one of them another name"
			continue
		}
		b.g.index[name] = i
		unit := strings.ReplaceAll(name, "/", "-")
		if first, dup := units[unit]; dup {
			p := b.problem(i, "joined-name", "name", "%q and %q would both be the unit %q when exported", b.g.Nodes[first].Name(), name, unit)
			p.Related = b.declared("the other one is declared here", first)
			p.Hint = "rename one of them"
			continue
		}
		units[unit] = i
	}
}

// declared returns the place of a node and the factory frames below it.
func (b *builder) declared(msg string, i int) []Related {
	n := b.g.Nodes[i]
	rel := []Related{{n.Pos, msg}}
	for _, f := range n.Stack {
		rel = append(rel, Related{f.Pos, "in " + f.Func})
	}
	return rel
}

// references makes every reference long and checks its kind.
func (b *builder) references() {
	for i, n := range b.g.Nodes {
		if b.g.index[n.Name()] != i {
			continue // a duplicate
		}
		n.Texts(func(field string, use Use, t *Text) { b.text(i, field, use, t) })
	}
}

func (b *builder) text(i int, field string, use Use, t *Text) {
	var fresh Text // the slice may be shared with another declaration
	for k, p := range *t {
		if p.Ref == nil {
			continue
		}
		r, typ, ok := b.long(i, field, *p.Ref)
		if !ok {
			continue
		}
		if msg, hint := b.misuse(i, field, use, r, typ); msg != "" {
			b.problem(i, "reference-kind", field, "%s", msg).Hint = hint
		}
		if r != *p.Ref {
			if fresh == nil {
				fresh = slices.Clone(*t)
			}
			fresh[k].Ref = &r
		}
	}
	if fresh != nil {
		*t = fresh
	}
}

// long returns the reference in its long form and the type of what it names.
func (b *builder) long(i int, field string, r Ref) (long Ref, typ string, ok bool) {
	bad := func(code, hint, format string, args ...any) (Ref, string, bool) {
		b.problem(i, code, field, format, args...).Hint = hint
		return r, "", false
	}
	switch r.Scope {
	case ScopeConfig:
		owner, ok := b.g.configs[r.Name]
		if !ok {
			return bad("unowned-config", "put the file in the config list of the service that reads it", "config_file %q is referred to, but no service has it in its config", strings.SplitN(r.Name, "#", 2)[0])
		}
		owner.Weak = r.Weak
		return owner, "path", true
	case ScopeProject:
		if r.Attr != "root" && r.Attr != "git_root" {
			return bad("unknown-attribute", didYouMean(r.Attr, []string{"root", "git_root"}), "project has no attribute %q", r.Attr)
		}
		return r, "path", true
	case ScopeTool:
		t := b.g.Tool(r.Name)
		if t == nil || !slices.Contains(t.Programs, r.Attr) {
			return bad("altered-reference", "", "altered reference %s", r)
		}
		return r, "path", true
	case ScopeSecret:
		if b.g.Secret(r.Name) == nil {
			return bad("altered-reference", "", "altered reference %s", r)
		}
		if r.Attr == "path" {
			return r, "path", true
		}
		return r, "secret", true
	}
	to := b.g.Node(r.Name)
	if r.Name == Self && to == nil {
		return bad("unbound-self", "self belongs inside the arguments of service() or task()", "self is used outside of a declaration")
	}
	if to == nil {
		return bad("unknown-node", b.suggest(r.Name), "%s refers to %q, which is not declared", r, r.Name)
	}
	attr, typ, hint, err := to.attribute(r.Attr)
	if err != "" {
		return bad("unknown-attribute", hint, "%s", err)
	}
	r.Attr = attr
	return r, typ, true
}

// Attribute returns the long form of an attribute ("port" -> "ports.http",
// "url" -> "exports.url"), its type, or an error that says what there is.
func (n *Node) Attribute(attr string) (long, typ string, err error) {
	long, typ, hint, msg := n.attribute(attr)
	if msg == "" {
		return long, typ, nil
	}
	if hint != "" {
		msg += "; " + hint
	}
	return "", "", fmt.Errorf("%s", msg)
}

func (n *Node) attribute(attr string) (long, typ, hint, err string) {
	top, rest, nested := strings.Cut(attr, ".")
	for _, a := range Attributes(n.Kind) {
		if a.Name != top {
			continue
		}
		if a.Many != nested {
			break
		}
		if a.Many {
			names := n.below(top)
			if !slices.Contains(names, rest) {
				return "", "", didYouMean(rest, names), fmt.Sprintf("%s %q has no %s called %q", n.Kind, n.Name(), top, rest)
			}
			return attr, a.Type, "", ""
		}
		if top == "port" || top == "address" || top == "host" {
			return n.onlyPort(top, a.Type)
		}
		return attr, a.Type, "", ""
	}
	if n.Kind == KindService && !nested {
		if _, ok := n.Service.Exports.Get(attr); ok {
			return "exports." + attr, "export", "", ""
		}
	}
	return "", "", didYouMean(attr, n.Dir()), fmt.Sprintf("%s %q has no attribute %q", n.Kind, n.Name(), attr)
}

func (n *Node) onlyPort(attr, typ string) (long, t, hint, err string) {
	names := n.Service.PortNames()
	if len(names) != 1 && attr != "host" || len(names) == 0 {
		hint := "declare one in ports or listen"
		if len(names) > 1 {
			hint = "name one: .ports." + strings.Join(names, ", .ports.")
		}
		return "", "", hint, fmt.Sprintf("%s %q has %d ports, so .%s says nothing", n.Kind, n.Name(), len(names), attr)
	}
	if attr == "port" {
		return "ports." + names[0], typ, "", ""
	}
	return attr, typ, "", ""
}

// below lists the names under an attribute such as ports.
func (n *Node) below(attr string) []string {
	switch attr {
	case "ports":
		return n.Service.PortNames()
	case "sockets":
		return n.Service.SocketNames()
	case "exports":
		return n.Service.Exports.Keys()
	case "config":
		var names []string
		for _, c := range n.Service.Config {
			names = append(names, c.Name)
		}
		return names
	case "outputs":
		return n.Task.Outputs.Keys()
	case "values":
		return n.Task.Values
	}
	return nil
}

// Dir lists the attributes that the node offers, as they are written.
func (n *Node) Dir() []string {
	var names []string
	for _, a := range Attributes(n.Kind) {
		names = append(names, a.Name)
	}
	if n.Kind == KindService {
		names = append(names, n.Service.Exports.Keys()...)
	}
	return names
}

func didYouMean(name string, candidates []string) string {
	if s := Suggest(name, candidates); s != "" {
		return fmt.Sprintf("did you mean %q?", s)
	}
	if len(candidates) == 0 {
		return ""
	}
	return "there is " + strings.Join(candidates, ", ")
}

// misuse says why a reference of this type must not stand in this field.
func (b *builder) misuse(i int, field string, use Use, r Ref, typ string) (msg, hint string) {
	top, _, _ := strings.Cut(field, ".")
	if typ == "secret" || typ == "export" && b.holdsSecret(r) {
		switch top {
		case "env", "exports", "env_exports":
			return "", ""
		case "config":
			if b.secretConfigs(i) {
				return "", ""
			}
			return fmt.Sprintf("%s holds a secret, and the config file is not secret", r), "add secret = True to the config_file"
		}
		return fmt.Sprintf("%s holds a secret, which must not stand in %s", r, top), "pass it in env, or as a file: .path"
	}
	if typ == "cond" {
		return fmt.Sprintf("got the condition %s, want a value", r), "conditions stand in after"
	}
	if use.Type == "port" && typ != "port" {
		return fmt.Sprintf("got a %s (%s), want a port", typ, r), ""
	}
	if use.Type == "path" && (typ == "port" || typ == "address" || typ == "host" || typ == "value") {
		return fmt.Sprintf("got a %s (%s), want a path", typ, r), ""
	}
	if top == "watch" && (typ == "value" || typ == "output") {
		return fmt.Sprintf("got the %s %s, want files of the project", typ, r), "a service restarts by itself when an output that it refers to changes"
	}
	return "", ""
}

// secretConfigs reports whether every config file of the node that holds a
// secret says so.
func (b *builder) secretConfigs(i int) bool {
	for k := range b.g.Nodes[i].Service.Config {
		c := &b.g.Nodes[i].Service.Config[k]
		if c.Secret {
			continue
		}
		leaks := false
		c.Texts(func(_ string, _ Use, t *Text) {
			for _, p := range *t {
				leaks = leaks || p.Ref != nil && (p.Ref.Scope == ScopeSecret && p.Ref.Attr != "path" || b.holdsSecret(*p.Ref))
			}
		})
		if leaks {
			return false
		}
	}
	return true
}

// holdsSecret reports whether an export holds a secret, also through others.
func (b *builder) holdsSecret(r Ref) bool {
	if r.Scope != ScopeNode {
		return false
	}
	n := b.g.Node(r.Name)
	if n == nil || n.Kind != KindService {
		return false
	}
	key, ok := strings.CutPrefix(r.Attr, "exports.")
	if !ok {
		key = r.Attr
	}
	text, ok := n.Service.Exports.Get(key)
	if !ok {
		return false
	}
	id := r.Name + "." + key
	if v, seen := b.tainted[id]; seen {
		return v
	}
	if b.tainted == nil {
		b.tainted = map[string]bool{}
	}
	b.tainted[id] = false // a loop of exports holds nothing new
	for _, p := range text {
		if p.Ref != nil && (p.Ref.Scope == ScopeSecret && p.Ref.Attr != "path" || b.holdsSecret(*p.Ref)) {
			b.tainted[id] = true
		}
	}
	return b.tainted[id]
}
