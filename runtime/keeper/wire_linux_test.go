package keeper

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"reflect"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"orrery/runtime/proc"
	"orrery/runtime/sandbox"
)

// A spec arrives as it was sent, byte for byte.
func TestSpecOnTheWire(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.Custom(func(t *rapid.T) string { return string(rapid.SliceOfN(rapid.Byte(), 0, 9).Draw(t, "bytes")) })
		file := rapid.SampledFrom([]*os.File{nil, os.Stdin, os.Stdout})
		umask := uint32(0o22)
		s := &proc.Spec{
			Name: text.Draw(t, "name"), Argv: rapid.SliceOfN(text, 0, 4).Draw(t, "argv"), File: text.Draw(t, "file"), Argv0: text.Draw(t, "argv0"), Dir: text.Draw(t, "dir"),
			Env: rapid.SliceOfN(text, 0, 4).Draw(t, "env"), User: "u", Group: "g", Stdin: file.Draw(t, "in"), Stdout: file.Draw(t, "out"), Stderr: file.Draw(t, "err"),
			Notify: text.Draw(t, "notify"), Watchdog: 5, ReadyFile: file.Draw(t, "ready"), ReadyFD: rapid.IntRange(0, 9).Draw(t, "fd"), TTY: rapid.Bool().Draw(t, "tty"),
			Marker: text.Draw(t, "marker"), Foreground: rapid.Bool().Draw(t, "fg"), PidNamespace: rapid.Bool().Draw(t, "pidns"), Cgroup: text.Draw(t, "cgroup"),
			Limits: proc.Limits{Nofile: 1, Umask: &umask, Capabilities: rapid.SampledFrom([][]string{nil, {}, {"CAP_KILL"}}).Draw(t, "caps")},
		}
		for range rapid.IntRange(0, 3).Draw(t, "sockets") {
			s.Listen = append(s.Listen, proc.Listener{Name: rapid.StringMatching("[a-z]*").Draw(t, "socket"), File: os.Stderr, Shared: rapid.Bool().Draw(t, "shared")})
		}
		for range rapid.IntRange(0, 2).Draw(t, "inherit") {
			s.Inherit, s.InheritFD = append(s.Inherit, os.Stdin), 60
		}
		if rapid.Bool().Draw(t, "sandbox") {
			s.Sandbox, s.Watch = &sandbox.Orders{Refuse: true, NoNetwork: rapid.Bool().Draw(t, "network"), Listen: true}, os.Stderr
			for range rapid.IntRange(0, 3).Draw(t, "rules") {
				s.Sandbox.Rules = append(s.Sandbox.Rules, sandbox.Rule{Path: text.Draw(t, "rule"), Can: sandbox.Read})
			}
		}
		w, files := wireOf(s)
		b, err := json.Marshal(w)
		if err != nil {
			t.Fatal(err)
		}
		var back specWire
		if err := json.Unmarshal(b, &back); err != nil {
			t.Fatal(err)
		}
		if back.files() != len(files) {
			t.Fatalf("got %d files, want %d", back.files(), len(files))
		}
		if got := back.spec(files); !reflect.DeepEqual(got, s) {
			t.Fatalf("got  %+v\nwant %+v", got, s)
		}
	})
	// A field that Spec gets one day must not be lost on the way: 26 are carried, Reaper stays behind.
	if n := reflect.TypeFor[proc.Spec]().NumField(); n != 27 {
		t.Errorf("proc.Spec has %d fields, want 27: specWire must carry the new ones", n)
	}
}

func TestErrorsOnTheWire(t *testing.T) {
	for _, err := range []error{os.ErrProcessDone, ErrKey, unix.EAGAIN, fmt.Errorf("cannot: %w", unix.EMFILE), fmt.Errorf("cannot start %q: %w", "a", ErrKey)} {
		b, merr := json.Marshal(errorOf(err))
		var w wireError
		if merr != nil || json.Unmarshal(b, &w) != nil {
			t.Fatal(merr)
		}
		got := w.error()
		cause := err
		for errors.Unwrap(cause) != nil {
			cause = errors.Unwrap(cause)
		}
		if !errors.Is(got, cause) || got.Error() != err.Error() {
			t.Errorf("got %v, want %v", got, err)
		}
	}
	se := &proc.StartError{Op: "run", Path: "x\xff", Err: syscall.ENOEXEC}
	if got := errorOf(fmt.Errorf("outer: %w", se)).error(); got != error(se) {
		t.Errorf("got %v", got)
	}
}

// FuzzRequest gives a keeper any packet: it may answer or find it malformed, and keeps no descriptor of it.
func FuzzRequest(f *testing.F) {
	for _, op := range []string{opHello, opSpawn, opSignal, opKill, opForget, opMeans, opPut, opDelete, opServing, opRefuse, opReplace, "?"} {
		for n := range 3 {
			f.Add([]byte(fmt.Sprintf(`{"op":%q,"id":1,"key":"k","files":%d,"sig":1,"hello":{"version":1}}`+"\n{}", op, n)), n)
		}
	}
	f.Add([]byte(`{"op":"put","key":"k","big":5}`+"\n"), 1)
	f.Fuzz(func(t *testing.T, packet []byte, files int) {
		if len(packet) == 0 || len(packet) > maxFrame {
			return
		}
		k := &keeper{log: log.New(io.Discard, "", 0), table: map[string]*entry{}, items: map[string]*item{}, orders: Orders{Run: "fuzz"}}
		ours, theirs, err := pair()
		if err != nil {
			t.Skip(err)
		}
		defer ours.u.Close()
		engine, err := newConn(theirs)
		if err != nil {
			t.Fatal(err)
		}
		s := &session{k: k, c: ours, slots: make(chan struct{}, 4), known: packet[0]%2 == 0}
		go io.Copy(io.Discard, engine.u)
		fds := make([]int, (files%4+4)%4)
		engine.u.WriteMsgUnix(packet, unix.UnixRights(fds...), nil)
		f, err := ours.receive()
		if err == nil {
			if f.Op == opSpawn { // not from a fuzzer
				f.close()
			} else {
				s.handle(f)
			}
		}
		engine.u.Close()
		for _, i := range k.items {
			if len(i.files) != f.Files {
				t.Errorf("got an item with %d files, want %d", len(i.files), f.Files)
			}
			i.close()
		}
		if k.program != nil {
			k.program.Close()
		}
	})
}

func TestConnectIsForEngines(t *testing.T) {
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := Connect(null); err == nil {
		t.Error("it must fail")
	}
	if _, err := Start(context.Background(), Orders{}); err == nil {
		t.Error("it must fail")
	}
}
