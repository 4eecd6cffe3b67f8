package convert

import (
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

var fix = flag.Bool("fix", false, "write the golden files")

// cases are the folders of testdata and the file in each that is converted.
func cases(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, pattern := range []string{"Procfile", "process-compose.yaml", "*compose.y*ml"} {
		files, err := filepath.Glob(filepath.Join("testdata", "*", pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			all[filepath.Base(filepath.Dir(f))] = filepath.Base(f)
		}
	}
	if len(all) < 6 {
		t.Fatalf("got the cases %v", all)
	}
	return all
}

func golden(t *testing.T, path, got string) {
	t.Helper()
	if *fix {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil || string(want) != got {
		t.Errorf("%s is stale (go test ./lang/convert -fix): %v, got:\n%s", path, err, got)
	}
}

func report(d *Draft) string {
	var b strings.Builder
	for _, w := range d.Warnings {
		b.WriteString(w.String() + "\n")
	}
	return b.String()
}

// TestGolden holds what each file becomes, and what is said of it. That the
// results load is a test of cmd/orrery.
func TestGolden(t *testing.T) {
	for name, file := range cases(t) {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join("testdata", name)
			d, err := Import(os.DirFS(dir), file, Options{Project: name})
			if err != nil {
				t.Fatal(err)
			}
			golden(t, filepath.Join(dir, "want.star"), string(d.Text()))
			golden(t, filepath.Join(dir, "want.warnings"), report(d))
		})
	}
}

// TestEveryKey: each key of process-compose that the file with all of them
// holds is in the result or in a warning.
func TestEveryKey(t *testing.T) {
	dir := "testdata/process-compose-all"
	d, err := Import(os.DirFS(dir), "process-compose.yaml", Options{Project: "all"})
	if err != nil {
		t.Fatal(err)
	}
	// What has a counterpart, by the word that it becomes; "" is what orrery does anyway.
	becomes := map[string]string{
		"version": "", "is_strict": "", "disable_env_expansion": "${NOT}", "processes": "task(", "vars": "echo y", "shell_command": "zsh", "shell_argument": "-c", "shell": "zsh",
		"name": `project("all"`, "environment": `env = {"A": "b"}`, "env_cmds": "secret(", "max_size_mb": `max_size = "1M"`, "rotation": "log(", "log_configuration": "log(",
		"command": "echo", "description": `"d"`, "is_disabled": "autostart = False", "is_daemon": "background", "is_tty": "tty = True", "is_interactive": "tty = True",
		"working_dir": `cwd = "w"`, "env_file": `"f.env"`, "namespace": `group("ns"`, "replicas": "", "availability": "restart", "restart": "restart.never", "backoff_seconds": "", "max_restarts": "",
		"success_exit_codes": "[0, 7]", "readiness_probe": "probe.http", "http_get": "probe.http", "host": "example.org", "scheme": "https", "path": "/x", "port": "8443", "status_code": "204",
		"initial_delay_seconds": `"1s"`, "period_seconds": `"2s"`, "timeout_seconds": `"3s"`, "success_threshold": "success = 2", "failure_threshold": "failure = 4",
		"liveness_probe": "live =", "exec": "probe.exec", "shutdown": "stop.exec", "signal": "", "watch": "watch(", "paths": "glob(", "debounce": "300ms", "cascade": "", "max_entries": "", "buffer_size": "",
		"depends_on": "after =", "condition": "after =", "schedule": "schedule.every", "interval": "30s", "entrypoint": "", "num_port": "", "is_template_disabled": "", "is_foreground": "autostart = False", "is_dotenv_disabled": "", "max_backups": "",
	}
	text, warnings := string(d.Text()), report(d)
	data, _ := fs.ReadFile(os.DirFS(dir), "process-compose.yaml")
	root, err := parseYAML(data)
	if err != nil {
		t.Fatal(err)
	}
	var walk func(n *tree)
	walk = func(n *tree) {
		for _, e := range n.keys {
			if want, ok := becomes[e.key]; ok {
				if !strings.Contains(text, want) {
					t.Errorf("line %d: %s: no %q in the result", e.line, e.key, want)
				}
			} else if len(e.key) > 1 && !slices.Contains([]string{"NOW", "nobody", "type", "directory", "filename"}, e.key) && !strings.Contains(warnings, e.key) {
				t.Errorf("line %d: nothing is said of %s", e.line, e.key)
			}
			walk(e.value)
		}
		for _, it := range n.items {
			walk(it)
		}
	}
	walk(root)
}

func TestFormatOf(t *testing.T) {
	for _, c := range []struct {
		name, data string
		want       Format
	}{
		{"Procfile", "", FormatProcfile}, {"Procfile.dev", "", FormatProcfile}, {"process-compose.yml", "", FormatProcessCompose},
		{"docker-compose.override.yml", "", FormatCompose}, {"compose.yaml", "services: {}", FormatCompose}, {"compose.yaml", "processes: {}", FormatProcessCompose},
		{"dev.yaml", "services: {}", FormatCompose}, {"pc.json", `{"processes": {}}`, FormatProcessCompose}, {"x.yaml", "a: b", ""}, {"x.txt", "services: {}", ""},
	} {
		if got := FormatOf(c.name, []byte(c.data)); got != c.want {
			t.Errorf("%s with %q: got %q, want %q", c.name, c.data, got, c.want)
		}
	}
}

// TestMistakes: what cannot be understood at all is an error that says where.
func TestMistakes(t *testing.T) {
	for _, c := range []struct{ name, data, want string }{
		{"process-compose.yaml", "processes:\n  a: {command: x, depends_on: {b: {}}}\n  b: {command: x, depends_on: {a: {}}}\n", "a loop of depends_on: a -> b -> a"},
		{"process-compose.yaml", "a: [", "cannot convert process-compose.yaml"},
		{"process-compose.yaml", "version: 1\n", "it has no processes"},
		{"process-compose.yaml", "processes: {a: {extends: b}, b: {extends: a}}", "extends itself"},
		{"process-compose.yaml", "processes: {A: {command: x}, a: {command: x}}", "A and a would both be called a"},
		{"process-compose.yaml", "processes: {a: *b}", "no anchor"},
		{"compose.yaml", "services: 1", "it has no services"},
		{"compose.yaml", "services: {a: {image: x, depends_on: [b]}, b: {image: x, depends_on: [a]}}", "a loop"},
		{"x.txt", "", "it is no Procfile"},
		{"Procfile", "web: \xff", "not UTF-8"},
	} {
		_, err := Import(fstest.MapFS{c.name: {Data: []byte(c.data)}}, c.name, Options{Project: "x"})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: got %v, want %q", c.data, err, c.want)
		}
	}
	if _, err := Import(fstest.MapFS{}, "Procfile", Options{}); err == nil || err.Error() != "cannot read Procfile: file does not exist" {
		t.Errorf("got %v", err)
	}
}

// TestWords: where words says yes, a shell would see these words too.
func TestWords(t *testing.T) {
	for _, c := range []struct {
		line string
		want []string
	}{
		{"a b", []string{"a", "b"}}, {`./x 'a b' "c d" e'f'`, []string{"./x", "a b", "c d", "ef"}}, {"exec a b", []string{"a", "b"}}, {`x ""`, []string{"x", ""}},
		{"a $B", nil}, {`a "$B"`, nil}, {"A=1 b", nil}, {"cd x", nil}, {"a | b", nil}, {"a ~", nil}, {"a *", nil}, {"'a", nil}, {"", nil}, {"exec -a x y", nil}, {"a # b", nil}, {`a \$b 'it'\''s'`, []string{"a", "$b", "it's"}}, {"a b\\", nil},
	} {
		got, ok := words(c.line)
		if ok != (c.want != nil) || ok && !slices.Equal(got, c.want) {
			t.Errorf("%q: got %q, %v, want %q", c.line, got, ok, c.want)
		}
	}
}

func TestQuote(t *testing.T) {
	for in, want := range map[string]string{`a"b\`: `"a\"b\\"`, "a\nb": "\"\"\"a\nb\"\"\"", "a\n": `"a\n"`, "\x01é": `"\x01é"`} {
		if got := quote(in); got != want {
			t.Errorf("%q: got %s, want %s", in, got, want)
		}
	}
	if got := quoted("⟦x⟧").line(); got != `literal("⟦x⟧")` {
		t.Errorf("got %s", got)
	}
}

// FuzzProcfile: no text makes the converter of Procfiles, or the reader of
// .env, fail in another way than by an error.
func FuzzProcfile(f *testing.F) {
	f.Add("web: a $PORT 'b\nrelease: x\n", "PORT=1\nexport A='b'\n")
	f.Add("web: \nweb: ${PORT:-1} %s", "=\n#\nPORT=99999999999")
	f.Fuzz(func(t *testing.T, procfile, env string) {
		d, err := Import(fstest.MapFS{"Procfile": {Data: []byte(procfile)}, ".env": {Data: []byte(env)}}, "Procfile", Options{Project: "x"})
		if err == nil && len(d.Text()) == 0 {
			t.Error("no text")
		}
	})
}

// FuzzProcessCompose is the same for process-compose.yaml, and with it the
// reader of YAML.
func FuzzProcessCompose(f *testing.F) {
	for _, dir := range []string{"process-compose", "process-compose-all"} {
		data, err := os.ReadFile(filepath.Join("testdata", dir, "process-compose.yaml"))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(data))
	}
	f.Add("a: &a [*a]\nprocesses: {x: {<<: *a}}")
	f.Add("processes: {x: {command: '{{.A}} {{', replicas: 9, environment: ['A=${B:-${C}}', 'D']}}")
	f.Fuzz(func(t *testing.T, text string) {
		d, err := Import(fstest.MapFS{"process-compose.yaml": {Data: []byte(text)}}, "process-compose.yaml", Options{Project: "x"})
		if err == nil && len(d.Text()) == 0 {
			t.Error("no text")
		}
	})
}

// FuzzCompose is the same for compose.yaml.
func FuzzCompose(f *testing.F) {
	for _, name := range []string{"compose/compose.yaml", "compose-app/docker-compose.yml"} {
		data, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(data))
	}
	f.Fuzz(func(t *testing.T, text string) {
		d, err := Import(fstest.MapFS{"compose.yaml": {Data: []byte(text)}}, "compose.yaml", Options{Project: "x"})
		if err == nil && len(d.Text()) == 0 {
			t.Error("no text")
		}
	})
}
