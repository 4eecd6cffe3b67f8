package bind

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"orrery/lang/graph"
)

// fills is a binding of a service db and of the task that fills its state_dir.
func fills(t *testing.T) *Binding {
	d := dirs(t)
	g := newGraph(t, graph.Decl{Secrets: []*graph.Secret{{Name: "pw", Env: "PW"}}},
		service("db", func(s *graph.Service) {
			s.Exports = graph.Dict[graph.Text]{{Key: "data", Value: txt("⟦db.state_dir⟧/data")}}
		}),
		service("other"),
		task("init", func(x *graph.Task) {
			x.Template = "db"
			x.Env = graph.Dict[graph.Text]{{Key: "PWFILE", Value: txt("⟦secret:pw:path⟧")}}
		}))
	return New(openTable(t, d), g, Options{Environ: []string{"PW=hunter22"}})
}

func template(t *testing.T, b *Binding) *Template {
	t.Helper()
	x, err := b.Template("init")
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func vacant(t *testing.T, x *Template, want bool) {
	t.Helper()
	if got, err := x.Vacant(); err != nil || got != want {
		t.Fatalf("got vacant %v, %v, want %v", got, err, want)
	}
}

func TestTemplateTexts(t *testing.T) {
	b := fills(t)
	x := template(t, b)
	for _, c := range []struct {
		b    *Binding
		text string
		want string
	}{
		{x.Run, "⟦db.state_dir⟧/x", x.Tmp + "/x"},
		{x.Run, "⟦~db.data⟧", x.Tmp + "/data"},
		{x.Run, "⟦other.state_dir⟧", b.dirs.Path("state", "other")},
		{x.Key, "⟦db.state_dir⟧/x", keyDir + "/x"},
		{x.Key, "⟦~db.data⟧", keyDir + "/data"},
		{x.Key, "⟦secret:pw:path⟧", "⟦secret:pw:path⟧"},
		{b, "⟦db.state_dir⟧", b.dirs.Path("state", "db")},
	} {
		if got, err := c.b.Fill(txt(c.text), "init"); err != nil || got != c.want {
			t.Errorf("%s: got %q, %v, want %q", c.text, got, err, c.want)
		}
	}
	vars, err := b.SecretVars("init")
	if err != nil || len(vars) != 1 || vars[0].Value != "hunter22" || !vars[0].Secret {
		t.Errorf("got %+v, %v, want the secret for the key", vars, err)
	}
	if again := template(t, b); again.Tmp == x.Tmp {
		t.Error("two runs have one folder")
	}
	if _, err := b.Template("db"); err == nil {
		t.Error("a service is no template")
	}
}

func TestTemplateTake(t *testing.T) {
	b := fills(t)
	id := func() string {
		t.Helper()
		if err := b.MakeDirs("db"); err != nil {
			t.Fatal(err)
		}
		v, err := b.Fill(txt("⟦db.data_id⟧"), "")
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	dir := b.dirs.Path("state", "db")
	fill := func(text string) {
		t.Helper()
		x := template(t, b)
		vacant(t, x, true)
		if err := x.Make(); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(x.Tmp, "data"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := x.Take(); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(filepath.Join(dir, "data")); err != nil || string(got) != text {
			t.Fatalf("got %q, %v, want %q", got, err, text)
		}
		vacant(t, x, false)
	}
	fill("one")
	first := id()

	// Wiped, or emptied by hand: vacant again, with another data_id.
	os.RemoveAll(dir)
	fill("two")
	second := id()
	os.Remove(filepath.Join(dir, "data"))
	fill("three")
	third := id()
	if first == second || second == third || first == third {
		t.Errorf("got the data_ids %s, %s, %s, want three", first, second, third)
	}

	// What another has made there is not ours to fill, even empty: no data_id.
	os.RemoveAll(dir)
	os.RemoveAll(filepath.Dir(dataIDFile(b.dirs, "db")))
	x := template(t, b)
	if err := x.Make(); err != nil {
		t.Fatal(err)
	}
	os.Mkdir(dir, 0o700)
	vacant(t, x, false)
	if err := x.Take(); err == nil || !strings.Contains(err.Error(), "exists by now") {
		t.Errorf("got %v, want that it exists", err)
	}
	os.Remove(dir)
	os.Symlink("elsewhere", dir)
	vacant(t, x, false)

	// What a killed run left goes with the next Make; another service's stays.
	os.Remove(dir)
	theirs := filepath.Join(filepath.Dir(x.Tmp), "db2~x")
	os.MkdirAll(filepath.Join(theirs, "in"), 0o700)
	closed := filepath.Join(x.Tmp, "closed")
	os.MkdirAll(filepath.Join(closed, "in"), 0o700)
	os.Chmod(closed, 0o500)
	if err := template(t, b).Make(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(x.Tmp); err == nil {
		t.Error("what a killed run left is still there")
	}
	if _, err := os.Lstat(theirs); err != nil {
		t.Errorf("another service's folder has gone: %v", err)
	}
}
