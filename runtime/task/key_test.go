package task

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"orrery/lang/graph"
	"orrery/runtime/cache"
)

// world is all that a key depends on, as data.
type world struct {
	files   map[string]string // path -> content; "->x": a link; "/": a folder
	exec    map[string]bool
	env     map[string]string
	argv    []string
	cwd     string
	keys    []string
	outs    []string
	values  []string
	program string
}

func (w world) clone() world {
	w.files, w.exec, w.env = maps.Clone(w.files), maps.Clone(w.exec), maps.Clone(w.env)
	w.argv, w.keys, w.outs, w.values = slices.Clone(w.argv), slices.Clone(w.keys), slices.Clone(w.outs), slices.Clone(w.values)
	return w
}

// key builds the world in a new folder and gives the lines.
func (w world) key(t *rapid.T, base string) (string, []string) {
	root, err := os.MkdirTemp(base, "w")
	if err != nil {
		t.Fatal(err)
	}
	must := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.MkdirAll(filepath.Join(root, "in"), 0o755))
	must(os.MkdirAll(filepath.Join(root, "bin"), 0o755))
	must(os.WriteFile(filepath.Join(root, "bin/prog"), []byte(w.program), 0o755))
	for name, text := range w.files {
		p := filepath.Join(root, "in", name)
		must(os.MkdirAll(filepath.Dir(p), 0o755))
		to, link := strings.CutPrefix(text, "->")
		switch {
		case link:
			must(os.Symlink(to, p))
		case text == "/":
			must(os.MkdirAll(p, 0o755))
		default:
			mode := os.FileMode(0o644)
			if w.exec[name] {
				mode = 0o755
			}
			must(os.WriteFile(p, []byte(text), mode))
		}
	}
	j := &Job{Name: "t", Root: root, Dir: filepath.Join(root, w.cwd), Env: []string{"PATH=" + filepath.Join(root, "bin")}, Steps: []Step{{Argv: append([]string{"prog"}, w.argv...)}}, Values: w.values}
	for _, o := range w.outs {
		j.Outputs = append(j.Outputs, Output{Name: o, Path: filepath.Join(root, o)})
	}
	k := &KeyInput{Inputs: []Input{{Path: filepath.Join(root, "in")}}, CacheKey: w.keys}
	for name, v := range w.env {
		k.Env = append(k.Env, Var{Key: name, Value: v, Origin: "env"})
	}
	k.Env = append(k.Env, Var{Key: "HOME", Value: root, Origin: "caller"}, Var{Key: "PWD", Value: root, Origin: "cwd"})
	c := &Caching{}
	key, lines, err := c.Lines(j, k)
	must(err)
	again, _, err := c.Lines(j, k)
	must(err)
	if again != key {
		t.Fatalf("two looks at the same give two keys")
	}
	return key, lines
}

func name(t *rapid.T) string {
	return rapid.SampledFrom([]string{"a", "b", "sub/c", "sub/d", "with space", "q\"uote", "new\nline", "b\xffyte", ".dot", "x=y", "ünï"}).Draw(t, "name")
}

func text(t *rapid.T) string {
	return rapid.SampledFrom([]string{"", "1", "2", "a b", "a", "b", "\n", "\"", "\\", "a\" \"b", "\xff", "line1\nenv B 2", "missing", "from x"}).Draw(t, "text")
}

func drawWorld(t *rapid.T) world {
	w := world{files: map[string]string{}, exec: map[string]bool{}, env: map[string]string{}, program: text(t), cwd: rapid.SampledFrom([]string{".", "in"}).Draw(t, "cwd")}
	for range rapid.IntRange(0, 4).Draw(t, "files") {
		n := name(t)
		w.files[n] = rapid.SampledFrom([]string{"", "1", "2", "->a", "->nowhere", "/"}).Draw(t, "content")
		w.exec[n] = w.files[n] == "1" && rapid.Bool().Draw(t, "exec")
	}
	for range rapid.IntRange(0, 3).Draw(t, "vars") {
		w.env[rapid.SampledFrom([]string{"A", "B", "C D"}).Draw(t, "var")] = text(t)
	}
	for range rapid.IntRange(0, 3).Draw(t, "args") {
		w.argv = append(w.argv, text(t))
	}
	for range rapid.IntRange(0, 2).Draw(t, "keys") {
		w.keys = append(w.keys, text(t))
	}
	return w
}

// change makes one change; false if it made none.
func change(t *rapid.T, w *world) bool {
	switch rapid.IntRange(0, 8).Draw(t, "what") {
	case 0:
		n := name(t)
		old, ok := w.files[n]
		w.files[n] = rapid.SampledFrom([]string{"", "1", "3", "->b", "/"}).Draw(t, "new content")
		return !ok || old != w.files[n]
	case 1:
		for n, text := range w.files {
			if text == "1" {
				w.exec[n] = !w.exec[n]
				return true
			}
		}
		return false
	case 2:
		n, v := rapid.SampledFrom([]string{"A", "B", "C D"}).Draw(t, "var"), text(t)
		old, ok := w.env[n]
		w.env[n] = v
		return !ok || old != v
	case 3:
		w.argv = append(w.argv, text(t))
	case 4:
		if len(w.argv) == 0 {
			return false
		}
		w.argv = w.argv[1:]
	case 5:
		w.keys = append(w.keys, text(t))
	case 6:
		w.outs = append(w.outs, "dist")
	case 7:
		w.values = append(w.values, "v")
	case 8:
		w.program += "x"
	}
	return true
}

// TestKeyLaw: the same world has the same key wherever it lies; any one change gives another, and Explain names it.
func TestKeyLaw(t *testing.T) {
	base := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		w := drawWorld(t)
		key, lines := w.key(t, base)
		if again, lines2 := w.key(t, base); again != key || len(Explain(lines, lines2)) > 0 {
			t.Fatalf("the same world in another place has another key:\n%v\n%v", lines, lines2)
		}
		other := w.clone()
		if !change(t, &other) {
			return
		}
		key2, lines2 := other.key(t, base)
		diff := Explain(lines, lines2)
		if key2 == key || len(diff) == 0 {
			t.Fatalf("a change is not in the key: %+v, %+v, %v", w, other, diff)
		}
		for _, c := range diff {
			if c.String() == "" {
				t.Fatal("a change without words")
			}
		}
	})
}

// TestRestoreLaw: whatever a task made comes back, whatever was done to it meanwhile; and then there is nothing to do.
func TestRestoreLaw(t *testing.T) {
	s := cacheIn(t)
	base := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		root, err := os.MkdirTemp(base, "r")
		if err != nil {
			t.Fatal(err)
		}
		o, err := openOutputs(&Job{Root: root, Outputs: []Output{{Name: "d", Path: "d"}}})
		if err != nil {
			t.Fatal(err)
		}
		defer o.close()
		scatter(t, filepath.Join(root, "d"))
		want, err := o.entries(func(n node) (cache.Blob, error) {
			f, err := o.root.Open(n.rel)
			if err != nil {
				return cache.Blob{}, err
			}
			defer f.Close()
			return s.Add(t.Context(), f)
		})
		if err != nil {
			t.Fatal(err)
		}
		before := treeOf(t, filepath.Join(root, "d"))
		if rapid.Bool().Draw(t, "wipe") {
			o.discard("d")
		}
		scatter(t, filepath.Join(root, "d"))
		for _, empty := range []bool{false, true} {
			p, err := o.compare(want, nil)
			if err != nil {
				t.Fatal(err)
			}
			if empty && !p.empty() {
				t.Fatalf("there is still something to do: %+v", p)
			}
			if err := p.apply(t.Context(), s); err != nil {
				t.Fatal(err)
			}
		}
		if after := treeOf(t, filepath.Join(root, "d")); !maps.Equal(before, after) {
			t.Fatalf("got %v, want %v", after, before)
		}
	})
}

// scatter puts things into a folder, over what is there.
func scatter(t *rapid.T, dir string) {
	os.MkdirAll(dir, 0o755)
	for range rapid.IntRange(0, 6).Draw(t, "things") {
		p := filepath.Join(dir, rapid.SampledFrom([]string{"a", "a/b", "a/b/c", "b", "c/d", ".e", "f\xff", "s p"}).Draw(t, "place"))
		os.MkdirAll(filepath.Dir(p), 0o755)
		mode := os.FileMode(rapid.SampledFrom([]int{0o644, 0o600, 0o755, 0o444}).Draw(t, "mode"))
		switch rapid.IntRange(0, 4).Draw(t, "kind") {
		case 0:
			os.Mkdir(p, mode|0o100)
		case 1:
			os.Symlink(rapid.SampledFrom([]string{"a", "..", "/etc/passwd", "none"}).Draw(t, "to"), p)
		case 2:
			os.RemoveAll(p)
		default:
			if fi, err := os.Lstat(p); err != nil || fi.Mode().IsRegular() { // not through a link
				os.WriteFile(p, []byte(rapid.SampledFrom([]string{"", "1", "2"}).Draw(t, "content")), mode)
				os.Chmod(p, mode)
			}
		}
	}
}

func TestExplain(t *testing.T) {
	old := []string{"orrery-task 1", "platform linux/amd64", "command 1 go build -o bin/shop", "env A 1", "env GONE x", "secret S aa", "program go file 11",
		"input a.go file 11", "input b.go file 22", "input run.sh file 33", "input \"a b\" file 1", "upstream gen/x file 1 from gen.code", "output bin bin/shop", "value v", "input dir dir"}
	now := []string{"orrery-task 1", "platform linux/amd64", "command 1 go build -race -o bin/shop", "env A 2", "env NEW \"\"", "secret S bb", "program go file 12",
		"input b.go file 23", "input c.go file 1", "input run.sh exec 33", "input \"a b\" missing", "upstream gen/x file 2 from gen.code", "output bin bin/shop", "value v", "value w", "input dir file 7"}
	var got []string
	for _, c := range Explain(old, now) {
		got = append(got, c.String())
	}
	want := []string{"the command: go build -o bin/shop, now go build -race -o bin/shop", "variable A: 1, now 2", "variable NEW is new", "variable S changed", "program go changed",
		"input b.go changed", "input c.go is new", "input run.sh may be run now", "input a b is gone", "gen/x of gen.code changed", "value w is new",
		"input dir was a dir, now a file", "variable GONE is gone", "input a.go is gone"}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if Explain(nil, now) != nil || len(Explain(now, now)) != 0 {
		t.Error("there is nothing to tell")
	}
	long := strings.Repeat("ä", 100)
	c := Change{Kind: "env", Name: "X", Old: long + "1" + long, New: long + "2" + long}
	if s := c.String(); len(s) > 220 || !strings.Contains(s, "1ä") || !strings.Contains(s, "2ä") {
		t.Errorf("got %q", s)
	}
}

func FuzzExplain(f *testing.F) {
	f.Add("env A 1\nenv B", "env A 2\n\ninput \"x")
	f.Fuzz(func(t *testing.T, a, b string) {
		for _, c := range Explain(strings.Split(a, "\n"), strings.Split(b, "\n")) {
			_ = c.String()
		}
	})
}

func TestGlob(t *testing.T) {
	root := t.TempDir()
	for _, f := range []string{"a.c", "src/a.c", "src/x/b.c", "src/x/.h.c", ".git/a.c", "src/.hid/c.c", "node_modules/m/a.c", "w[1].c", "src/a.h"} {
		p := filepath.Join(root, f)
		os.MkdirAll(filepath.Dir(p), 0o755)
		os.WriteFile(p, nil, 0o644)
	}
	os.Symlink("src", filepath.Join(root, "link"))
	for _, c := range []struct {
		in, ex string
		want   string
	}{
		{"*.c", "", "a.c w[1].c"},
		{"**/*.c", "node_modules/**", "a.c src/a.c src/x/b.c w[1].c"},
		{"**/*.c", "**/x/**", "a.c node_modules/m/a.c src/a.c w[1].c"},
		{"src/*", "", "src/a.c src/a.h"},
		{"./src/*.{c,h}", "", "src/a.c src/a.h"},
		{"src/{x/b,a}.c", "", "src/a.c src/x/b.c"},
		{"src/**/.*", "", "src/x/.h.c"},
		{"src/.hid/*.c", "", "src/.hid/c.c"},
		{"**/.hid/**", "", "src/.hid/c.c"},
		{"src/a.c", "", "src/a.c"},
		{"src/a.c", "src/*.c", ""},
		{`w\[1\].c`, "", "w[1].c"},
		{"nowhere/**", "", ""},
		{"link/*", "", "link/a.c link/a.h"},
		{"*", "", "a.c link w[1].c"},
		{"**", "**/*.c", "link src/a.h"},
	} {
		p := &graph.Pattern{Include: []string{c.in}}
		if c.ex != "" {
			p.Exclude = []string{c.ex}
		}
		got, err := glob(root, p, nil)
		if err != nil || strings.Join(got, " ") != c.want {
			t.Errorf("%s without %s: got %q, %v, want %q", c.in, c.ex, got, err, c.want)
		}
	}
	if _, err := glob(root, &graph.Pattern{Include: []string{"[a"}}, nil); err == nil {
		t.Error("a broken pattern is taken")
	}
}

func TestFileHashes(t *testing.T) {
	dir := t.TempDir()
	f := filepath.Join(dir, "f")
	memo := filepath.Join(dir, "x/memo")
	look := func(h *FileHashes) string {
		t.Helper()
		fi, err := os.Lstat(f)
		if err != nil {
			t.Fatal(err)
		}
		sum, err := h.file(f, fi)
		if err != nil {
			t.Fatal(err)
		}
		return sum
	}
	known := func(h *FileHashes) bool {
		fi, err := os.Lstat(f)
		if err != nil {
			t.Fatal(err)
		}
		_, ok := h.get(identOf(fi))
		return ok
	}
	written := time.Now()
	os.WriteFile(f, []byte("1"), 0o644)
	h := &FileHashes{Path: memo}
	one := look(h)
	young := time.Since(written) < tick // on a busy machine it may have aged by now
	if fi, _ := os.Lstat(f); !identOf(fi).sure {
		t.Skip("the state of files is not known for sure here")
	}
	if one != hashText("1") || young && known(h) {
		t.Error("a file as young as the clock's tick is remembered")
	}
	for !known(h) { // until it has aged: the clock is all that it takes
		look(h)
		time.Sleep(5 * time.Millisecond)
	}
	if err := h.Save(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !known(&FileHashes{Path: memo}) {
		t.Error("it was not kept")
	}
	// The same size and mtime: the change shows all the same.
	fi, _ := os.Lstat(f)
	os.WriteFile(f, []byte("2"), 0o644)
	os.Chtimes(f, fi.ModTime(), fi.ModTime())
	if got := look(h); got != hashText("2") {
		t.Error("a change is not seen")
	}
	// Two processes keep what both know.
	a, b := &FileHashes{Path: memo}, &FileHashes{Path: memo}
	var sum [32]byte
	for i, h := range []*FileHashes{a, b} {
		h.put(ident{dev: 9, ino: uint64(i), sure: true}, sum)
	}
	if err := a.Save(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := b.Save(t.Context()); err != nil {
		t.Fatal(err)
	}
	c := &FileHashes{Path: memo}
	for i := range 2 {
		if _, ok := c.get(ident{dev: 9, ino: uint64(i), sure: true}); !ok {
			t.Errorf("entry %d is lost", i)
		}
	}
	// Of a torn file only whole blocks are believed, at any length and with any bit.
	text, err := os.ReadFile(memo)
	if err != nil {
		t.Fatal(err)
	}
	right, good := decodeHashes(text)
	if len(right) != 3 || good != len(text) {
		t.Errorf("got %d entries in %d of %d bytes", len(right), good, len(text))
	}
	for n := range text {
		torn := slices.Clone(text)
		torn[n] ^= 4
		for _, text := range [][]byte{text[:n], torn} {
			got, good := decodeHashes(text)
			if good > n {
				t.Fatalf("believed %d bytes of a file that is bad at %d", good, n)
			}
			for i, e := range got {
				if right[i] != e {
					t.Fatalf("a file that is bad at byte %d gave %v", n, e)
				}
			}
		}
	}
	// What is torn is written anew, together with what is new.
	os.WriteFile(memo, text[:len(text)-1], 0o600)
	d := &FileHashes{Path: memo}
	d.put(ident{dev: 9, ino: 7, sure: true}, sum)
	if err := d.Save(t.Context()); err != nil {
		t.Fatal(err)
	}
	text, _ = os.ReadFile(memo)
	if m, good := decodeHashes(text); good != len(text) || len(m) < 2 {
		t.Errorf("got %d entries in %d of %d bytes", len(m), good, len(text))
	}
	// What nobody used for long goes.
	c.known[inode{9, 0}] = hashed{day: today() - forget - 1}
	c.note(inode{9, 1}, c.known[inode{9, 1}])
	os.Remove(memo)
	if err := c.Save(t.Context()); err != nil {
		t.Fatal(err)
	}
	text, _ = os.ReadFile(memo)
	if m, _ := decodeHashes(text); len(m) != 2 {
		t.Errorf("an old entry is kept: %d", len(m))
	}
}

// TestHashesAppend: many runs that each learn a little do not write everything each time, and the file does not grow without end.
func TestHashesAppend(t *testing.T) {
	memo := filepath.Join(t.TempDir(), "memo")
	var sum [32]byte
	size := func() int64 {
		fi, err := os.Stat(memo)
		if err != nil {
			t.Fatal(err)
		}
		return fi.Size()
	}
	first := &FileHashes{Path: memo}
	for i := range 10_000 {
		first.put(ident{dev: 1, ino: uint64(i), sure: true}, sum)
	}
	if err := first.Save(t.Context()); err != nil {
		t.Fatal(err)
	}
	base, most := size(), int64(0)
	for run := range 250 {
		h := &FileHashes{Path: memo}
		for i := range 100 {
			h.put(ident{dev: 1, ino: uint64(i), mtime: int64(run + 1), sure: true}, sum)
		}
		if err := h.Save(t.Context()); err != nil {
			t.Fatal(err)
		}
		most = max(most, size())
	}
	if most > 2*base+compactFrom || size() == base {
		t.Errorf("the file grew to %d bytes from %d", most, base)
	}
	last := &FileHashes{Path: memo, asked: true} // nothing may be read instead
	if _, ok := last.get(ident{dev: 1, ino: 5, mtime: 250, sure: true}); !ok {
		t.Error("the newest entry is lost")
	}
}

// BenchmarkUnchanged is a task of 10,000 files, of which none has changed: with what the process knows already, and as a new process.
func BenchmarkUnchanged(b *testing.B) {
	p := checkout(b, cacheIn(b), "cat src/*/0 >out", "out")
	for i := range 10000 {
		p.write(fmt.Sprintf("src/%d/%d", i/100, i%100), strings.Repeat("x", i%4000))
	}
	p.in.Inputs = []Input{{Pattern: &graph.Pattern{Include: []string{"src/**"}}}}
	time.Sleep(2 * tick) // files as young as the tick are not remembered
	p.clean(false)
	time.Sleep(2 * tick) // so are those that the run made
	p.clean(true)
	if err := p.job.Hashes.Save(b.Context()); err != nil {
		b.Fatal(err)
	}
	b.Run("warm", func(b *testing.B) {
		for b.Loop() {
			p.clean(true)
		}
	})
	b.Run("new", func(b *testing.B) {
		for b.Loop() {
			p.job.Hashes = &FileHashes{Path: p.job.Hashes.Path}
			p.clean(true)
		}
	})
	b.Run("stats", func(b *testing.B) { // the floor: listing and looking at each
		for b.Loop() {
			filepath.WalkDir(p.path("src"), func(_ string, d os.DirEntry, _ error) error {
				_, err := d.Info()
				return err
			})
		}
	})
	b.Run("first", func(b *testing.B) {
		for b.Loop() {
			p.job.Hashes = &FileHashes{}
			p.clean(true)
		}
	})
}
