package proc

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"
)

func TestMember(t *testing.T) {
	// The child says its pid itself: in the middle of an exec a process has no environment that could be read.
	c := exec.Command("sh", "-c", `exec 3<&0; sh -c 'echo $$; read _' <&3 & wait`)
	c.Env = append(env(), MarkerVar+"=r/a#1")
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	defer c.Wait()
	defer c.Process.Kill()
	b := make([]byte, 20)
	n, _ := out.Read(b)
	child, err := strconv.Atoi(string(b[:n-1]))
	if err != nil {
		t.Fatal(err)
	}
	id, err := Identify(child)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if p, err := Adopt(id, nil); err == nil {
			p.Signal(9)
			p.Close()
		}
	}()
	for _, row := range []struct {
		pid, root int
		marker    string
		want      bool
	}{
		{child, c.Process.Pid, "", true},
		{child, os.Getpid(), "", true},
		{child, 0, "r/a#1", true},
		{child, 0, "r/a", false},
		{child, child, "", false},
		{c.Process.Pid, child, "", false},
		{1, 0, "", false},
	} {
		if got := Member(row.pid, row.root, row.marker); got != row.want {
			t.Errorf("Member(%d, %d, %q): got %v", row.pid, row.root, row.marker, got)
		}
	}
}

func TestIdentifyGone(t *testing.T) {
	c := exec.Command("true")
	if err := c.Run(); err != nil {
		t.Fatal(err)
	}
	if _, err := Identify(c.Process.Pid); !errors.Is(err, ErrGone) {
		t.Errorf("got %v, want %v", err, ErrGone)
	}
	id, err := Identify(os.Getpid())
	if err != nil || id.Pid != os.Getpid() || id.Start == 0 {
		t.Errorf("got %+v, %v", id, err)
	}
}

// TestAlone: in a subreaper, the end of a process that left nobody behind needs no hunt; one that left somebody does.
func TestAlone(t *testing.T) {
	if out := asHelper(t, "lonely"); out != "ok\n" {
		t.Error(out)
	}
}

func lonely() int {
	var r Reaper
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	go r.Run(ctx)
	for end := time.Now().Add(10 * time.Second); !isSubreaper() && time.Now().Before(end); {
		time.Sleep(time.Millisecond) // no event: the kernel is asked
	}
	for _, row := range []struct {
		script string
		alone  bool
	}{{":", true}, {"sleep 1000 & exit 0", false}, {"setsid -f sleep 1000; exit 0", false}} {
		p, err := Start(&Spec{Argv: []string{"sh", "-c", row.script}, Env: env(), Reaper: &r})
		if err != nil {
			fmt.Println(err)
			return 1
		}
		p.Wait()
		if got := p.alone(); got != row.alone {
			fmt.Printf("%q: got alone %v\n", row.script, got)
		}
		if err := p.KillTree(ctx); err != nil {
			fmt.Println(err)
		}
		KillDescendants(ctx)
		r.Reap()
		p.Close()
	}
	fmt.Println("ok")
	return 0
}
