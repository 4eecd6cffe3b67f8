package engine

import (
	"fmt"
	"os"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"orrery/lang/graph"
)

func TestMakeFlags(t *testing.T) {
	for _, row := range []struct{ in, want, auth string }{
		{"", " -j3 --jobserver-auth=60,61", ""},
		{"ks -j8 --jobserver-auth=3,4 -- X=1", "ks -j3 --jobserver-auth=60,61 -- X=1", "3,4"},
		{" -j --jobserver-fds=3,4", " -j3 --jobserver-auth=60,61", "3,4"},
		{" -j4 --jobserver-auth=fifo:/tmp/GMfifo7 --no-print-directory", " --no-print-directory -j3 --jobserver-auth=60,61", "fifo:/tmp/GMfifo7"},
		{"j8", " -j3 --jobserver-auth=60,61", ""},
		{"-k --jobs=2", " -k -j3 --jobserver-auth=60,61", ""},
		{"-- A=-j9 --jobserver-auth=1,2", " -j3 --jobserver-auth=60,61 -- A=-j9 --jobserver-auth=1,2", ""},
	} {
		_, _, auth, _ := cutMakeFlags(row.in)
		if got := makeFlags(row.in, "60,61", 3); got != row.want || auth != row.auth {
			t.Errorf("%q: got %q and %q, want %q and %q", row.in, got, auth, row.want, row.auth)
		}
	}
	env := (&jobserver{auth: "60,61", jobs: 2}).environ([]string{"A=1", "MAKEFLAGS=k"}, nil)
	if !slices.Equal(env, []string{"A=1", "MAKEFLAGS=k -j2 --jobserver-auth=60,61"}) {
		t.Errorf("got %q", env)
	}
	if env := (&jobserver{auth: "60,61"}).environ(nil, graph.Dict[graph.Text]{{Key: "MAKEFLAGS"}}); env != nil {
		t.Errorf("got %q although the task removes MAKEFLAGS", env)
	}
}

func FuzzMakeFlags(f *testing.F) {
	f.Add("ks -j8 --jobserver-auth=3,4 -- X=1")
	f.Add("-- --")
	f.Fuzz(func(t *testing.T, s string) {
		once := makeFlags(s, "60,61", 3)
		if _, _, auth, jobs := cutMakeFlags(once); auth != "60,61" || jobs != 3 {
			t.Errorf("%q: got %q, of which %q and %d are read", s, once, auth, jobs)
		}
	})
}

// TestTokens: tokens that a make has taken are not there for tasks; one that it
// gives back starts the task that waits; those that it takes with it are made
// up for when nothing runs.
func TestTokens(t *testing.T) {
	var nodes []*graph.Node
	for _, name := range []string{"a", "b", "c", "d"} {
		nodes = append(nodes, held(name))
	}
	r := newRigWith(t, func(o *Options) { o.Jobs = 3 }, graph.Decl{Nodes: nodes})
	r.settled()
	j := r.e.tokens
	for range 2 {
		if _, ok := readToken(j.pass[0]); !ok {
			t.Fatal("got fewer than 2 tokens of 3 jobs")
		}
	}
	r.hold("a", "b", "c", "d")
	if got := r.running(); !slices.Equal(got, []string{"a"}) {
		t.Fatalf("got %v running without a token", got)
	}
	j.pass[1].Write([]byte{'x'})
	r.until("b", stateRunning)
	if got := r.running(); !slices.Equal(got, []string{"a", "b"}) {
		t.Fatalf("got %v running with one token", got)
	}
	r.finish("a", 0) // its free job goes on to c: two run, with one token
	r.until("c", stateRunning)
	for _, name := range []string{"b", "c", "d"} {
		r.finish(name, 0)
	}
	r.settle("a", "b", "c", "d")
	for { // the read that was waiting for a token ends by and by
		free, lent := 0, true
		r.e.call(func() { free, lent = tokensIn(j.get), j.lent })
		if lent {
			continue
		}
		if free != 2 {
			t.Errorf("got %d tokens when nothing runs, want 2", free)
		}
		break
	}
}

// TestJoinsMake: within a make its tokens are ours, too, and it gets them back,
// the same ones.
func TestJoinsMake(t *testing.T) {
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	outer := os.NewFile(uintptr(fds[1]), "w")
	defer outer.Close()
	defer unix.Close(fds[0])
	outer.Write([]byte("yz"))
	var nodes []*graph.Node
	for i := range 4 {
		nodes = append(nodes, held(fmt.Sprint("t", i)))
	}
	for _, how := range []string{"descriptors", "fifo"} {
		auth := fmt.Sprintf("%d,%d", fds[0], fds[1])
		keep := outer
		if how == "fifo" {
			path := t.TempDir() + "/fifo"
			if err := unix.Mkfifo(path, 0o600); err != nil {
				t.Fatal(err)
			}
			f, err := os.OpenFile(path, os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			f.Write([]byte("yz"))
			auth, keep = "fifo:"+path, f
		}
		r := newRigWith(t, func(o *Options) { o.Jobs, o.MakeFlags = 0, "-j3 --jobserver-auth="+auth }, graph.Decl{Nodes: nodes})
		r.hold("t0", "t1", "t2", "t3")
		if got := r.running(); len(got) != 3 {
			t.Errorf("%s: got %v running of 3 jobs", how, got)
		}
		for i := range 4 {
			r.finish(fmt.Sprint("t", i), 0)
		}
		r.settle("t0", "t1", "t2", "t3")
		var left int
		for left < 2 {
			r.e.call(func() { left = tokensIn(keep) })
		}
		b := make([]byte, 3)
		n := 0
		if how == "fifo" {
			n, _ = keep.Read(b)
			keep.Write(b[:n])
		} else {
			n, _ = unix.Read(fds[0], b)
			outer.Write(b[:n])
		}
		if slices.Sort(b[:n]); string(b[:n]) != "yz" {
			t.Errorf("%s: got the tokens %q back, want yz", how, b[:n])
		}
	}
}

// TestJoinsNoStranger: descriptors of the numbers that MAKEFLAGS names need not
// be those of make.
func TestJoinsNoStranger(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	r2, w2, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range []*os.File{r, w, r2, w2} {
		defer f.Close()
	}
	for _, auth := range []string{"", "3", "-2,-2", "900,901", "fifo:/no/such", "fifo:/etc/passwd", fmt.Sprintf("%d,%d", r.Fd(), w2.Fd()), fmt.Sprintf("%d,%d", w.Fd(), r.Fd())} {
		if j := joinJobserver(auth); j != nil {
			t.Errorf("joined %q", auth)
		}
	}
}

// TestTooManyJobs: a pipe does not hold that many tokens.
func TestTooManyJobs(t *testing.T) {
	if j := newJobserver(Scheduling{Jobs: mostTokens + 1}); j != nil {
		t.Error("got a jobserver")
	}
	var none *jobserver
	if !none.take(5, nil) || none.outer() != 0 || none.files() != nil || len(none.environ([]string{"A=1"}, nil)) != 1 {
		t.Error("a nil one is not harmless")
	}
	none.balance(0)
	none.close()
}
