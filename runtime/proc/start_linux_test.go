package proc

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// hostile are arguments that shells, unit files and JSON like to break.
func hostile() []string {
	return []string{"", " ", "  a  b ", "$HOME", "${HOME}", "$$", "%n", "%%", ";", `\;`, "a\nb", "\n", "\t", `"`, "'", "`id`", "-", "--", "-@+", "@x", "+x", "!x",
		"ünïcödé ✓ 漢字", "\x1b[31mred", "\x7f", `\`, `\\n`, "\xff\xfe not UTF-8", "*", "~", "a=b", strings.Repeat("x", 5000)}
}

func TestArgumentsByteForByte(t *testing.T) {
	every(t, func(t *testing.T, way func(*Spec) *Spec) {
		want := hostile()
		out, e := run(t, way(&Spec{Argv: append([]string{"sh", "-c", `printf '%s\0' "$@"`, "sh"}, want...)}))
		if !e.Ok() {
			t.Fatal(e)
		}
		if got := strings.Split(strings.TrimSuffix(out, "\x00"), "\x00"); !slices.Equal(got, want) {
			t.Errorf("got %q", got)
		}
	})
}

func TestArgv0(t *testing.T) {
	every(t, func(t *testing.T, way func(*Spec) *Spec) {
		out, _ := run(t, way(&Spec{Argv: []string{"sh", "-c", `tr '\0' ' ' </proc/$$/cmdline | cut -d' ' -f1`}, Argv0: "-other\x80"}))
		if out != "-other\x80\n" {
			t.Errorf("got %q", out)
		}
	})
}

func TestEnvironment(t *testing.T) {
	every(t, func(t *testing.T, way func(*Spec) *Spec) {
		out, _ := run(t, way(&Spec{Argv: []string{"/usr/bin/env", "-0"}, Marker: "m/x", Notify: "/run/n", Env: []string{
			"Z=1", "A=first", "M=a\nb\xff", "A=last", "GODEBUG=inittrace=1", "LISTEN_FDS=3", "LISTEN_PID=1", "WATCHDOG_USEC=5", "WATCHDOG_PID=1", "NOTIFY_SOCKET=/outer", "ORRERY_ID=outer", "noequals", "E="}}))
		want := []string{"Z=1", "M=a\nb\xff", "A=last", "GODEBUG=inittrace=1", "noequals", "E=", "ORRERY_ID=m/x", "NOTIFY_SOCKET=/run/n"}
		if got := strings.Split(strings.TrimSuffix(out, "\x00"), "\x00"); !slices.Equal(got, want) {
			t.Errorf("got %q\nwant %q", got, want)
		}
	})
}

func TestOuterMarkerIsKept(t *testing.T) {
	out, _ := run(t, &Spec{Argv: []string{"sh", "-c", "echo $ORRERY_ID"}, Env: env("ORRERY_ID=outer")})
	if out != "outer\n" {
		t.Errorf("got %q", out)
	}
}

func TestDirectoryAndRelativeProgram(t *testing.T) {
	every(t, func(t *testing.T, way func(*Spec) *Spec) {
		script := write(t, "prog", "#!/bin/sh\necho $0; pwd -P\n", 0o755)
		dir, err := filepath.EvalSymlinks(filepath.Dir(script))
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range []*Spec{{Argv: []string{"./prog"}, Dir: dir}, {Argv: []string{"prog"}, Dir: dir, Env: []string{"PATH=/nowhere::/bin:/usr/bin"}}} {
			if out, e := run(t, way(s)); out != "./prog\n"+dir+"\n" {
				t.Errorf("got %q, %v", out, e)
			}
		}
	})
}

func TestPathOfTheEnvironmentCounts(t *testing.T) {
	script := write(t, "only-here", "#!/bin/sh\necho found\n", 0o755)
	if out, _ := run(t, &Spec{Argv: []string{"only-here"}, Env: []string{"PATH=/nowhere:" + filepath.Dir(script) + ":/bin"}}); out != "found\n" {
		t.Errorf("got %q", out)
	}
}

func TestStartErrors(t *testing.T) {
	every(t, func(t *testing.T, way func(*Spec) *Spec) {
		plain := write(t, "plain", "hello\n", 0o644)
		noHeader := write(t, "noheader", "echo hi\n", 0o755)
		badInterp := write(t, "interp", "#!/no/such/interpreter -x\n", 0o755)
		dos := write(t, "dos", "#!/bin/sh\r\necho\r\n", 0o755)
		rows := []struct {
			name string
			spec Spec
			op   string
			is   error
			text string
		}{
			{"missing", Spec{Argv: []string{"no-such-prog"}, Env: []string{"PATH=/a:/b/c"}}, "find", fs.ErrNotExist, `cannot find the program "no-such-prog" in /a, /b/c`},
			{"missing with slash", Spec{Argv: []string{"/no/such/prog"}}, "find", fs.ErrNotExist, `cannot find the program "/no/such/prog": no such file`},
			{"empty name", Spec{Argv: []string{""}}, "find", fs.ErrNotExist, `""`},
			{"no argv", Spec{}, "argv", nil, "want at least the program"},
			{"not executable", Spec{Argv: []string{plain}}, "run", fs.ErrPermission, "chmod +x"},
			{"not executable on the path", Spec{Argv: []string{"plain"}, Env: []string{"PATH=" + filepath.Dir(plain)}}, "run", fs.ErrPermission, plain},
			{"a directory", Spec{Argv: []string{"/etc"}}, "run", fs.ErrPermission, "/etc"},
			{"no first line", Spec{Argv: []string{noHeader}}, "run", syscall.ENOEXEC, "#!"},
			{"no interpreter", Spec{Argv: []string{badInterp}}, "run", fs.ErrNotExist, `its interpreter "/no/such/interpreter" does not exist`},
			{"carriage return", Spec{Argv: []string{dos}}, "run", fs.ErrNotExist, `its interpreter "/bin/sh\r" does not exist`},
			{"no directory", Spec{Argv: []string{"true"}, Dir: "/no/such/dir"}, "enter", fs.ErrNotExist, `cannot enter the directory "/no/such/dir"`},
			{"directory is a file", Spec{Argv: []string{"true"}, Dir: plain}, "enter", syscall.ENOTDIR, "not a directory"},
			{"both missing", Spec{Argv: []string{"./x"}, Dir: "/no/such/dir"}, "enter", fs.ErrNotExist, "directory"},
			{"nul", Spec{Argv: []string{"true", "a\x00b"}}, "argv", nil, "NUL"},
			{"nul in env", Spec{Argv: []string{"true"}, Env: []string{"A=\x00"}}, "env", nil, `env "A"`},
			{"too long", Spec{Argv: []string{"/bin/true", strings.Repeat("x", 1<<18)}}, "run", syscall.E2BIG, "too long"},
			{"no user", Spec{Argv: []string{"true"}, User: "no-such-user"}, "user", nil, "no-such-user"},
			{"ready without file", Spec{Argv: []string{"true"}, ReadyFD: 5}, "ready", nil, "no file"},
			{"ready too low", Spec{Argv: []string{"true"}, ReadyFD: 2, ReadyFile: os.Stderr}, "ready", nil, "want 3"},
			{"tty and stdout", Spec{Argv: []string{"true"}, TTY: true, Stdout: os.Stderr}, "tty", nil, "takes the place"},
			{"bad fd name", Spec{Argv: []string{"true"}, Listen: []Listener{{Name: "a:b", File: os.Stderr}}}, "listen", nil, "colon"},
		}
		before := fdCount(t)
		for _, r := range rows {
			t.Run(r.name, func(t *testing.T) {
				e := startErr(t, way(&r.spec))
				if e.Op != r.op || r.is != nil && !errors.Is(e, r.is) || !strings.Contains(e.Error(), r.text) {
					t.Errorf("got %s: %v", e.Op, e)
				}
				b, err := json.Marshal(e)
				var back StartError
				if err != nil || json.Unmarshal(b, &back) != nil || back.Error() != e.Error() || r.is != nil && !errors.Is(&back, r.is) {
					t.Errorf("JSON %s gives %v, %v", b, &back, err)
				}
			})
		}
		if now := fdCount(t); now > before {
			t.Errorf("got %d descriptors, had %d", now, before)
		}
	})
}

func TestBusyTextIsRetried(t *testing.T) {
	b, err := os.ReadFile("/bin/true")
	if err != nil {
		t.Skip(err)
	}
	small := func(s *Spec) *Spec {
		s.Limits.Memory = 64 << 20
		return s
	}
	for name, way := range map[string]func(*Spec) *Spec{"plain": func(s *Spec) *Spec { return s }, "shim": shimmed, "small": small} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "true")
			f, err := os.OpenFile(file, os.O_CREATE|os.O_WRONLY, 0o755)
			if err != nil {
				t.Fatal(err)
			}
			f.Write(b)
			time.AfterFunc(5*time.Millisecond, func() { f.Close() })
			start := Start
			if name == "small" {
				start = bare // no cgroup: an rlimit
			}
			if _, e := runBy(t, way(&Spec{Argv: []string{file}}), start); !e.Ok() {
				t.Error(e)
			}
		})
	}
}

func TestExit(t *testing.T) {
	every(t, func(t *testing.T, way func(*Spec) *Spec) {
		for script, want := range map[string]string{"exit 0": "exit 0", "exit 7": "exit 7", "exit 255": "exit 255",
			"kill -TERM $$": "killed by SIGTERM", "kill -KILL $$": "killed by SIGKILL"} {
			_, e := run(t, way(&Spec{Argv: []string{"sh", "-c", script}}))
			if e.String() != want || e.Ok() != (want == "exit 0") {
				t.Errorf("%s: got %v", script, e)
			}
			b, _ := json.Marshal(e)
			var back Exit
			if err := json.Unmarshal(b, &back); err != nil || back != e {
				t.Errorf("JSON %s gives %v, %v", b, back, err)
			}
		}
	})
}

func TestStdinIsNull(t *testing.T) {
	if out, _ := run(t, &Spec{Argv: []string{"sh", "-c", "cat; echo eof"}}); out != "eof\n" {
		t.Errorf("got %q", out)
	}
}

func TestOwnStdinClosed(t *testing.T) {
	if out := asHelper(t, "nostdin"); out != "/dev/null\n/dev/null\n" {
		t.Errorf("got %q", out)
	}
}

func TestOwnBinaryReplaced(t *testing.T) {
	b, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "orrery")
	if err := os.WriteFile(file, b, 0o755); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(file, "helper", "replaced", file).CombinedOutput()
	if string(out) != "still us\n" {
		t.Errorf("got %q, %v", out, err)
	}
}

// fds is a program that lists its own descriptors but the one that the listing takes.
var fds = []string{"python3", "-S", "-c", `
import os
print(*[n for n in sorted(map(int, os.listdir("/proc/self/fd"))) if os.path.exists("/proc/self/fd/%d" % n)])`}

func TestNoStrayDescriptors(t *testing.T) {
	need(t, "python3")
	every(t, func(t *testing.T, way func(*Spec) *Spec) {
		stray, err := syscall.Open("/dev/null", syscall.O_RDONLY, 0) // as inherited: without close-on-exec
		if err != nil {
			t.Fatal(err)
		}
		defer syscall.Close(stray)
		if out, _ := run(t, way(&Spec{Argv: fds})); out != "0 1 2\n" {
			t.Errorf("got %q", out)
		}
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		defer w.Close()
		if out, _ := run(t, way(&Spec{Argv: fds, ReadyFile: w, ReadyFD: 9})); out != "0 1 2 9\n" {
			t.Errorf("got %q", out)
		}
	})
}

func TestReadyDescriptor(t *testing.T) {
	every(t, func(t *testing.T, way func(*Spec) *Spec) {
		for fd, want := range map[int]string{0: "3", 7: "7"} {
			r, w, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			out, _ := run(t, way(&Spec{Argv: []string{"bash", "-c", `echo $ORRERY_READY_FD; echo up >&$ORRERY_READY_FD`}, ReadyFile: w, ReadyFD: fd}))
			w.Close()
			b, _ := io.ReadAll(r)
			r.Close()
			if out != want+"\n" || string(b) != "up\n" {
				t.Errorf("got %q and %q", out, b)
			}
		}
	})
}

func TestInherit(t *testing.T) {
	both(t, func(t *testing.T, way func(*Spec) *Spec) {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		out, _ := run(t, way(&Spec{Argv: []string{"sh", "-c", `ls /proc/$$/fd | sort -n | tail -2; echo x >/proc/$$/fd/61`}, Inherit: []*os.File{r, w}, InheritFD: 60}))
		w.Close()
		b, _ := io.ReadAll(r)
		if out != "60\n61\n" || string(b) != "x\n" {
			t.Errorf("got %q and %q", out, b)
		}
		var start *StartError
		if _, err := Start(way(&Spec{Argv: []string{"true"}, Inherit: []*os.File{w}, InheritFD: 60})); !errors.As(err, &start) || start.Op != "inherit" {
			t.Errorf("got %v for a closed one", err)
		}
		if _, err := Start(way(&Spec{Argv: []string{"true"}, Inherit: []*os.File{r}, InheritFD: 2})); !errors.As(err, &start) || start.Op != "inherit" {
			t.Errorf("got %v for a number that is taken", err)
		}
	})
}

func TestWatchdog(t *testing.T) {
	out, _ := run(t, &Spec{Argv: []string{"sh", "-c", `test $WATCHDOG_PID = $$ && echo $WATCHDOG_USEC`}, Watchdog: 1500 * time.Millisecond})
	if out != "1500000\n" {
		t.Errorf("got %q", out)
	}
}

func TestSignalsAreDefault(t *testing.T) {
	every(t, func(t *testing.T, way func(*Spec) *Spec) {
		out, _ := run(t, way(&Spec{Argv: []string{"grep", "-E", "^Sig(Blk|Ign)", "/proc/self/status"}}))
		if strings.Trim(strings.NewReplacer("SigBlk:", "", "SigIgn:", "").Replace(out), "0 \t\n") != "" {
			t.Errorf("got %s", out)
		}
	})
}

func TestIgnoredSignalsAreNotInherited(t *testing.T) {
	// A parent such as nohup: SIGHUP and SIGUSR1 are ignored in all below it.
	cmd := exec.Command("bash", "-c", `trap "" HUP INT; exec "$0" -test.run '^TestSignalsAreDefault$' -test.count=1`, os.Args[0])
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestPlainNeedsNoShim(t *testing.T) {
	if oddSignals() {
		t.Skip("the test itself was started with signals ignored or blocked")
	}
	if !oddStatus([]byte("Name:\tx\nSigBlk:\t0000000000000000\nSigIgn:\t0000000000000001\n")) || oddStatus([]byte("SigIgn:\t0000\nSigCgt:\tfff\n")) {
		t.Error("oddStatus is wrong")
	}
}

func TestGroups(t *testing.T) {
	p, err := Start(&Spec{Argv: []string{"sleep", "3600"}, Env: env()})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	st, err := readStat(p.Pid())
	if err != nil || st.pgrp != p.Pid() {
		t.Errorf("got group %d of pid %d, %v", st.pgrp, p.Pid(), err)
	}
	if err := p.SignalGroup(syscall.SIGINT); err != nil {
		t.Error(err)
	}
	if e := p.Wait(); e.Signal != syscall.SIGINT {
		t.Error(e)
	}
	q, err := Start(&Spec{Argv: []string{"sleep", "3600"}, Env: env(), Foreground: true})
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	if st, _ := readStat(q.Pid()); st.pgrp != syscall.Getpgrp() {
		t.Errorf("got group %d, want ours", st.pgrp)
	}
	q.SignalGroup(syscall.SIGTERM) // must not reach us
	if e := q.Wait(); e.Signal != syscall.SIGTERM {
		t.Error(e)
	}
}

func TestTTY(t *testing.T) {
	every(t, func(t *testing.T, way func(*Spec) *Spec) {
		p, err := Start(way(&Spec{Argv: []string{"sh", "-c", `test -t 0 && test -t 1 && test -t 2 && echo yes >/dev/tty; read x; echo "got $x"`}, Env: env(), TTY: true}))
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		defer p.TTY().Close()
		if st, _ := readStat(p.Pid()); st.sid != p.Pid() {
			t.Errorf("got session %d", st.sid)
		}
		p.TTY().WriteString("word\n")
		var all bytes.Buffer
		io.Copy(&all, p.TTY()) // ends with EIO
		if e := p.Wait(); !e.Ok() || !strings.Contains(all.String(), "yes\r\n") || !strings.Contains(all.String(), "got word\r\n") {
			t.Errorf("got %v, %q", e, all.String())
		}
	})
}

func TestManyAtOnceLeaveNoDescriptor(t *testing.T) {
	run(t, shimmed(&Spec{Argv: []string{"true"}})) // the poller opens its own at first use
	before := fdCount(t)
	var wg sync.WaitGroup
	for w := range 2 {
		wg.Go(func() {
			for i := range 200 {
				s := &Spec{Argv: []string{"/bin/sh", "-c", "exit " + strconv.Itoa(i%7)}, Env: env()}
				if w == 0 && i%8 == 0 {
					s.Watchdog = time.Second
				}
				if i%10 == 9 {
					s.Argv = []string{"/no/such/program"}
				}
				p, err := Start(s)
				if err != nil {
					if i%10 != 9 {
						t.Error(err)
					}
					continue
				}
				if e := p.Wait(); e.Code != i%7 || e.Err != nil {
					t.Errorf("got %v, want exit %d", e, i%7)
				}
				p.Close()
			}
		})
	}
	wg.Wait()
	if now := fdCount(t); now > before {
		t.Errorf("got %d descriptors, had %d", now, before)
	}
}

func TestWaitNeedsNoThread(t *testing.T) {
	threads := func() int {
		ents, _ := os.ReadDir("/proc/self/task")
		return len(ents)
	}
	before := threads()
	var ps []*Process
	var wg sync.WaitGroup
	for range 40 {
		p, err := Start(&Spec{Argv: []string{"sleep", "3600"}, Env: env()})
		if err != nil {
			t.Fatal(err)
		}
		ps = append(ps, p)
		wg.Go(func() { p.Wait() })
	}
	if n := threads(); n > before+20 {
		t.Errorf("got %d threads for 40 waits, had %d", n, before)
	}
	for _, p := range ps {
		p.Signal(syscall.SIGKILL)
	}
	wg.Wait()
	for _, p := range ps {
		if err := p.Signal(syscall.SIGKILL); !errors.Is(err, os.ErrProcessDone) {
			t.Errorf("got %v for a signal after the end", err)
		}
		p.Close()
		if err := p.Signal(syscall.SIGKILL); !errors.Is(err, os.ErrProcessDone) {
			t.Errorf("got %v for a signal after Close", err)
		}
	}
}

func BenchmarkStart(b *testing.B) {
	for _, way := range []string{"plain", "shim", "namespace"} {
		b.Run(way, func(b *testing.B) {
			for b.Loop() {
				s := &Spec{Argv: []string{"/bin/true"}, Env: env(), PidNamespace: way == "namespace"}
				if way == "shim" {
					s.Watchdog = time.Second
				}
				p, err := Start(s)
				if err != nil {
					b.Fatal(err)
				}
				p.Wait()
				p.Close()
			}
		})
	}
}

func BenchmarkKillTree(b *testing.B) {
	for b.Loop() {
		p, err := Start(&Spec{Argv: []string{"sleep", "3600"}, Env: env(), Marker: "bench/" + strconv.Itoa(os.Getpid())})
		if err != nil {
			b.Fatal(err)
		}
		if err := p.KillTree(b.Context()); err != nil {
			b.Fatal(err)
		}
		p.Wait()
		p.Close()
	}
}
