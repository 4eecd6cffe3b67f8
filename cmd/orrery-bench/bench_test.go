package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestQuick runs the short form for real, with orrery, the floor and the peers that are here and quick themselves.
func TestQuick(t *testing.T) {
	if testing.Short() {
		t.Skip("runs for half a minute")
	}
	if supported() != nil {
		t.Skip(supported())
	}
	dir := t.TempDir()
	for _, program := range []string{"orrery", "orrery-bench"} {
		c := exec.Command("go", "build", "-o", filepath.Join(dir, program), "orrery/cmd/"+program)
		if out, err := c.CombinedOutput(); err != nil {
			t.Fatalf("cannot build %s: %v\n%s", program, err, out)
		}
	}
	names := []string{"orrery", "bare"}
	for _, p := range peers() {
		if _, err := detect(p, options{cache: dir}); err == nil && slices.Contains([]string{"s6", "concurrently"}, p.name) {
			names = append(names, p.name)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	c := exec.CommandContext(ctx, filepath.Join(dir, "orrery-bench"), "-quick", "-json", "-cache", dir, "-peers", strings.Join(names, ","))
	c.Env = append(os.Environ(), "TMPDIR="+short(t))
	var stdout, stderr bytes.Buffer
	c.Stdout, c.Stderr = &stdout, &stderr
	if err := c.Run(); err != nil {
		t.Fatalf("%v\n%s", err, &stderr)
	}
	var rep report
	if err := json.Unmarshal(stdout.Bytes(), &rep); err != nil {
		t.Fatal(err)
	}
	for _, sc := range scenarios(true) {
		m := sc.measures[0]
		i := slices.IndexFunc(rep.Results, func(r result) bool { return r.Peer == "orrery" && r.Measure == m.id })
		if i < 0 || len(rep.Results[i].Values) == 0 {
			t.Errorf("orrery has no value of %s\n%s", m.id, &stderr)
			continue
		}
		t.Log(m.id, rep.Results[i].Median, m.unit, rep.Results[i].Notes)
	}
}

// short is a temporary directory whose path leaves room for the sockets in it.
func short(t *testing.T) string {
	dir, err := os.MkdirTemp("", "o")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		left, _ := os.ReadDir(dir)
		for _, e := range left {
			t.Errorf("left behind: %s", e.Name())
		}
		_ = os.RemoveAll(dir)
	})
	return dir
}

func TestParse(t *testing.T) {
	for _, row := range []struct{ args, want string }{
		{"-rounds 0", "got -rounds 0, want 1 or more"},
		{"-only nothing", "got -only nothing, want some of launch,"},
		{"more", `got argument "more", want only flags`},
	} {
		if _, err := parse(strings.Fields(row.args), io.Discard); err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s: got %v, want %s", row.args, err, row.want)
		}
	}
	o, err := parse([]string{"-quick", "-rounds", "9", "-only", "launch,crash"}, io.Discard)
	if err != nil || o.rounds != 1 || len(o.only) != 2 {
		t.Errorf("got %+v, %v", o, err)
	}
}

func TestMedian(t *testing.T) {
	for _, row := range []struct {
		values []float64
		want   float64
	}{{nil, 0}, {[]float64{3}, 3}, {[]float64{9, 1, 5}, 5}, {[]float64{4, 1, 2, 3}, 2.5}} {
		if got := median(row.values); got != row.want {
			t.Errorf("median of %v: got %v, want %v", row.values, got, row.want)
		}
	}
}

// TestWhole: a line counts only when all of it is there, whatever stands before it.
func TestWhole(t *testing.T) {
	line := lineMark + "000000042 " + strings.Repeat(".", 100-len(lineMark)-9-1-len(lineEnd)) + lineEnd
	if len(line) != 100 {
		t.Fatalf("got a line of %d bytes, want 100", len(line))
	}
	for _, row := range []struct {
		line string
		ok   bool
	}{{line, true}, {"web | " + line, true}, {strings.TrimSuffix(line, "\n") + "\r\n", true}, {line[:60] + "\n", false}, {line[:40] + line[41:], false}, {"\n", false}} {
		if n, ok := whole([]byte(row.line)); ok != row.ok || ok && n != 42 {
			t.Errorf("%q: got %d, %v, want %v", row.line, n, ok, row.ok)
		}
	}
}

func TestReport(t *testing.T) {
	m := measure{"crash.10", "crash", "ms", "a crash"}
	list := []*found{{name: "orrery", version: "1"}, {name: "s6", version: "2"}, {name: "pm2", version: "3"}}
	cells := map[key]*cell{}
	gather(cells, "orrery", []sample{{id: m.id, value: 2}, {id: m.id, value: 4}})
	gather(cells, "s6", []sample{{id: m.id, value: 9, note: "slow"}, {id: m.id, value: 9, note: "slow"}})
	gather(cells, "pm2", []sample{failure(m.id, os.ErrDeadlineExceeded)})
	r := report{Rounds: 2, Peers: versions(list), Results: results([]measure{m}, list, cells)}
	for _, want := range []string{
		"| crash.10 | ms | 3.00 (2.00-4.00) | 9.00 x3.00 | failed |\n", "- crash.10, s6: slow\n", "- crash.10, pm2: failed: i/o timeout\n",
	} {
		if got := r.markdown(); !strings.Contains(got, want) || strings.Count(got, "slow") != 1 {
			t.Errorf("got\n%s\nwant in it %s", got, want)
		}
	}
	if got := r.text(); !strings.Contains(got, "x3.00  slow\n") {
		t.Errorf("got\n%s", got)
	}
}

// TestConfigurations: each adapter writes a session without a manager being there; the commands name the file they read.
func TestConfigurations(t *testing.T) {
	for _, p := range peers() {
		f := &found{peer: p, name: p.name, bin: map[string]string{}}
		for _, program := range p.programs {
			f.bin[program] = "/bin/" + filepath.Base(program)
		}
		s := &session{found: f, dir: t.TempDir(), self: "/bench", scratch: map[string]string{}}
		s.services = []service{
			{name: "a", mode: "__serve", args: []string{"listen=tcp:{port}"}, port: 80, ready: "http", logs: true, watch: "/src"},
			{name: "b", mode: "__serve", ready: "notify", after: "a", check: "/x", held: p.holds != "", port: 81},
		}
		if err := p.write(s); err != nil {
			t.Errorf("%s: %v", p.name, err)
		}
		if argv := p.start(s); !strings.HasPrefix(argv[0], "/bin/") {
			t.Errorf("%s: got the command %q", p.name, argv)
		}
		if p.name == "orrery" {
			b, err := os.ReadFile(s.file("services.star"))
			if err != nil {
				t.Fatal(err)
			}
			for _, want := range []string{`"listen=tcp:%s" % self.port`, "after = [a]", `listen = {"main": socket.tcp(81`, `watch = ["/src"]`} {
				if !strings.Contains(string(b), want) {
					t.Errorf("got\n%s\nwant in it %s", b, want)
				}
			}
		}
	}
}

// TestStackCommands: process-compose is told the same commands, in order.
func TestStackCommands(t *testing.T) {
	app := t.TempDir()
	for _, p := range stackPeers() {
		s := &session{found: &found{peer: p, name: p.name, bin: map[string]string{}}, dir: t.TempDir(), self: "/bench", scratch: map[string]string{"app": app}}
		for _, program := range p.programs {
			s.bin[program] = "/bin/" + program
		}
		if err := p.write(s); err != nil {
			t.Fatalf("%s: %v", p.name, err)
		}
		if argv := strings.Join(p.start(s), " "); !strings.Contains(argv, s.file("app")) {
			t.Errorf("%s: got the command %q", p.name, argv)
		}
		if p.name != "process-compose" {
			continue
		}
		b, err := os.ReadFile(s.file("app", "process-compose.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{
			"  build:\n    command: \"'go' 'build'", "'-c' 'fsync=off'", "depends_on: {database: {condition: process_completed_successfully}, build: {",
			"depends_on: {migrate: {condition: process_completed_successfully}, cache: {condition: process_healthy}}", "DATABASE_URL=postgres:///shop?host=" + s.file("run"),
		} {
			if !strings.Contains(string(b), want) {
				t.Errorf("got\n%s\nwant in it %s", b, want)
			}
		}
	}
}

// TestStarter: a server is there when it has said so, and what fails is said.
func TestStarter(t *testing.T) {
	if _, err := exec.LookPath("systemd-notify"); err != nil {
		t.Skip("systemd-notify is not installed")
	}
	dir, err := os.MkdirTemp("", "o") // short: sockets lie in it
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	s := &starter{dir: dir, run: dir}
	if err := s.serve("a", []string{"sh", "-c", "systemd-notify STATUS=soon; touch told; systemd-notify --ready; exec sleep 60"}); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "told")); err != nil {
		t.Error(err)
	}
	if err := s.running[0].Process.Kill(); err != nil {
		t.Error(err)
	}
	_ = s.running[0].Wait()
	if err := s.do([]string{"sh", "-c", "exit 3"}); err == nil || !strings.Contains(err.Error(), "exit status 3") {
		t.Errorf("got %v", err)
	}
}
