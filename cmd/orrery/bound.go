package main

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"strconv"
	"strings"

	"orrery/lang"
	"orrery/lang/graph"
	"orrery/runtime/bind"
	"orrery/runtime/control"
	"orrery/runtime/control/api"
	"orrery/runtime/logs"
)

// outlook is what references mean as seen from outside of the engine: the
// running engine's values, else those of the last run, else what is declared.
type outlook struct {
	binding *bind.Binding
	env     map[string]map[string]string // of the nodes asked for, as the engine tells
	source  map[string]string            // who told a port, by its marker
}

// The sources of a port's number.
const (
	fromEngine   = "engine"
	fromLease    = "lease"
	fromDeclared = "declared"
)

// lookOut makes an outlook; names are the nodes whose whole environment is
// wanted. It takes no port and writes nothing.
func (a *app) lookOut(ctx context.Context, p *lang.Project, names []string) (*outlook, error) {
	place, err := placeOf(p)
	if err != nil {
		return nil, err
	}
	dirs := viewDirs(place)
	o := bind.Options{Environ: os.Environ()}
	values, source := lastPorts(p.Graph, dirs)
	c, err := control.Dial(ctx, place)
	var none *control.ErrNoEngine
	if errors.As(err, &none) && none.Cause == nil {
		return &outlook{binding: bind.FromSnapshot(p.Graph, dirs, values, o), source: source}, nil
	}
	if err != nil {
		return nil, err
	}
	defer c.Close()
	var b api.Bindings
	if err := c.Call(ctx, api.MethodBindings, api.Names{Names: names}, &b); err != nil {
		return nil, err
	}
	for k, v := range b.Values {
		k = marker(k)
		values[k], source[k] = v, fromEngine
	}
	if len(names) == 1 { // a secret may come from a variable that the engine has and this shell lacks
		for k, v := range b.Env[names[0]] {
			o.Environ = append(o.Environ, k+"="+v)
		}
	}
	return &outlook{binding: bind.FromSnapshot(p.Graph, dirs, values, o), env: b.Env, source: source}, nil
}

// marker puts a reference into its brackets where it has none.
func marker(ref string) string {
	open, end := "⟦", "⟧"
	if strings.HasPrefix(ref, open) {
		return ref
	}
	return open + ref + end
}

// viewDirs are the directories of a place for a verb that only looks: nothing
// is made, the logs not opened before somebody asks.
func viewDirs(place control.Place) bind.Dirs {
	d := dirsOf(place, nil)
	d.LogFile = func(node string) string {
		store, err := logs.Open(place.Logs)
		if err != nil {
			return ""
		}
		return store.Path(node, logs.Stdout)
	}
	return d
}

// lastPorts gives each declared port the number it had in the last run, else
// the one that is declared; source tells which.
func lastPorts(g *graph.Graph, d bind.Dirs) (values, source map[string]string) {
	values, source = map[string]string{}, map[string]string{}
	type lease struct {
		Node   string `json:"node"`
		Port   string `json:"port"`
		Base   int    `json:"base"`
		Number int    `json:"number"`
	}
	had := map[[2]string]lease{}
	var leases []lease
	if b, err := os.ReadFile(d.Leases); err == nil && json.Unmarshal(b, &leases) == nil {
		for _, l := range leases {
			had[[2]string{l.Node, l.Port}] = l
		}
	}
	for _, n := range g.Nodes {
		if n.Kind != graph.KindService {
			continue
		}
		for _, name := range n.Service.PortNames() {
			m := graph.Ref{Name: n.Name(), Attr: "ports." + name}.String()
			number := basePort(n.Service, name)
			source[m] = fromDeclared
			if l, ok := had[[2]string{n.Name(), name}]; ok && l.Base == number {
				number, source[m] = l.Number, fromLease
			}
			values[m] = strconv.Itoa(number)
		}
	}
	return values, source
}

// basePort is the number that the declaration wishes for.
func basePort(s *graph.Service, name string) int {
	if p, ok := s.Ports.Get(name); ok {
		return p.Base
	}
	l, _ := s.Listen.Get(name)
	return l.Base
}
