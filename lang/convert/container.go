package convert

import (
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
)

// dockerOptions are the keys of a service that docker run has an option for.
// bool: a bare option; else once for each value.
func dockerOptions() map[string]string {
	return map[string]string{
		"hostname": "--hostname", "domainname": "--domainname", "user": "--user", "working_dir": "--workdir", "platform": "--platform", "shm_size": "--shm-size",
		"cap_add": "--cap-add", "cap_drop": "--cap-drop", "devices": "--device", "dns": "--dns", "dns_search": "--dns-search", "dns_opt": "--dns-option",
		"extra_hosts": "--add-host", "tmpfs": "--tmpfs", "security_opt": "--security-opt", "sysctls": "--sysctl", "labels": "--label", "group_add": "--group-add",
		"ipc": "--ipc", "pid": "--pid", "uts": "--uts", "mem_limit": "--memory", "memswap_limit": "--memory-swap", "mem_reservation": "--memory-reservation",
		"cpus": "--cpus", "cpuset": "--cpuset-cpus", "cpu_shares": "--cpu-shares", "stop_signal": "--stop-signal", "network_mode": "--network", "userns_mode": "--userns",
		"pids_limit": "--pids-limit", "mac_address": "--mac-address", "oom_score_adj": "--oom-score-adj", "cgroup_parent": "--cgroup-parent", "runtime": "--runtime",
		"gpus": "--gpus", "pull_policy": "--pull", "annotations": "--annotation", "expose": "--expose", "env_file": "--env-file", "isolation": "--isolation",
		"privileged": "--privileged", "read_only": "--read-only", "init": "--init", "oom_kill_disable": "--oom-kill-disable",
	}
}

// bareOptions are those without a value.
func bareOptions() []string { return []string{"privileged", "read_only", "init", "oom_kill_disable"} }

// composeRead are the keys that container reads itself.
func composeRead() []string {
	return []string{"image", "build", "command", "entrypoint", "environment", "ports", "volumes", "depends_on", "healthcheck", "profiles", "restart",
		"container_name", "networks", "scale", "deploy", "stop_grace_period", "ulimits", "links", "extends", "tty", "stdin_open", "attach", "logging", "develop"}
}

// mount is one entry of volumes.
type mount struct {
	source, target, mode string
	line                 int
}

func (c *composeFile) mounts(s *composeService) []mount {
	var all []mount
	for _, t := range s.get("volumes").list() {
		m := mount{line: t.line}
		if t.kind == kindMap {
			m.source, m.target = c.fixed(orNull(t.get("source"))), t.get("target").str()
			if t.get("read_only").truth() {
				m.mode = "ro"
			}
			if kind := t.get("type").str(); kind != "" && kind != "bind" && kind != "volume" {
				c.warn(t.line, "the mount %s of %s is left out: got the type %s, want bind or volume", m.target, s.foreign, kind)
				continue
			}
		} else {
			parts := strings.SplitN(c.fixed(t), ":", 3)
			m.target = parts[len(parts)-1]
			if len(parts) > 1 {
				m.source, m.target = parts[0], parts[1]
			}
			if len(parts) > 2 {
				m.mode = parts[2]
			}
		}
		all = append(all, m)
	}
	return all
}

// volume is a mount as docker run takes it. A named volume has the name that
// compose gave it, so that its data are still there.
func (c *composeFile) volume(m mount) string {
	v := m.target
	switch {
	case m.source == "":
	case strings.HasPrefix(m.source, "/"), strings.HasPrefix(m.source, "~"):
		v = m.source + ":" + v
	case strings.HasPrefix(m.source, ".."):
		v = path.Clean(m.source) + ":" + v
	case strings.HasPrefix(m.source, "."):
		v = "./" + path.Clean(m.source) + ":" + v
	default:
		name := c.root.at("volumes", m.source, "name").str()
		if name == "" && !c.root.at("volumes", m.source, "external").truth() {
			p, _ := strings.CutSuffix(strings.TrimPrefix(c.project[0].value.text, `"`), `"`)
			name = p + "_" + m.source
		}
		if name == "" {
			name = m.source
		}
		v = name + ":" + v
	}
	if m.mode != "" {
		v += ":" + m.mode
	}
	return v
}

// container declares a service that runs in a container.
func (c *composeFile) container(s *composeService) {
	if s.replicas != 1 {
		c.replicated(s)
	}
	image, build := c.image(s)
	if image.text == "" {
		c.warn(s.line, "%s has neither image nor build; left out", s.foreign)
		return
	}
	factory := "container"
	if s.task {
		factory = "container_task"
	}
	args := []arg{pos(quoted(s.name)), kw("image", image)}
	args = append(args, c.program(s)...)
	if !s.task {
		args = append(args, c.publish(s)...)
	}
	var volumes []string
	for _, m := range c.mounts(s) {
		volumes = append(volumes, c.volume(m))
	}
	if len(volumes) > 0 {
		args = append(args, kw("volumes", texts(volumes)))
	}
	if s.get("network_mode") == nil {
		args = append(args, kw("network", raw("%s", c.net())))
	}
	if s.name != s.foreign && !s.task {
		args = append(args, kw("aliases", texts([]string{s.foreign})))
	}
	if o := c.options(s); len(o) > 0 {
		args = append(args, kw("options", list(o...)))
	}
	env, passed := c.environment(s)
	if len(env) > 0 {
		args = append(args, kw("env", dict(env...)))
	}
	if len(passed) > 0 {
		args = append(args, kw("pass_env", texts(passed)))
	}
	after := c.after(s)
	if build != "" {
		after = append([]expr{raw("%s", build)}, after...)
	}
	if len(after) > 0 {
		args = append(args, kw("after", joined(after)))
	}
	if !s.task {
		args = append(args, c.health(s)...)
		args = append(args, c.life(s)...)
	}
	c.Draft.load("@std//container.star", factory)
	c.decls = append(c.decls, decl{name: s.name, target: s.variable, value: call(factory, args...)})
}

// replicated says what becomes of more than one.
func (c *composeFile) replicated(s *composeService) {
	c.warn(s.line, "%s has %d replicas: one runs here; [container(\"%s/%%d\" %% i, aliases = [\"%s\"], ...) for i in range(%d)] makes more", s.foreign, s.replicas, s.name, s.foreign, s.replicas)
	s.replicas = 1
}

// net is the variable of the network, which is declared when it is first needed.
func (c *composeFile) net() string {
	if c.network == "" {
		c.network = c.variable("net")
		c.Draft.load("@std//container.star", "network")
		name := "network"
		if c.service(name) != nil {
			name = "compose-network"
		}
		args := []arg{}
		if name != "network" {
			args = append(args, pos(quoted(name)))
		}
		first := decl{name: name, target: c.network, value: call("network", args...)}
		c.decls = slices.Insert(c.decls, 0, first)
	}
	return c.network
}

// image is the image, and the variable of the task that builds it.
func (c *composeFile) image(s *composeService) (image expr, task string) {
	b := s.get("build")
	if b == nil {
		if s.get("image") == nil {
			return expr{}, ""
		}
		return c.text(s.get("image")).expr(), ""
	}
	tag := nodeName(strings.Trim(c.project[0].value.text, `"`) + "-" + s.name)
	if t := s.get("image"); t != nil {
		tag = c.fixed(t)
	}
	argv := []expr{quoted("docker"), quoted("build"), quoted("-t"), quoted(tag)}
	context := c.fixed(b)
	if b.kind == kindMap {
		context = c.fixed(orNull(b.get("context")))
		for _, e := range b.keys {
			switch e.key {
			case "context":
			case "dockerfile":
				argv = append(argv, quoted("-f"), quoted(path.Join(context, c.fixed(e.value))))
			case "target":
				argv = append(argv, quoted("--target"), c.text(e.value).expr())
			case "args":
				for _, kv := range e.value.pairs() {
					t := text{{lit: kv.key}}
					if kv.given {
						t = append(t.add("="), c.interpolated(kv.value, kv.line, true)...)
					}
					argv = append(argv, quoted("--build-arg"), t.expr())
				}
			case "platforms", "cache_from", "labels", "shm_size", "network", "pull", "no_cache", "tags", "ssh", "secrets", "extra_hosts", "additional_contexts", "cache_to", "dockerfile_inline", "isolation", "privileged", "ulimits", "entitlements":
				c.warn(e.line, "build.%s of %s is left out: add it to the command of %s/image", e.key, s.foreign, s.name)
			default:
				c.warn(e.line, "build.%s of %s is not known; left out", e.key, s.foreign)
			}
		}
	}
	if context == "" {
		context = "."
	}
	argv = append(argv, quoted(context))
	task = c.variable(s.name + "_image")
	c.projectAll()
	c.decls = append(c.decls, decl{name: s.name + "/image", comment: []string{"Docker keeps the layers: a build without changes is quick."}, target: task,
		value: call("task", pos(quoted(s.name+"/image")), kw("command", list(argv...)))})
	return quoted(tag), task
}

// program are entrypoint and command. A text is cut into words, as compose
// does; no shell sees it.
func (c *composeFile) program(s *composeService) (args []arg) {
	entry := c.argv(s, "entrypoint")
	cmd := c.argv(s, "command")
	if len(entry) > 0 {
		args = append(args, kw("entrypoint", entry[0]))
		cmd = append(slices.Clone(entry[1:]), cmd...)
	}
	if len(cmd) > 0 {
		args = append(args, kw("args", list(cmd...)))
	}
	return args
}

func (c *composeFile) argv(s *composeService, key string) (argv []expr) {
	t := s.get(key)
	if t == nil || t.kind == kindNull {
		return nil
	}
	if t.kind == kindList {
		for _, it := range t.items {
			argv = append(argv, c.text(it).expr())
		}
		return argv
	}
	for _, w := range splitWords(t.str()) {
		argv = append(argv, c.interpolated(w, t.line, true).expr())
	}
	return argv
}

// splitWords cuts a text as a shell would, and does nothing else with it.
func splitWords(s string) (all []string) {
	var w strings.Builder
	started, quote := false, byte(0)
	for i := 0; i < len(s); i++ {
		ch := s[i]
		switch {
		case quote != 0 && ch == quote:
			quote = 0
		case ch == '\\' && quote != '\'' && i+1 < len(s):
			i++
			w.WriteByte(s[i])
			started = true
		case quote == 0 && (ch == '\'' || ch == '"'):
			quote, started = ch, true
		case quote == 0 && (ch == ' ' || ch == '\t' || ch == '\n'):
			if started {
				all = append(all, w.String())
			}
			w.Reset()
			started = false
		default:
			w.WriteByte(ch)
			started = true
		}
	}
	if started {
		all = append(all, w.String())
	}
	return all
}

// publish are the ports of a container.
func (c *composeFile) publish(s *composeService) []arg {
	var entries []arg
	seen := map[string]bool{}
	for _, p := range c.ports(s) {
		if p.proto != "tcp" {
			c.warn(p.line, "the port %d/%s of %s is left out: only tcp is published (options = [\"-p\", \"%d:%d/%s\"])", p.container, p.proto, s.foreign, max(p.base, p.container), p.container, p.proto)
			continue
		}
		if p.host != "127.0.0.1" {
			c.warnOnce("host", p.line, "ports are published on 127.0.0.1 alone, not on all addresses of the machine")
		}
		name := portName(p.container)
		if seen[name] {
			name = "p" + strconv.Itoa(p.container)
		}
		for i := 2; seen[name]; i++ {
			name = fmt.Sprintf("p%d_%d", p.container, i)
		}
		seen[name] = true
		base := p.base
		if base == 0 {
			base = p.container
		}
		entries = append(entries, pair(name, list(number(base), number(p.container))))
	}
	if len(entries) == 0 {
		return nil
	}
	return []arg{kw("ports", dict(entries...))}
}

// portName is what a port is usually for.
func portName(n int) string {
	switch n {
	case 80, 3000, 4000, 5000, 8000, 8080, 8081, 8888, 9000:
		return "http"
	case 443, 8443:
		return "https"
	case 25, 1025, 587:
		return "smtp"
	}
	return "p" + strconv.Itoa(n)
}

// options are those of docker run for keys that have no field.
func (c *composeFile) options(s *composeService) (all []expr) {
	known := dockerOptions()
	add := func(option string, t text) { all = append(all, quoted(option), t.expr()) }
	for _, e := range s.keys {
		option := known[e.key]
		switch {
		case slices.Contains(composeRead(), e.key), strings.HasPrefix(e.key, "x-"):
		case option == "":
			c.warn(e.line, "%s of %s is left out: docker run has no option for it", e.key, s.foreign)
		case slices.Contains(bareOptions(), e.key):
			if e.value.truth() {
				all = append(all, quoted(option))
			}
		case e.value.kind == kindMap:
			sep := "="
			if e.key == "extra_hosts" {
				sep = ":"
			}
			for _, x := range e.value.keys {
				add(option, c.interpolated(x.key+sep+x.value.str(), x.line, true))
			}
		default:
			for _, t := range e.value.list() {
				if t.kind == kindMap { // env_file: - path: x
					t = orNull(t.get("path"))
				}
				add(option, c.text(t))
			}
		}
	}
	for _, e := range s.get("ulimits").entries() {
		limit := e.value.str()
		if e.value.kind == kindMap {
			limit = e.value.get("soft").str() + ":" + e.value.get("hard").str()
		}
		add("--ulimit", text{{lit: e.key + "=" + limit}})
	}
	limits := s.at("deploy", "resources", "limits")
	for _, x := range [][2]string{{"memory", "--memory"}, {"cpus", "--cpus"}} {
		if v := limits.get(x[0]); v.str() != "" {
			add(x[1], c.text(v))
		}
	}
	for _, e := range s.get("deploy").entries() {
		if e.key != "resources" && e.key != "replicas" {
			c.warn(e.line, "deploy.%s of %s is left out: it is about a cluster", e.key, s.foreign)
		}
	}
	if s.get("tty").truth() {
		all = append(all, quoted("-t"))
	}
	for _, key := range []string{"logging", "develop", "stdin_open"} {
		if t := s.get(key); t != nil {
			c.warn(t.line, "%s of %s is left out", key, s.foreign)
		}
	}
	for _, e := range s.get("networks").entries() {
		if len(e.value.keys) > 0 || e.key != "default" {
			c.warnOnce("net", e.line, "networks of services are left out: all containers share one, on which they have their names")
		}
	}
	return all
}

// health is the healthcheck. Ours asks at once and often until it is ready,
// so interval and start_period say nothing here.
func (c *composeFile) health(s *composeService) []arg {
	h := s.get("healthcheck")
	if h == nil || h.get("disable").truth() {
		return nil
	}
	test := h.get("test")
	argv := test.texts()
	switch {
	case test == nil:
		c.warn(h.line, "the healthcheck of %s is that of its image, which is not known here: it is ready when it is started", s.foreign)
		return nil
	case test.kind != kindList:
		return []arg{kw("health", quoted(dollars(test.str())))}
	case len(argv) == 0 || argv[0] == "NONE":
		return nil
	case argv[0] == "CMD-SHELL" && len(argv) > 1:
		return []arg{kw("health", quoted(dollars(argv[1])))}
	}
	if argv[0] == "CMD" {
		argv = argv[1:]
	}
	for i := range argv {
		argv[i] = dollars(argv[i])
	}
	return []arg{kw("health", texts(argv))}
}

// dollars takes the escape of compose back.
func dollars(s string) string { return strings.ReplaceAll(s, "$$", "$") }

// life are restart and stop, and whether it starts by itself.
func (c *composeFile) life(s *composeService) (args []arg) {
	if p := s.get("profiles"); len(p.texts()) > 0 {
		args = append(args, kw("autostart", raw("False")), kw("labels", texts(p.texts())))
		c.warn(p.line, "%s starts only when it is named or needed: it has profiles, which are its labels", s.foreign)
	}
	switch r, n, _ := strings.Cut(s.get("restart").str(), ":"); r {
	case "always", "unless-stopped":
		args = append(args, kw("restart", call("restart.always", kw("max", raw("None")))))
	case "on-failure":
		times := raw("None")
		if k, ok := wholeNumber(n); ok {
			times = number(k)
		}
		args = append(args, kw("restart", call("restart.on_failure", kw("max", times))))
	default:
		args = append(args, kw("restart", call("restart.never")))
	}
	if g := s.get("stop_grace_period"); g.str() != "" {
		d, err := time.ParseDuration(g.str())
		if err != nil || d < 0 {
			c.warn(g.line, "stop_grace_period of %s is left out: got %q, want a duration such as 30s", s.foreign, g.str())
			return args
		}
		args = append(args, kw("grace", number(int(d.Round(time.Second)/time.Second))))
	}
	return args
}
