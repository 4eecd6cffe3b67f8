package cache

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// faults makes the nth operation fail, or all from the nth on, as if the process had been killed before it.
type faults struct {
	mu    sync.Mutex
	n, at int64
	dead  bool
	ops   []string
}

func (f *faults) hook(op string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.n++
	n := f.n
	if f.at == 0 {
		f.ops = append(f.ops, op)
	}
	if n == f.at || f.dead && n > f.at && f.at > 0 {
		return syscall.EIO
	}
	return nil
}

// TestEveryOperation fails each operation of put and get once, and kills before each. What is reopened is clean: the old results are
// there, the new one is whole or not there, nothing is torn.
func TestEveryOperation(t *testing.T) {
	for _, what := range []string{"put", "get", "replace"} {
		for _, dead := range []bool{false, true} {
			count := &faults{}
			attempt(t, what, count)
			if len(count.ops) < 5 {
				t.Fatalf("got %v", count.ops)
			}
			for at := range count.ops {
				attempt(t, what, &faults{at: int64(at + 1), dead: dead})
			}
			t.Logf("%s, dead %v: %d operations, each failed once, 0 torn", what, dead, len(count.ops))
		}
	}
}

func attempt(t *testing.T, what string, f *faults) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "c")
	old := openAt(t, dir, Options{})
	mustPut(t, old, 1)
	if what == "replace" {
		mustPut(t, old, 2)
	}
	s := openAt(t, dir, Options{fault: f.hook})
	var err error
	switch what {
	case "get":
		var hit bool
		if hit, err = get(t, t.Context(), s, 1); f.at == 0 && (err != nil || !hit) {
			t.Fatalf("got %v, %v", hit, err)
		}
	default:
		err = put(t.Context(), s, 2)
	}
	var off *UnavailableError
	if err != nil && !errors.As(err, &off) {
		t.Errorf("%s, operation %d: got %v, want one that says the cache cannot be used", what, f.at, err)
	}
	s.Close()
	again := openAt(t, dir, Options{})
	wantHit(t, again, 1, true)
	hit, gerr := get(t, t.Context(), again, 2)
	if gerr != nil || err == nil && what != "get" && !hit || what == "replace" && !hit {
		t.Errorf("%s, operation %d (dead %v): put says %v, get %v, %v", what, f.at, f.dead, err, hit, gerr)
	}
	if rep, err := again.Verify(t.Context()); err != nil || len(rep.Bad) > 0 {
		t.Errorf("%s, operation %d: got %v, %v", what, f.at, rep.Bad, err)
	}
	if left := all(t, filepath.Join(dir, "v1", tmpDir)); len(left) > 1 || len(left) == 1 && f.at == 0 {
		t.Errorf("%s, operation %d: %v is left", what, f.at, left)
	}
}

// TestKilled kills processes that put and get in one cache, at any instant, and looks at what is left.
func TestKilled(t *testing.T) {
	if dir := os.Getenv("ORRERY_TEST_CACHE"); dir != "" {
		s := openAt(t, dir, Options{})
		for n := 0; ; n++ {
			unlock, err := s.Lock(t.Context(), keyOf(n%7))
			if err != nil {
				t.Fatal(err)
			}
			mustPut(t, s, n%7)
			wantHit(t, s, n%7, true)
			unlock()
		}
	}
	dir := filepath.Join(t.TempDir(), "c")
	const kills = 40
	for i := range kills {
		var all []*exec.Cmd
		for range 2 {
			c := exec.Command(os.Args[0], "-test.run=^TestKilled$")
			c.Env = append(os.Environ(), "ORRERY_TEST_CACHE="+dir)
			if err := c.Start(); err != nil {
				t.Fatal(err)
			}
			all = append(all, c)
		}
		time.Sleep(time.Duration(20+i) * time.Millisecond) // the instant of the kill is what varies
		for _, c := range all {
			c.Process.Kill()
			c.Wait()
		}
		if !killed(all[0]) || !killed(all[1]) {
			t.Fatal("a process ended by itself")
		}
		s := openAt(t, dir, Options{})
		for n := range 7 {
			if _, err := get(t, t.Context(), s, n); err != nil {
				t.Fatal(err)
			}
			unlock, err := s.Lock(t.Context(), keyOf(n))
			if err != nil {
				t.Fatal(err)
			}
			unlock()
		}
		if rep, err := s.Verify(t.Context()); err != nil || len(rep.Bad) > 0 {
			t.Fatalf("got %+v, %v", rep, err)
		}
	}
	t.Logf("%d kills, 0 torn, 0 lost locks", 2*kills)
}

// killed tells whether a process was killed.
func killed(cmd *exec.Cmd) bool {
	st, ok := cmd.ProcessState.Sys().(syscall.WaitStatus)
	return ok && st.Signal() == syscall.SIGKILL
}

func FuzzDecode(f *testing.F) {
	r := &Record{Key: keyOf(1), Outputs: []Entry{{Path: "a\xff", Kind: File, Mode: 0o644, Blob: Blob{keyOf(2), 3}}}, Values: map[string]string{"a": "\xfe"}}
	text, err := r.Encode()
	if err != nil {
		f.Fatal(err)
	}
	_, body, _ := strings.Cut(string(text), "\n")
	f.Add([]byte(body))
	f.Add([]byte(`{"version":1,"outputs":[{"path":["/w=="],"kind":"dir"}]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := DecodeRecord(append([]byte(sum(body)+"\n"), body...), keyOf(1))
		if err != nil {
			return
		}
		text, err := r.Encode()
		if err != nil {
			t.Fatal(err)
		}
		again, err := DecodeRecord(text, keyOf(1))
		if err != nil || !reflect.DeepEqual(r, again) {
			t.Fatalf("got %+v, %v, want %+v", again, err, r)
		}
	})
}
