package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// factory is a row of the conformance suite: what every factory of stdlib that
// runs a real server promises. The rows are in factories_rows_test.go.
type factory struct {
	name     string   // of the row, and of its plan in testdata/factories
	programs []string // without them the row is skipped; .ci/run installs them
	byHand   bool     // .ci/run does not: no package has them, and to build them takes too long
	// star declares the services a, as the factory makes it by itself, and b with
	// a port: $A and $B are free ports.
	star string
	// ping is one exchange that only a server that works answers.
	ping func(i *instance) error
	// put keeps a value in the server, get reads it; nil: it keeps nothing.
	put  func(i *instance, value string) error
	get  func(i *instance) (string, error)
	lost bool // what it keeps is gone when it is killed
	slow bool // it takes seconds to start: fewer times are taken
	once bool // it runs as the ordinary user only
	// reload: it has one. edit replaces a text of star by another; edited sees
	// that the running server knows.
	reload bool
	edit   [2]string
	edited func(i *instance) error
}

// instance is a running server of a row.
type instance struct {
	c    *checkout
	name string
	env  map[string]string // what orrery env says
}

// allFactories are all rows.
func allFactories() []factory { return slices.Concat(factories(), cloudFactories()) }

// TestFactories runs each factory with its real server, as an ordinary user
// and, where the tests run as root, as root: plan, up, a round trip, kill -9,
// reload, two instances side by side, down. -v prints how long each took to be
// ready beside what the bare server takes.
func TestFactories(t *testing.T) {
	torture(t)
	if _, err := programs(); err != nil {
		t.Fatal(err)
	}
	for name, why := range untested(t) {
		t.Run(name, func(t *testing.T) { t.Skipf("untested: %s Its plan is that of stdlib/%s_test.star", why, name) })
	}
	slots := make(chan struct{}, 2)
	table := &readyTable{}
	t.Cleanup(func() { t.Log(table) })
	for _, f := range allFactories() {
		turn := make(chan struct{}, 1) // the bare server takes the ports that orrery has given back
		for _, as := range asUsers(t) {
			if f.once && as.name == "" {
				continue
			}
			t.Run(f.name+"/"+cmp.Or(as.name, "root"), func(t *testing.T) {
				for _, p := range f.programs {
					if _, err := exec.LookPath(p); err != nil && f.byHand {
						t.Skipf("%s is missing: no package of Debian's has it, and it is built by hand", p)
					}
					needTool(t, p)
				}
				t.Parallel()
				turn <- struct{}{}
				defer func() { <-turn }()
				slots <- struct{}{}
				defer func() { <-slots }()
				f.conforms(t, as, table)
			})
		}
	}
}

// asUser is whom a row runs as.
type asUser struct {
	name string // "" for root
	cred *syscall.Credential
}

func asUsers(t *testing.T) []asUser {
	if os.Geteuid() != 0 {
		return []asUser{{name: "user"}}
	}
	u, err := user.Lookup("nobody")
	if err != nil {
		t.Fatal(err)
	}
	uid, _ := strconv.Atoi(u.Uid)
	gid, _ := strconv.Atoi(u.Gid)
	return []asUser{{}, {"user", &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}}
}

// newCheckoutAs is newCheckout for another user.
func newCheckoutAs(t *testing.T, star string, as asUser) *checkout {
	dir, err := os.MkdirTemp("/tmp", "o")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	c := newCheckout(t, star)
	if as.cred == nil {
		return c
	}
	if err := os.Rename(c.path("services.star"), filepath.Join(dir, "services.star")); err != nil {
		t.Fatal(err)
	}
	c.dir, c.as = dir, as.cred
	c.env = slices.DeleteFunc(c.env, func(v string) bool {
		return strings.HasPrefix(v, "HOME=") || strings.HasPrefix(v, "XDG_CACHE_HOME=") || strings.HasPrefix(v, "USER=")
	})
	c.env = append(c.env, "HOME="+dir+"/home", "XDG_CACHE_HOME="+dir+"/cache", "USER=nobody")
	for _, sub := range []string{c.dir, dir + "/home", dir + "/cache", c.run, c.path("services.star")} {
		os.Mkdir(sub, 0o700)
		if err := os.Chown(sub, int(as.cred.Uid), int(as.cred.Gid)); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

// conforms is what the suite asks of a factory.
func (f factory) conforms(t *testing.T, as asUser, table *readyTable) {
	began := time.Now()
	ports := freePorts(t, 2)
	star := strings.NewReplacer("$A", strconv.Itoa(ports[0]), "$B", strconv.Itoa(ports[1])).Replace(f.star)
	c := newCheckoutAs(t, star, as)
	a, b := c.instance("a"), c.instance("b")
	f.planned(c)
	for _, i := range []*instance{a, b} {
		i.removeData(t)
	}

	c.must("up", "-d", "--wait")
	*a, *b = *c.instance("a"), *c.instance("b") // a port may have been taken since the plan
	for _, i := range []*instance{a, b} {
		i.ok("the first answer", f.ping(i))
	}
	if f.put != nil {
		for _, i := range []*instance{a, b} {
			i.ok("put", f.put(i, "datum-of-"+i.name))
		}
		f.holds(a, b)
	}
	times := []time.Duration{a.ready()}

	f.killed(a, b)
	times = append(times, a.ready())
	if f.reload {
		f.reloads(t, star, a)
	}
	if !f.slow {
		c.must("restart", "a")
		times = append(times, a.ready())
	}
	plan := c.plan(true)
	files := keepFiles(filepath.Dir(a.v("RUNTIME")))
	down := c.must("down")
	f.gone(c, a, b)
	files.restore(t, filepath.Dir(a.v("RUNTIME")))
	bare, err := f.bare(plan, a, as)
	switch {
	case err != nil && strings.Contains(strings.ToLower(err.Error()), "in use"):
		t.Logf("another test took the port of the bare server: %v", err)
		return
	case err != nil:
		t.Errorf("the bare server: %v", err)
	}
	slices.Sort(times)
	table.add(fmt.Sprintf("%-22s ready %7s  bare %7s  ratio %5.2f  down %7s  all %s", t.Name()[len("TestFactories/"):], ms(times[1]), ms(bare),
		float64(times[1])/float64(max(bare, 1)), ms(down.took), time.Since(began).Round(time.Second/10)))
}

// instance is a service, and its variables.
func (c *checkout) instance(name string) *instance {
	c.t.Helper()
	i := &instance{c: c, name: name, env: map[string]string{}}
	if err := json.Unmarshal([]byte(c.must("env", "--format", "json").out), &i.env); err != nil {
		c.t.Fatal(err)
	}
	return i
}

// removeData takes its data away in the end, where they are not in the checkout:
// as root, those of a server with a user.
func (i *instance) removeData(t *testing.T) {
	if dir := i.v("DATA"); dir != "" && !strings.HasPrefix(dir, i.c.dir) {
		t.Cleanup(func() { os.RemoveAll(dir) })
	}
}

// v is one of its variables, without the prefix of its name.
func (i *instance) v(name string) string { return i.env[strings.ToUpper(i.name)+"_"+name] }

// dial connects to its port, or to its socket where it has no port.
func (i *instance) dial() (net.Conn, error) {
	network, addr := "unix", i.v("UNIX_SOCKET")
	if port := i.v("PORT"); port != "" {
		network, addr = "tcp", "127.0.0.1:"+port
	}
	conn, err := net.DialTimeout(network, addr, 5*time.Second)
	if err == nil {
		err = conn.SetDeadline(time.Now().Add(5 * time.Second))
	}
	return conn, err
}

// run runs a client with the variables of the project.
func (i *instance) run(argv ...string) (string, error) {
	r := i.c.orrery(append([]string{"exec", "--"}, argv...)...)
	if r.code != 0 {
		return r.out, fmt.Errorf("%s", r)
	}
	return strings.TrimSpace(r.out), nil
}

func (i *instance) ok(what string, err error) {
	i.c.t.Helper()
	if err != nil {
		i.c.t.Fatalf("%s of %s: %v\n%s", what, i.name, err, i.c.orrery("logs", "-n", "30", i.name).out)
	}
}

// ready is how long it took from its last start to ready.
func (i *instance) ready() time.Duration {
	n := i.c.node(i.name)
	return n.ReadyAt.Sub(n.StartedAt)
}

// holds: each has its own datum, not that of its neighbour.
func (f factory) holds(instances ...*instance) {
	for _, i := range instances {
		i.c.t.Helper()
		got, err := f.get(i)
		i.ok("get", err)
		if want := "datum-of-" + i.name; got != want {
			i.c.t.Errorf("%s: got %q, want %q", i.name, got, want)
		}
	}
}

// killed: the server is started again, and what it keeps is there.
func (f factory) killed(a, b *instance) {
	c := a.c
	c.t.Helper()
	before, other := c.node("a").PID, c.node("b").PID
	if err := syscall.Kill(before, syscall.SIGKILL); err != nil {
		c.t.Fatal(err)
	}
	c.await("a to be started again", func() bool { n := c.node("a"); return n.PID != 0 && n.PID != before })
	c.must("wait", "a")
	a.ok("the first answer after kill -9", f.ping(a))
	if n := c.node("b"); n.PID != other {
		c.t.Errorf("b: got pid %d, want %d", n.PID, other)
	}
	switch {
	case f.put == nil:
	case f.lost:
		a.ok("put after kill -9", f.put(a, "datum-of-a"))
		f.holds(a, b)
	default:
		f.holds(a, b)
	}
}

// reloads: the same process, with what has changed.
func (f factory) reloads(t *testing.T, star string, a *instance) {
	c := a.c
	pid := c.node("a").PID
	if f.edited != nil {
		edited := strings.ReplaceAll(star, f.edit[0], f.edit[1])
		if edited == star {
			t.Fatalf("%q is not in the row's services.star", f.edit[0])
		}
		if err := os.WriteFile(c.path("services.star"), []byte(edited), 0o644); err != nil {
			t.Fatal(err)
		}
		c.must("up", "-d", "--wait")
		var err error
		if !await(func() bool { err = f.edited(a); return err == nil }) {
			a.ok("the edited configuration", err)
		}
	}
	c.must("reload", "a")
	c.await("an answer after reload", func() bool { return f.ping(a) == nil })
	c.await("a to be ready after its reload", func() bool { return c.node("a").State == "ready" })
	if n := c.node("a"); n.PID != pid {
		t.Errorf("after reload: got pid %d, want %d", n.PID, pid)
	}
}

// gone: no process, no port, no socket file, and a clean end.
func (f factory) gone(c *checkout, instances ...*instance) {
	c.t.Helper()
	c.await("every process to have ended", func() bool { return len(c.all()) == 0 })
	for _, i := range instances {
		if conn, err := i.dial(); err == nil {
			conn.Close()
			c.t.Errorf("after down %s still answers", i.name)
		}
	}
	for _, bad := range []string{"killed it", "did not stop"} {
		if log := c.read(".orrery/engine.log"); strings.Contains(log, bad) {
			c.t.Errorf("engine.log: %s", log)
		}
	}
}

// planDoc is what plan --json says, as far as the suite looks at it.
type planDoc struct {
	Nodes []planNode           `json:"nodes"`
	Edges []planEdge           `json:"edges"`
	Bound map[string]planBound `json:"bound"`
}

type planNode struct {
	Name       string                    `json:"name"`
	User       string                    `json:"user,omitempty"`
	Config     []map[string]any          `json:"config,omitempty"`
	Ready      map[string]any            `json:"ready,omitempty"`
	Stop       map[string]any            `json:"stop,omitempty"`
	Reload     any                       `json:"reload,omitempty"`
	Success    []any                     `json:"success_codes,omitempty"`
	Listen     map[string]map[string]any `json:"listen,omitempty"`
	Template   string                    `json:"template,omitempty"`
	Gates      string                    `json:"gates,omitempty"`
	Exports    map[string]string         `json:"exports,omitempty"`
	EnvExports map[string]string         `json:"env_exports,omitempty"`
	Bound      *planBound                `json:"bound,omitempty"`
}

type planEdge struct {
	From string `json:"from"`
	To   string `json:"to"`
	Cond string `json:"cond"`
}

type planBound struct {
	Command []string          `json:"command,omitempty"`
	Script  string            `json:"script,omitempty"`
	Dir     string            `json:"dir,omitempty"`
	Env     map[string]string `json:"env,omitempty"`
	Ports   map[string]string `json:"ports,omitempty"`
}

func (c *checkout) plan(resolve bool) planDoc {
	c.t.Helper()
	args := []string{"plan", "--json"}
	if resolve {
		args = append(args, "--resolve")
	}
	var doc planDoc
	if err := json.Unmarshal([]byte(c.must(args...).out), &doc); err != nil {
		c.t.Fatal(err)
	}
	return doc
}

// planned compares the plan, without what differs from run to run and from
// machine to machine, with testdata/factories/NAME.json. UPDATE_SCRIPTS=1
// writes that.
func (f factory) planned(c *checkout) {
	t := c.t
	t.Helper()
	doc := c.plan(true)
	for n := range doc.Nodes {
		bound := doc.Bound[doc.Nodes[n].Name]
		if doc.Nodes[n].User != "" { // root runs it as that user, with its home
			for _, v := range []string{"HOME", "USER", "LOGNAME"} {
				delete(bound.Env, v)
			}
		}
		doc.Nodes[n].Bound = &bound
	}
	doc.Bound = nil
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", " ")
	if err := enc.Encode(doc); err != nil {
		t.Fatal(err)
	}
	ports := map[string]string{}
	for _, n := range doc.Nodes {
		for name, port := range n.Bound.Ports {
			ports[port] = "$PORT_" + n.Name + "_" + name
		}
	}
	got := regexp.MustCompile(`"(/[^" ]*/bin|/usr/local/sbin|/usr/sbin|/sbin)/([^"/ ]+)"`).ReplaceAllString(buf.String(), `"$2"`)
	for port, name := range ports {
		got = regexp.MustCompile(`\b`+port+`\b`).ReplaceAllString(got, "$"+name)
	}
	for _, place := range []struct{ path, name string }{
		{`/var/lib/orrery/[0-9a-f]+`, "$$STATE"}, // as root, of a server with a user
		{regexp.QuoteMeta(c.dir) + `/\.orrery/state`, "$$STATE"},
		{`/run/orrery/[0-9a-f]+`, "$$RUN"},
		{regexp.QuoteMeta(c.run) + `/orrery-[0-9a-f]+`, "$$RUN"},
		{regexp.QuoteMeta(c.dir), "$$PROJECT"},
	} {
		got = regexp.MustCompile(place.path).ReplaceAllString(got, place.name)
	}
	golden := filepath.Join("testdata", "factories", f.name+".json")
	if os.Getenv("UPDATE_SCRIPTS") != "" {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		cmd := exec.Command("diff", "-u", golden, "-")
		cmd.Stdin = strings.NewReader(got)
		diff, _ := cmd.Output()
		t.Errorf("the plan differs from %s (UPDATE_SCRIPTS=1 writes it):\n%s", golden, diff)
	}
}

// keptFiles are the files of a run directory, which the bare server needs once more.
type keptFiles map[string]keptFile

type keptFile struct {
	info os.FileInfo
	text []byte
}

func keepFiles(dir string) keptFiles {
	k := keptFiles{}
	filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err == nil && (info.IsDir() || info.Mode().IsRegular()) {
			text, _ := os.ReadFile(path)
			k[path] = keptFile{info, text}
		}
		return nil
	})
	return k
}

func (k keptFiles) restore(t *testing.T, dir string) {
	top := filepath.Dir(dir)
	if err := os.MkdirAll(top, 0o711); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(top) })
	if owner, ok := k[dir]; ok {
		sys := owner.info.Sys().(*syscall.Stat_t)
		os.Lchown(top, int(sys.Uid), int(sys.Gid))
	}
	var paths []string
	for path := range k {
		paths = append(paths, path)
	}
	slices.Sort(paths)
	for _, path := range paths {
		if _, err := os.Lstat(path); err == nil {
			continue
		}
		f := k[path]
		err := os.Mkdir(path, 0o700)
		if !f.info.IsDir() {
			os.Remove(path)
			err = os.WriteFile(path, f.text, 0o600)
		}
		sys := f.info.Sys().(*syscall.Stat_t)
		os.Lchown(path, int(sys.Uid), int(sys.Gid))
		if os.Chmod(path, f.info.Mode().Perm()); err != nil {
			t.Fatal(err)
		}
	}
}

// bare is how long the server takes from its spawn to its first answer when
// nobody stands between: the median of three.
func (f factory) bare(plan planDoc, i *instance, as asUser) (time.Duration, error) {
	var times []time.Duration
	starts := 3
	if f.slow {
		starts = 1
	}
	for range starts {
		d, err := f.spawn(plan, i, as)
		if err != nil {
			return 0, err
		}
		times = append(times, d)
	}
	slices.Sort(times)
	return times[starts/2], nil
}

func (f factory) spawn(plan planDoc, i *instance, as asUser) (time.Duration, error) {
	at := slices.IndexFunc(plan.Nodes, func(n planNode) bool { return n.Name == i.name })
	node, bound := plan.Nodes[at], plan.Bound[i.name]
	argv := bound.Command
	if len(argv) == 0 {
		argv = []string{"sh", "-euc", bound.Script}
	}
	argv = slices.Clone(argv)
	for n, arg := range argv { // the plan names tools, which may lie outside of the PATH
		for _, p := range f.programs {
			if at := filepath.Join(filepath.Dir(p), arg); filepath.IsAbs(p) && arg != "" && filepath.Base(arg) == arg && isFile(at) {
				argv[n] = at
			}
		}
	}
	sockets, err := listen(node, bound, i)
	if err != nil {
		return 0, err
	}
	if len(sockets) > 0 {
		argv = append([]string{"sh", "-c", `LISTEN_PID=$$ LISTEN_FDS=` + strconv.Itoa(len(sockets)) + ` exec "$@"`, "sh"}, argv...)
	}
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir, cmd.ExtraFiles, cmd.Env = bound.Dir, sockets, slices.Clone(i.c.env)
	for k, v := range bound.Env {
		cmd.Env = append(cmd.Env, k+"="+v)
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: as.cred, Setpgid: true}
	if as.name == "" && node.User != "" {
		u, err := user.Lookup(node.User)
		if err != nil {
			return 0, err
		}
		uid, _ := strconv.Atoi(u.Uid)
		gid, _ := strconv.Atoi(u.Gid)
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	}
	out, err := os.CreateTemp("", "o") // no pipe: that of another user cannot be opened by its name in /proc
	if err != nil {
		return 0, err
	}
	defer os.Remove(out.Name())
	defer out.Close()
	out.Chmod(0o666)
	cmd.Stdout, cmd.Stderr = out, out
	began := time.Now()
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	for _, s := range sockets {
		s.Close()
	}
	for deadline := began.Add(patience); ; time.Sleep(time.Millisecond) {
		if err = f.ping(i); err == nil || time.Now().After(deadline) {
			break
		}
	}
	took := time.Since(began)
	sig := syscall.SIGTERM
	if s, _ := node.Stop["signal"].(string); s == "INT" || s == "QUIT" {
		sig = map[string]syscall.Signal{"INT": syscall.SIGINT, "QUIT": syscall.SIGQUIT}[s]
	}
	cmd.Process.Signal(sig)
	timer := time.AfterFunc(patience, func() { syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })
	cmd.Wait()
	timer.Stop()
	// Those that it has left may hold its port. A zombie of theirs is init's to reap, and need not end.
	for end := time.Now().Add(time.Second); syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) == nil && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	for _, pid := range i.c.all() { // a daemon, such as RabbitMQ's epmd
		syscall.Kill(pid, syscall.SIGKILL)
	}
	if err != nil {
		said, _ := os.ReadFile(out.Name())
		err = fmt.Errorf("%s: %w\n%s", argv, err, said)
	}
	return took, err
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

// listen binds the sockets that orrery holds for a service.
func listen(node planNode, bound planBound, i *instance) (files []*os.File, err error) {
	var names []string
	for name := range node.Listen {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		var l interface{ File() (*os.File, error) }
		if port := bound.Ports[name]; port != "" {
			ln, e := net.Listen("tcp", "127.0.0.1:"+port)
			err = e
			l, _ = ln.(*net.TCPListener)
		} else {
			path := i.v("UNIX_SOCKET")
			os.Remove(path)
			ln, e := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
			if err = e; err == nil {
				ln.SetUnlinkOnClose(false)
				defer ln.Close()
				os.Chmod(path, 0o777)
			}
			l = ln
		}
		if err != nil {
			return nil, err
		}
		file, err := l.File()
		if err != nil {
			return nil, err
		}
		files = append(files, file)
	}
	return files, nil
}

// readyTable collects the lines of the report.
type readyTable struct {
	mu    sync.Mutex
	lines []string
}

func (r *readyTable) add(line string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines = append(r.lines, line)
}

// String is the report, sorted by name.
func (r *readyTable) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	slices.Sort(r.lines)
	return "\n" + strings.Join(r.lines, "\n")
}
