package convert

import (
	"fmt"
	"slices"
	"strings"
)

// composeFile is a compose.yaml on its way.
type composeFile struct {
	*Draft
	root     *tree
	services []*composeService
	network  string // the variable of the network; "": none was needed
}

// composeService is one service.
type composeService struct {
	*tree
	foreign  string
	name     string
	variable string
	replicas int
	factory  *factory // what runs it without a container; nil: a container
	task     bool     // others wait for its end
}

func (d *Draft) compose(data []byte) error {
	root, err := parseYAML(data)
	if err != nil {
		return err
	}
	c := &composeFile{Draft: d, root: root}
	d.doc = "From " + d.file + "."
	if n := root.get("name").str(); n != "" {
		d.call(n)
	}
	if err := c.top(); err != nil {
		return err
	}
	if err := c.collect(); err != nil {
		return err
	}
	order, err := c.order()
	if err != nil {
		return err
	}
	c.variable("docker")
	for _, s := range c.services {
		s.variable = c.variable(s.name)
	}
	for _, s := range order {
		if s.factory != nil {
			c.native(s)
		} else {
			c.container(s)
		}
	}
	return nil
}

// top warns about what stands at the top of the file and is not carried over.
func (c *composeFile) top() error {
	for _, e := range c.root.keys {
		switch {
		case e.key == "version", e.key == "name", e.key == "services", strings.HasPrefix(e.key, "x-"):
		case e.key == "volumes":
			for _, v := range e.value.keys {
				if len(v.value.keys) > 0 {
					c.warn(v.line, "the options of the volume %s are left out: it is a plain named volume", v.key)
				}
			}
		case e.key == "networks":
			c.warn(e.line, "networks are left out: all containers share one network, on which they have their names")
		case e.key == "include":
			c.warn(e.line, "include is left out: import those files too, and load or join them")
		default:
			c.warn(e.line, "%s is left out: it has no counterpart", e.key)
		}
	}
	if s := c.root.get("services"); s == nil || s.kind != kindMap {
		return fmt.Errorf("it has no services")
	}
	return nil
}

func (c *composeFile) collect() error {
	all := c.root.get("services")
	taken := map[string]string{}
	for _, e := range all.keys {
		if e.value.kind != kindMap {
			return fmt.Errorf("line %d: the service %s is no map", e.line, e.key)
		}
		t, err := c.extended(all, e.value, 0)
		if err != nil {
			return fmt.Errorf("line %d: the service %s: %w", e.line, e.key, err)
		}
		t.line = e.line
		s := &composeService{tree: t, foreign: e.key, name: nodeName(e.key), replicas: 1}
		if s.name != e.key {
			c.warn(e.line, "%s is called %s here", e.key, s.name)
		}
		if other, ok := taken[s.name]; ok {
			return fmt.Errorf("line %d: %s and %s would both be called %s", e.line, other, e.key, s.name)
		}
		taken[s.name] = e.key
		for _, n := range []*tree{t.get("scale"), t.at("deploy", "replicas")} {
			if k, ok := wholeNumber(n.str()); ok && k != 1 {
				s.replicas = k
			}
		}
		c.services = append(c.services, s)
	}
	for _, s := range c.services {
		for _, e := range s.get("depends_on").entries() {
			if on := c.service(e.key); on != nil && e.value.get("condition").str() == "service_completed_successfully" {
				on.task = true
			}
		}
	}
	for _, s := range c.services {
		s.factory = c.factoryOf(s)
	}
	return nil
}

// extended is a service over the one of the same file that it extends.
func (c *composeFile) extended(all, t *tree, depth int) (*tree, error) {
	ext := t.get("extends")
	if ext == nil {
		return t, nil
	}
	base := ext.str()
	if ext.kind == kindMap {
		if f := ext.get("file").str(); f != "" {
			c.warn(ext.line, "extends: the file %s is not read; what it says is missing here", f)
			return t, nil
		}
		base = ext.get("service").str()
	}
	b := all.get(base)
	if b == nil || depth > 20 {
		return nil, fmt.Errorf("cannot extend %q: there is no such service, or it extends itself", base)
	}
	b, err := c.extended(all, b, depth+1)
	if err != nil {
		return nil, err
	}
	return merged(b, t), nil
}

func (c *composeFile) service(foreign string) *composeService {
	for _, s := range c.services {
		if s.foreign == foreign {
			return s
		}
	}
	return nil
}

func (c *composeFile) order() ([]*composeService, error) {
	var out []*composeService
	state := map[string]int{}
	var visit func(s *composeService, way []string) error
	visit = func(s *composeService, way []string) error {
		if state[s.foreign] == 1 {
			return fmt.Errorf("line %d: a loop of depends_on: %s", s.line, strings.Join(append(way, s.foreign), " -> "))
		}
		if state[s.foreign] == 2 {
			return nil
		}
		state[s.foreign] = 1
		for _, e := range s.get("depends_on").entries() {
			if on := c.service(e.key); on != nil {
				if err := visit(on, append(way, s.foreign)); err != nil {
					return err
				}
			}
		}
		state[s.foreign] = 2
		out = append(out, s)
		return nil
	}
	for _, s := range c.services {
		if err := visit(s, nil); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// text is a string of the file with its variables as parameters.
func (c *composeFile) text(t *tree) text { return c.interpolated(t.str(), t.line, true) }

// fixed is a string of the file in whose place no parameter can stand.
func (c *composeFile) fixed(t *tree) string {
	s := c.plainly(t)
	if s != t.str() {
		c.warn(t.line, "%s was read from the environment; it is %q now", t.str(), s)
	}
	return s
}

// plainly is a string of the file with the defaults of its variables; used
// where a decision depends on it.
func (c *composeFile) plainly(t *tree) string {
	s := t.str()
	for {
		i := strings.Index(s, "${")
		if i < 0 {
			return s
		}
		_, body, rest, ok := variableAt(s[i:], true)
		if !ok {
			return s
		}
		s = s[:i] + strings.TrimLeft(body, ":-") + rest
	}
}

// published is one entry of ports.
type published struct {
	host      string // address; "": all
	base      int    // on the host; 0: any
	container int
	proto     string
	line      int
}

// ports reads the short and the long form; ranges are unrolled.
func (c *composeFile) ports(s *composeService) []published {
	var all []published
	for _, t := range s.get("ports").list() {
		p := published{proto: "tcp", line: t.line}
		var from, to string
		if t.kind == kindMap {
			from, to, p.host = c.fixed(orNull(t.get("published"))), c.fixed(orNull(t.get("target"))), t.get("host_ip").str()
			if proto := t.get("protocol").str(); proto != "" {
				p.proto = proto
			}
		} else {
			spec := c.fixed(t)
			spec, proto, ok := strings.Cut(spec, "/")
			if ok {
				p.proto = proto
			}
			i := strings.LastIndexByte(spec, ':')
			to = spec[i+1:]
			if i >= 0 {
				from = spec[:i]
			}
			if j := strings.LastIndexByte(from, ':'); j >= 0 {
				p.host, from = strings.Trim(from[:j], "[]"), from[j+1:]
			}
		}
		unrolled, ok := unroll(p, from, to)
		if !ok {
			c.warn(t.line, "the port %q of %s is not understood; left out", t.str(), s.foreign)
		}
		all = append(all, unrolled...)
	}
	return all
}

func orNull(t *tree) *tree {
	if t == nil {
		return &tree{kind: kindNull}
	}
	return t
}

// unroll makes a port of each number of a range.
func unroll(p published, from, to string) ([]published, bool) {
	first, last, ok := numbers(to)
	base, baseLast := 0, last-first
	if from != "" {
		var okFrom bool
		base, baseLast, okFrom = numbers(from)
		ok, baseLast = ok && okFrom, baseLast-base
	}
	if !ok || baseLast != last-first || last-first > 50 {
		return nil, false
	}
	var all []published
	for i := 0; i <= last-first; i++ {
		q := p
		q.container = first + i
		if base > 0 {
			q.base = base + i
		}
		all = append(all, q)
	}
	return all, true
}

func numbers(s string) (first, last int, ok bool) {
	a, b, isRange := strings.Cut(s, "-")
	first, ok = wholeNumber(a)
	last = first
	if isRange && ok {
		last, ok = wholeNumber(b)
	}
	return first, last, ok && first > 0 && last >= first && last < 65536
}

// after are the conditions of a service.
func (c *composeFile) after(s *composeService) []expr {
	var all []expr
	for _, e := range s.get("depends_on").entries() {
		on := c.service(e.key)
		if on == nil {
			c.warn(e.line, "%s depends on %s, which is no service; left out", s.foreign, e.key)
			continue
		}
		if on.replicas != 1 {
			all = append(all, raw("*%s", on.variable))
			continue
		}
		suffix := ""
		switch e.value.get("condition").str() {
		case "", "service_started":
			if !on.task && on.factory == nil {
				suffix = ".started"
			}
		}
		for _, x := range e.value.entries() {
			if x.key == "restart" && x.value.truth() {
				c.warn(x.line, "depends_on.%s.restart of %s is left out: say cascade = True", e.key, s.foreign)
			}
			if x.key == "required" && !x.value.truth() {
				c.warn(x.line, "depends_on.%s.required of %s is left out: what it waits for is needed", e.key, s.foreign)
			}
		}
		all = append(all, raw("%s%s", on.variable, suffix))
	}
	for _, l := range s.get("links").texts() {
		name, _, _ := strings.Cut(l, ":")
		if on := c.service(name); on != nil && s.get("depends_on").get(name) == nil && !slices.Contains(s.get("depends_on").texts(), name) {
			all = append(all, raw("%s.started", on.variable))
		}
	}
	return all
}

// environment is that of a service; a key without value is passed on from the
// caller, as docker run does with a bare name.
func (c *composeFile) environment(s *composeService) (entries []arg, passed []string) {
	for _, kv := range s.get("environment").pairs() {
		if !kv.given {
			passed = append(passed, kv.key)
			continue
		}
		entries = append(entries, pair(kv.key, c.interpolated(kv.value, kv.line, true).expr()))
	}
	return entries, passed
}
