package export

import (
	"io"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"orrery/lang/graph"
)

// compose writes a compose.yaml. Containers come back as what they were; a
// server of the standard library becomes its image; any other program is a
// service that is built from the folder, which is the reader's to complete.
func compose(w io.Writer, b *Bound) ([]string, error) {
	y := &yamlWriter{}
	if n := b.graph.Project.Name; n != "" {
		y.value("name", n)
	}
	y.open("services")
	volumes := []string{}
	for _, p := range b.programs {
		n := p.node
		if n.Kind == graph.KindService && b.file(n) == "container.star" && strings.HasPrefix(n.Service.Description, "network") {
			continue // compose has its own
		}
		if n.Kind == graph.KindTask && b.builds(n) {
			continue // of a build: the service says it
		}
		y.open(p.name)
		volumes = append(volumes, b.composeService(y, p)...)
		y.close()
	}
	y.close()
	if len(volumes) > 0 {
		y.open("volumes")
		slices.Sort(volumes)
		for _, v := range slices.Compact(volumes) {
			y.line(yamlKey(v) + ": {name: " + jsonText(v) + "}")
		}
		y.close()
	}
	_, err := io.WriteString(w, y.String())
	return b.warnings, err
}

// file is the file of the standard library that declared a node, or "".
func (b *Bound) file(n *graph.Node) string {
	name, ok := strings.CutPrefix(n.Pos.File, "@std//")
	if !ok && len(n.Stack) > 0 {
		for _, f := range n.Stack {
			if std, is := strings.CutPrefix(f.Pos.File, "@std//"); is {
				name, ok = std, true
			}
		}
	}
	if !ok {
		return ""
	}
	return name
}

// builds reports whether a task is a docker build.
func (b *Bound) builds(n *graph.Node) bool {
	argv, _ := plainArgv(n.Task)
	return len(argv) > 2 && (argv[0] == "docker" || argv[0] == "podman") && argv[1] == "build"
}

func plainArgv(t *graph.Task) (argv []string, ok bool) {
	if t.Command == nil {
		return nil, false
	}
	for _, x := range t.Command.Argv {
		s, plain := x.Plain()
		if !plain {
			return nil, false
		}
		argv = append(argv, s)
	}
	return argv, len(argv) > 0
}

// image is what runs a server of the standard library.
type image struct {
	name string
	port int
	data string
	env  []string
}

func images() map[string]image {
	return map[string]image{
		"postgres.star":   {"postgres:17", 5432, "/var/lib/postgresql/data", []string{"POSTGRES_HOST_AUTH_METHOD=trust"}},
		"redis.star":      {"redis:7", 6379, "/data", nil},
		"mariadb.star":    {"mariadb:11", 3306, "/var/lib/mysql", []string{"MARIADB_ALLOW_EMPTY_ROOT_PASSWORD=1"}},
		"memcached.star":  {"memcached:1", 11211, "", nil},
		"nats.star":       {"nats:2", 4222, "", nil},
		"rabbitmq.star":   {"rabbitmq:3", 5672, "/var/lib/rabbitmq", nil},
		"mosquitto.star":  {"eclipse-mosquitto:2", 1883, "/mosquitto/data", nil},
		"etcd.star":       {"quay.io/coreos/etcd:v3.5.17", 2379, "", nil},
		"prometheus.star": {"prom/prometheus:v3.1.0", 9090, "/prometheus", nil},
	}
}

func (b *Bound) composeService(y *yamlWriter, p *program) (volumes []string) {
	n := p.node
	argv := p.argv
	if len(argv) > 5 && argv[0] == "sh" && b.file(n) == "container.star" {
		argv = argv[4:]
	}
	img, std := images()[b.file(n)]
	switch {
	case b.file(n) == "container.star" && len(argv) > 2 && argv[1] == "run":
		volumes = b.composeRun(y, p, argv[2:])
	case std && n.Kind == graph.KindService:
		y.value("image", img.name)
		volumes = b.composeImage(y, p, img)
	default:
		y.value("build", ".")
		y.list("command", dollarsAll(p.argv))
		if p.dir != "" {
			y.value("working_dir", dollar(p.dir))
		}
		b.composeEnv(y, p.env)
		b.composePorts(y, p)
		b.warn("%s is a program of this machine: compose builds an image for it from the Dockerfile of this folder, and references in its command and environment are those of this machine", n.Name())
	}
	b.composeOrder(y, p)
	if n.Kind == graph.KindTask {
		return volumes
	}
	s := n.Service
	switch s.Restart.Kind {
	case "always":
		y.value("restart", "unless-stopped")
	case "on_failure":
		y.value("restart", "on-failure")
	}
	if d := time.Duration(s.Stop.Timeout); d != 10*time.Second && b.file(n) != "container.star" {
		y.value("stop_grace_period", d.String())
	}
	if !p.enabled {
		y.list("profiles", []string{"manual"})
	}
	return volumes
}

// dollar keeps compose from reading a variable.
func dollar(s string) string { return strings.ReplaceAll(s, "$", "$$") }

func dollarsAll(all []string) []string {
	out := slices.Clone(all)
	for i := range out {
		out[i] = dollar(out[i])
	}
	return out
}

func (b *Bound) composeEnv(y *yamlWriter, env []string) {
	if len(env) == 0 {
		return
	}
	y.open("environment")
	for _, kv := range env {
		k, v, _ := strings.Cut(kv, "=")
		y.value(k, dollar(v))
	}
	y.close()
}

func (b *Bound) composePorts(y *yamlWriter, p *program) {
	if p.node.Kind != graph.KindService || len(p.node.Service.Ports)+len(p.node.Service.Listen) == 0 {
		return
	}
	var all []string
	for _, name := range p.node.Service.PortNames() {
		base := 0
		if port, ok := p.node.Service.Ports.Get(name); ok {
			base = port.Base
		} else if l, ok := p.node.Service.Listen.Get(name); ok {
			base = l.Base
		}
		n := strconv.Itoa(base)
		all = append(all, "127.0.0.1:"+n+":"+n)
	}
	y.list("ports", all)
}

func (b *Bound) composeImage(y *yamlWriter, p *program, img image) (volumes []string) {
	b.composeEnv(y, img.env)
	if ports := p.node.Service.Ports; len(ports) > 0 {
		y.list("ports", []string{"127.0.0.1:" + strconv.Itoa(ports[0].Value.Base) + ":" + strconv.Itoa(img.port)})
	}
	if img.data != "" {
		v := p.name + "-data"
		y.list("volumes", []string{v + ":" + img.data})
		volumes = append(volumes, v)
	}
	b.warn("%s runs the image %s: settings, users and databases of its factory are not carried over", p.node.Name(), img.name)
	return volumes
}

// composeOrder writes depends_on.
func (b *Bound) composeOrder(y *yamlWriter, p *program) {
	var edges []graph.Edge
	for _, e := range b.wants(p.node.Name()) {
		n := b.graph.Node(e.To)
		network := n.Kind == graph.KindService && b.file(n) == "container.star" && strings.HasPrefix(n.Service.Description, "network")
		if network || n.Kind == graph.KindTask && b.builds(n) || slices.ContainsFunc(edges, func(o graph.Edge) bool { return o.To == e.To }) {
			continue
		}
		edges = append(edges, e)
	}
	if len(edges) == 0 {
		return
	}
	y.open("depends_on")
	for _, e := range edges {
		cond := "service_started"
		n := b.graph.Node(e.To)
		switch {
		case e.Cond == graph.Succeeded:
			cond = "service_completed_successfully"
		case e.Cond == graph.Completed:
			b.warn("%s waits for the end of %s, whatever its exit code: in compose for a good one", p.node.Name(), e.To)
			cond = "service_completed_successfully"
		case e.Cond == graph.Ready && n.Kind == graph.KindService && b.healthchecked(n):
			cond = "service_healthy"
		}
		y.open(strings.ReplaceAll(e.To, "/", "-"))
		y.value("condition", cond)
		y.close()
	}
	y.close()
}

// healthchecked reports whether composeRun writes a healthcheck for a node.
func (b *Bound) healthchecked(n *graph.Node) bool {
	return b.file(n) == "container.star" && n.Service.Ready != nil && len(n.Service.Ready.Command.Argv) > 2 && n.Service.Ready.Command.Argv[1].String() == "exec"
}

// composeRun reads a docker run of container.star back.
func (b *Bound) composeRun(y *yamlWriter, p *program, argv []string) (volumes []string) {
	own := map[string]string{}
	for _, kv := range p.env {
		k, v, _ := strings.Cut(kv, "=")
		own[k] = v
	}
	var ports, mounts, env, entry []string
	options := map[string][]string{}
	i := 0
	next := func() string {
		if i++; i < len(argv) {
			return argv[i]
		}
		return ""
	}
	for ; i < len(argv) && strings.HasPrefix(argv[i], "-"); i++ {
		switch o := argv[i]; o {
		case "--rm":
		case "--name", "--network-alias", "--network":
			next()
		case "-p":
			ports = append(ports, next())
		case "-v":
			mounts = append(mounts, next())
		case "-e":
			env = append(env, next())
		case "--entrypoint":
			entry = []string{next()}
		case "--init", "--privileged", "--read-only", "-t", "--oom-kill-disable":
			options[o] = []string{"true"}
		default:
			options[o] = append(options[o], next())
		}
	}
	if i < len(argv) {
		b.composeBuilt(y, p, argv[i])
		if len(entry) > 0 {
			y.list("entrypoint", dollarsAll(entry))
		}
		if len(argv) > i+1 {
			y.list("command", dollarsAll(argv[i+1:]))
		}
	}
	if len(ports) > 0 {
		y.list("ports", b.declaredPorts(p, ports))
	}
	if len(env) > 0 {
		y.open("environment")
		for _, k := range env {
			if v, ok := own[k]; ok {
				y.value(k, dollar(v))
			} else {
				y.plain(k, "null")
			}
		}
		y.close()
	}
	volumes = b.composeMounts(y, mounts)
	b.composeOptions(y, p, options)
	b.composeHealth(y, p)
	return volumes
}

// declaredPorts are publications with the numbers wished for: what is taken on
// this machine now is not what the file is about.
func (b *Bound) declaredPorts(p *program, ports []string) []string {
	var all []string
	for k, spec := range ports {
		parts := strings.Split(spec, ":")
		if p.node.Service != nil && k < len(p.node.Service.Ports) && len(parts) == 3 {
			parts[1] = strconv.Itoa(p.node.Service.Ports[k].Value.Base)
		}
		all = append(all, strings.Join(parts, ":"))
	}
	return all
}

func (b *Bound) composeMounts(y *yamlWriter, mounts []string) (volumes []string) {
	if len(mounts) == 0 {
		return nil
	}
	for _, m := range mounts {
		if source, _, ok := strings.Cut(m, ":"); ok && !strings.HasPrefix(source, "/") && !strings.HasPrefix(source, ".") {
			volumes = append(volumes, source)
		}
	}
	y.list("volumes", dollarsAll(mounts))
	return volumes
}

// composeBuilt writes image, and build where a task of the graph builds it.
func (b *Bound) composeBuilt(y *yamlWriter, p *program, image string) {
	y.value("image", dollar(image))
	for _, e := range b.graph.Out(p.node.Name()) {
		n := b.graph.Node(e.To)
		if n.Kind != graph.KindTask || !b.builds(n) {
			continue
		}
		argv, _ := plainArgv(n.Task)
		context := argv[len(argv)-1]
		y.open("build")
		y.value("context", context)
		var args []string
		for k := 2; k+1 < len(argv)-1; k += 2 {
			switch argv[k] {
			case "-f":
				file := argv[k+1]
				if rel, ok := strings.CutPrefix(file, path.Clean(context)+"/"); ok {
					file = rel
				}
				y.value("dockerfile", file)
			case "--target":
				y.value("target", argv[k+1])
			case "--build-arg":
				args = append(args, argv[k+1])
			}
		}
		if len(args) > 0 {
			y.list("args", dollarsAll(args))
		}
		y.close()
	}
}

func (b *Bound) composeOptions(y *yamlWriter, p *program, options map[string][]string) {
	keys := map[string]string{"--hostname": "hostname", "--user": "user", "--workdir": "working_dir", "--platform": "platform", "--shm-size": "shm_size",
		"--memory": "mem_limit", "--cpus": "cpus", "--stop-signal": "stop_signal", "--pull": "pull_policy", "--runtime": "runtime", "--ipc": "ipc", "--pid": "pid"}
	lists := map[string]string{"--cap-add": "cap_add", "--cap-drop": "cap_drop", "--device": "devices", "--dns": "dns", "--add-host": "extra_hosts", "--tmpfs": "tmpfs",
		"--security-opt": "security_opt", "--sysctl": "sysctls", "--label": "labels", "--group-add": "group_add", "--env-file": "env_file", "--expose": "expose"}
	bare := map[string]string{"--init": "init", "--privileged": "privileged", "--read-only": "read_only", "-t": "tty"}
	var names []string
	for o := range options {
		names = append(names, o)
	}
	slices.Sort(names)
	for _, o := range names {
		switch {
		case keys[o] != "":
			y.value(keys[o], dollar(options[o][0]))
		case lists[o] != "":
			y.list(lists[o], dollarsAll(options[o]))
		case bare[o] != "":
			y.plain(bare[o], "true")
		default:
			b.warn("the option %s of %s is left out", o, p.node.Name())
		}
	}
	if p.node.Kind == graph.KindService && b.file(p.node) == "container.star" {
		if grace := time.Duration(p.node.Service.Stop.Timeout) - 10*time.Second; grace != 10*time.Second && grace > 0 {
			y.value("stop_grace_period", grace.String())
		}
	}
}

func (b *Bound) composeHealth(y *yamlWriter, p *program) {
	if p.node.Kind != graph.KindService || !b.healthchecked(p.node) || p.ready == nil || len(p.ready.argv) < 4 {
		return
	}
	y.open("healthcheck")
	test := p.ready.argv[3:]
	if len(test) == 3 && test[0] == "sh" && test[1] == "-c" {
		y.list("test", []string{"CMD-SHELL", dollar(test[2])})
	} else {
		y.list("test", dollarsAll(append([]string{"CMD"}, test...)))
	}
	y.value("interval", "1s")
	y.plain("retries", "60")
	y.close()
}
