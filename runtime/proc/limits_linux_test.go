package proc

import (
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func ptr[T any](v T) *T { return &v }

func TestLimits(t *testing.T) {
	out, e := runBy(t, &Spec{Argv: []string{"bash", "-c", "ulimit -n; ulimit -Hn; ulimit -c; ulimit -v; ulimit -u; umask; nice; cat /proc/self/oom_score_adj; grep NoNewPrivs /proc/self/status"},
		Limits: Limits{Nofile: 123, Core: ptr(uint64(0)), Memory: 512 << 20, Tasks: 5000, Umask: ptr(uint32(0o27)), Nice: ptr(7), OOMScoreAdj: ptr(900), NoNewPrivs: true}}, bare)
	if want := "123\n123\n0\n524288\n5000\n0027\n7\n900\nNoNewPrivs:\t1\n"; out != want {
		t.Errorf("got %q, %v\nwant %q", out, e, want)
	}
}

func TestNofileIsWhatWeWereGiven(t *testing.T) {
	// Go raised its own soft limit at start; the one that a child gets is what our own parent set.
	out, err := exec.Command("bash", "-c", `ulimit -Sn 77; exec "$0" helper nofile`, os.Args[0]).CombinedOutput()
	if string(out) != "77\n77\n77\n" {
		t.Errorf("got %q, %v", out, err)
	}
}

func TestSmallMemoryWithBigEnvironment(t *testing.T) {
	if raced {
		t.Skip("the race detector needs more memory than this in the shim itself")
	}
	var big []string
	for i := range 1000 {
		big = append(big, fmt.Sprintf("V%d=%s", i, strings.Repeat("x", 1000)))
	}
	for range 5 {
		out, e := runBy(t, &Spec{Argv: []string{"sh", "-c", "echo $V999 | wc -c"}, Env: env(big...), Limits: Limits{Memory: 32 << 20}}, bare)
		if strings.TrimSpace(out) != "1001" {
			t.Errorf("got %q, %v", out, e)
		}
	}
}

func TestStartErrorWithSmallMemory(t *testing.T) {
	for _, r := range []struct {
		argv, path, op, text string
	}{
		{"/no/such/program", "", "find", "/no/such/program"},
		{write(t, "script", "#!/no/such/interpreter\n", 0o755), "", "run", `interpreter "/no/such/interpreter"`},
		{write(t, "noheader", "x\n", 0o755), "", "run", "#!"},
	} {
		e := errBy(t, &Spec{Argv: []string{r.argv}, Limits: Limits{Memory: 1 << 20}}, bare)
		if e.Op != r.op || !strings.Contains(e.Error(), r.text) {
			t.Errorf("got %s: %v", e.Op, e)
		}
	}
}

func TestRefusedLimits(t *testing.T) {
	for _, l := range []Limits{{Nofile: 1 << 40}, {OOMScoreAdj: ptr(5000)}, {Capabilities: []string{"CAP_FLY"}}} {
		if e := startErr(t, &Spec{Argv: []string{"true"}, Limits: l}); e.Op != "limit" {
			t.Errorf("got %s: %v", e.Op, e)
		}
	}
}

// nobody is an ordinary user with a home that is not ours.
func nobody(t *testing.T) *user.User {
	t.Helper()
	needRoot(t)
	u, err := user.Lookup("nobody")
	if err != nil {
		t.Skip(err)
	}
	return u
}

func TestUser(t *testing.T) {
	u := nobody(t)
	every(t, func(t *testing.T, way func(*Spec) *Spec) {
		out, e := run(t, way(&Spec{Argv: []string{"sh", "-c", "id -u; id -g; id -G; grep CapEff /proc/self/status"}, User: "nobody"}))
		want := fmt.Sprintf("%s\n%s\n%s\nCapEff:\t0000000000000000\n", u.Uid, u.Gid, u.Gid)
		if out != want {
			t.Errorf("got %q, %v, want %q", out, e, want)
		}
		if out, _ := run(t, way(&Spec{Argv: []string{"sh", "-c", "id -u; id -g"}, User: u.Uid, Group: "daemon"})); !strings.HasPrefix(out, u.Uid+"\n1\n") {
			t.Errorf("got %q", out)
		}
		if out, _ := run(t, way(&Spec{Argv: []string{"id", "-u"}, User: "54321", Group: "54321"})); out != "54321\n" {
			t.Errorf("got %q", out)
		}
	})
}

func TestUserMayNotEnter(t *testing.T) {
	nobody(t)
	every(t, func(t *testing.T, way func(*Spec) *Spec) {
		dir := t.TempDir()
		os.Chmod(dir, 0o700)
		if e := startErr(t, way(&Spec{Argv: []string{"true"}, User: "nobody", Dir: dir})); e.Op != "enter" || e.Err != syscall.EACCES {
			t.Errorf("got %s: %v", e.Op, e)
		}
		prog := filepath.Join(dir, "prog")
		os.WriteFile(prog, []byte("#!/bin/sh\n"), 0o755)
		if e := startErr(t, way(&Spec{Argv: []string{prog}, User: "nobody"})); e.Op != "run" || e.Err != syscall.EACCES {
			t.Errorf("got %s: %v", e.Op, e)
		}
		// As execvp does: a candidate that may not be run does not hide the next one.
		if out, e := run(t, way(&Spec{Argv: []string{"true"}, User: "nobody", Env: []string{"PATH=" + dir + ":/bin"}})); !e.Ok() {
			t.Errorf("got %v, %s", e, out)
		}
	})
}

func TestUserCannotRaise(t *testing.T) {
	nobody(t)
	// Root sets what only root may set before it becomes the user.
	out, e := runBy(t, &Spec{Argv: []string{"bash", "-c", "nice; id -u; ulimit -u"}, User: "nobody", Limits: Limits{Nice: ptr(-3), Tasks: 3}}, bare)
	if !strings.HasPrefix(out, "-3\n") || !strings.HasSuffix(out, "\n3\n") {
		t.Errorf("got %q, %v", out, e)
	}
}

func TestCapabilities(t *testing.T) {
	u := nobody(t)
	show := []string{"grep", "-E", "^Cap(Inh|Prm|Eff|Bnd|Amb)", "/proc/self/status"}
	all := func(mask string) string {
		return "CapInh:\t" + mask + "\nCapPrm:\t" + mask + "\nCapEff:\t" + mask + "\nCapBnd:\t" + mask + "\nCapAmb:\t" + mask + "\n"
	}
	for _, r := range []struct {
		user string
		caps []string
		want string
	}{
		{u.Username, []string{"CAP_NET_BIND_SERVICE", "kill"}, all("0000000000000420")},
		{u.Username, []string{}, all("0000000000000000")},
		{"", []string{}, all("0000000000000000")},
	} {
		out, e := run(t, &Spec{Argv: show, User: r.user, Limits: Limits{Capabilities: r.caps, NoNewPrivs: true}})
		if out != r.want {
			t.Errorf("%v as %q: got %s %v", r.caps, r.user, out, e)
		}
	}
}
