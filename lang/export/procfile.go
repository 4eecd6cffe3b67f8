package export

import (
	"fmt"
	"io"
	"regexp"
	"strings"

	"orrery/lang/graph"
)

// procfile writes the services as lines of a Procfile. It knows no order, no
// readiness, no tasks; a task called release is what Heroku runs first.
func procfile(w io.Writer, b *Bound) ([]string, error) {
	var out strings.Builder
	for _, p := range b.programs {
		name := p.node.Name()
		if !p.enabled {
			continue
		}
		if p.node.Kind == graph.KindTask {
			if name != "release" {
				b.warn("the task %s is left out: a Procfile has no tasks; run it before: orrery run %s", name, name)
				continue
			}
		} else {
			b.procfileLost(p)
		}
		fmt.Fprintf(&out, "%s: %s\n", p.name, hidden(p.commandLine()))
	}
	_, err := io.WriteString(w, out.String())
	return b.warnings, err
}

// variable is one that stands between single quotes, as all do that
// commandLine writes.
var variable = regexp.MustCompile(`\$([A-Za-z_])`)

// hidden keeps foreman from putting the values of its own variables, such as
// PORT, into a command before any shell reads it.
func hidden(line string) string { return variable.ReplaceAllString(line, "$$''$1") }

func (b *Bound) procfileLost(p *program) {
	for _, e := range b.wants(p.node.Name()) {
		if b.graph.Node(e.To).Kind == graph.KindService {
			b.warn("%s does not wait for %s: a Procfile has no order", p.node.Name(), e.To)
		}
	}
	if p.node.Service.Restart.Kind != "never" {
		b.warn("nothing is restarted: the managers of Procfiles end everything when one process ends")
	}
	if p.stop != nil {
		b.warn("%s is stopped by a signal, not by its command", p.node.Name())
	}
}

// mprocs writes an mprocs.yaml: the services and what is not to start by itself.
func mprocs(w io.Writer, b *Bound) ([]string, error) {
	y := &yamlWriter{}
	y.open("procs")
	for _, p := range b.programs {
		name := p.node.Name()
		if p.node.Kind == graph.KindTask {
			if p.enabled {
				b.warn("the task %s is left out: mprocs has no order; run it before: orrery run %s", name, name)
			}
			continue
		}
		y.open(name)
		y.list("cmd", p.argv)
		if p.dir != "" {
			y.value("cwd", p.dir)
		}
		if len(p.env) > 0 {
			y.open("env")
			for _, kv := range p.env {
				k, v, _ := strings.Cut(kv, "=")
				y.value(k, v)
			}
			y.close()
		}
		if !p.enabled {
			y.plain("autostart", "false")
		}
		if p.node.Service.Restart.Kind != "never" {
			y.plain("autorestart", "true")
		}
		if sig := mprocsStop(p.node.Service.Stop.Signal); sig != "" {
			y.value("stop", sig)
		}
		y.close()
		for _, e := range b.wants(name) {
			if b.graph.Node(e.To).Kind == graph.KindService {
				b.warn("%s does not wait for %s: mprocs has no order", name, e.To)
			}
		}
	}
	_, err := io.WriteString(w, y.String())
	return b.warnings, err
}

// mprocsStop is the word for a signal; SIGTERM is its default.
func mprocsStop(signal string) string {
	switch signal {
	case "INT", "KILL":
		return "SIG" + signal
	}
	return ""
}
