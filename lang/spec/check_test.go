package spec

import (
	"strings"
	"testing"

	"go.starlark.net/starlark"
	"go.starlark.net/syntax"

	"orrery/lang/graph"
)

// args evaluates the arguments of a call, written in Starlark.
func args(t testing.TB, src string) (starlark.Tuple, []starlark.Tuple) {
	t.Helper()
	var pos starlark.Tuple
	var kw []starlark.Tuple
	env := starlark.StringDict{"f": starlark.NewBuiltin("f", func(_ *starlark.Thread, _ *starlark.Builtin, a starlark.Tuple, k []starlark.Tuple) (starlark.Value, error) {
		pos, kw = a, k
		return starlark.None, nil
	})}
	if _, err := starlark.EvalOptions(&syntax.FileOptions{}, &starlark.Thread{}, "x.star", "f("+src+")", env); err != nil {
		t.Fatal(err)
	}
	return pos, kw
}

func TestCheck(t *testing.T) {
	service := Load().Record("Service")
	pos, kw := args(t, `"web", command = ["a", 1], ports = {"http": 8080}, watchdog = "30s", harden = "web", success_codes = [0, "SIGTERM"], reload = "HUP", env = {"A": None}`)
	call := service.Check(pos, kw)
	if len(call.Problems) > 0 {
		t.Fatal(call.Problems)
	}
	s := call.Value.(*graph.Service)
	switch {
	case s.Name != "web" || len(s.Command.Argv) != 2 || s.Ports[0].Value.Host != "127.0.0.1":
		t.Errorf("got %+v", s)
	case s.Watchdog.Interval.String() != "30s" || !s.Watchdog.RequireReady || s.Harden.Profile != "web" || !s.Harden.NoNewPrivileges:
		t.Errorf("got %+v %+v", s.Watchdog, s.Harden)
	case s.SuccessCodes[1].Signal != "TERM" || s.Reload.Signal != "HUP" || !s.Autostart || s.Restart.Kind != "on_failure" || *s.Restart.Max != 5:
		t.Errorf("got %+v", s)
	case strings.Join(call.Later, " ") != "harden.profile":
		t.Errorf("got later %v", call.Later)
	}
}

// TestDefaultsAreCopied: what one call changes, another does not see.
func TestDefaultsAreCopied(t *testing.T) {
	service := Load().Record("Service")
	pos, kw := args(t, `"web", command = "x", log = None`)
	if call := service.Check(pos, kw); len(call.Problems) != 1 {
		t.Errorf("got %v, want one problem", call.Problems)
	}
	pos, kw = args(t, `"web", command = "x"`)
	a := service.Check(pos, kw).Value.(*graph.Service)
	a.Restart.Kind, a.Log.Keep = "never", 99
	b := service.Check(pos, kw).Value.(*graph.Service)
	if b.Restart.Kind != "on_failure" || b.Log.Keep != 5 {
		t.Errorf("got %+v %+v, want the defaults", b.Restart, b.Log)
	}
}

func TestHelp(t *testing.T) {
	for _, name := range []string{"service", "service.ready", "probe.http", "restart", "task.inputs", "glob", "self", "param", "service.state_dir", "probe.http.path"} {
		text, ok, _ := Help(name)
		if !ok || len(text) < 30 {
			t.Errorf("%s: got %q", name, text)
		}
	}
	for name, want := range map[string]string{"servce": "service", "service.redy": "service.ready", "inputs": "task.inputs"} {
		if _, ok, near := Help(name); ok || near != want {
			t.Errorf("%s: got %v %q, want %q", name, ok, near, want)
		}
	}
}

func BenchmarkCheck(b *testing.B) {
	service := Load().Record("Service")
	pos, kw := args(b, `"web", command = ["a", "b", "c"], ports = {"http": 8080}, env = {"A": "1", "B": "2"}, cwd = "x", watchdog = "30s"`)
	b.ReportAllocs()
	for b.Loop() {
		if c := service.Check(pos, kw); len(c.Problems) > 0 {
			b.Fatal(c.Problems)
		}
	}
}
