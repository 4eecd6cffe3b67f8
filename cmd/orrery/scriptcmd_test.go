package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"
)

type scriptCommand = func(ts *testscript.TestScript, neg bool, args []string)

// scriptCommands are the commands that scripts have besides testscript's:
//
//	exits CODE COMMAND...      runs a command that must end with the exit code
//	waitfile FILE [REGEXP]     waits until the file is there, and matches
//	waitstate NAME STATE       waits until status says so
//	waitgone PIDFILE           waits until the process has ended
//	[!] alive PIDFILE          whether the process runs
//	signal SIG PIDFILE         sends a signal; PIDFILE may be a number
//	killnode NAME [SIG]        sends a signal (KILL) to the main process of a node
//	httpget URL [REGEXP]       gets a page, waiting until it answers and matches
//	freeport VAR...            sets variables to free ports, none twice
//	jsonq PATH [VALUE]         looks at the JSON on stdout: .nodes[0].name,
//	                           .nodes[name=web].state; without VALUE prints it
//	jsonset VAR PATH           the same into a variable
//	[!] cmpbytes FILE FILE     byte for byte
//	before FILE REGEXP REGEXP  the first line that matches the one comes before
//	                           the first that matches the other
func scriptCommands() map[string]scriptCommand {
	ports := &portPool{given: map[int]bool{}}
	return map[string]scriptCommand{
		"exits":     cmdExits,
		"waitfile":  cmdWaitfile,
		"waitstate": cmdWaitstate,
		"waitgone":  cmdWaitgone,
		"alive":     cmdAlive,
		"signal":    cmdSignal,
		"killnode":  cmdKillnode,
		"httpget":   cmdHTTPGet,
		"freeport":  ports.command,
		"jsonq":     cmdJSONQ,
		"jsonset":   cmdJSONSet,
		"cmpbytes":  cmdCmpbytes,
		"before":    cmdBefore,
	}
}

func want(ts *testscript.TestScript, ok bool, usage string) {
	if !ok {
		ts.Fatalf("usage: %s", usage)
	}
}

// await asks again and again until it says yes; false when patience is over.
func await(yes func() bool) bool {
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if yes() {
			return true
		}
	}
	return yes()
}

func cmdExits(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, !neg && len(args) >= 2, "exits CODE COMMAND...")
	code, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		got = exit.ExitCode()
		if s, ok := exit.Sys().(syscall.WaitStatus); ok && s.Signaled() {
			got = 128 + int(s.Signal())
		}
	case err != nil:
		ts.Fatalf("%v", err)
	}
	if got != code {
		ts.Fatalf("got exit code %d, want %d", got, code)
	}
}

func cmdWaitfile(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, !neg && (len(args) == 1 || len(args) == 2), "waitfile FILE [REGEXP]")
	re := regexp.MustCompile("")
	if len(args) == 2 {
		re = regexp.MustCompile("(?m)" + args[1])
	}
	var last []byte
	ok := await(func() bool {
		b, err := os.ReadFile(ts.MkAbs(args[0]))
		last = b
		return err == nil && re.Match(b)
	})
	if !ok {
		ts.Fatalf("%s did not come to match %q; it holds %q", args[0], re, last)
	}
}

// nodeStatus asks the engine for one node.
func nodeStatus(ts *testscript.TestScript, name string) (state string, pid int) {
	if ts.Exec("orrery", "status", "--json", name) != nil {
		return "no engine", 0
	}
	var st struct {
		Nodes []struct {
			State string
			PID   int
		}
	}
	ts.Check(json.Unmarshal([]byte(ts.ReadFile("stdout")), &st))
	if len(st.Nodes) == 0 {
		return "unknown", 0
	}
	return st.Nodes[0].State, st.Nodes[0].PID
}

func cmdWaitstate(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, !neg && len(args) == 2, "waitstate NAME STATE")
	state := ""
	if !await(func() bool {
		state, _ = nodeStatus(ts, args[0])
		return state == args[1]
	}) {
		ts.Fatalf("%s is %s, want %s", args[0], state, args[1])
	}
}

// pidOf reads a number, or a file that holds one.
func pidOf(ts *testscript.TestScript, arg string) int {
	if pid, err := strconv.Atoi(arg); err == nil {
		return pid
	}
	pid, err := strconv.Atoi(strings.TrimSpace(ts.ReadFile(arg)))
	ts.Check(err)
	if pid <= 1 {
		ts.Fatalf("%s: got pid %d", arg, pid)
	}
	return pid
}

func cmdWaitgone(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, !neg && len(args) == 1, "waitgone PIDFILE")
	pid := pidOf(ts, args[0])
	if !await(func() bool { return !alive(pid) }) {
		ts.Fatalf("process %d still runs", pid)
	}
}

func cmdAlive(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, len(args) == 1, "[!] alive PIDFILE")
	if pid := pidOf(ts, args[0]); alive(pid) == neg {
		ts.Fatalf("process %d: got alive %v, want %v", pid, neg, !neg)
	}
}

func signalOf(ts *testscript.TestScript, name string) syscall.Signal {
	sig := unix.SignalNum("SIG" + strings.TrimPrefix(name, "SIG"))
	if sig == 0 {
		ts.Fatalf("unknown signal %q", name)
	}
	return sig
}

func cmdSignal(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, !neg && len(args) == 2, "signal SIG PIDFILE")
	ts.Check(syscall.Kill(pidOf(ts, args[1]), signalOf(ts, args[0])))
}

func cmdKillnode(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, !neg && (len(args) == 1 || len(args) == 2), "killnode NAME [SIG]")
	sig := syscall.SIGKILL
	if len(args) == 2 {
		sig = signalOf(ts, args[1])
	}
	state, pid := nodeStatus(ts, args[0])
	if pid == 0 {
		ts.Fatalf("%s is %s and has no process", args[0], state)
	}
	ts.Check(syscall.Kill(pid, sig))
}

func cmdHTTPGet(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, !neg && (len(args) == 1 || len(args) == 2), "httpget URL [REGEXP]")
	re := regexp.MustCompile("")
	if len(args) == 2 {
		re = regexp.MustCompile(args[1])
	}
	client := &http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	var body []byte
	var err error
	if !await(func() bool {
		var resp *http.Response
		if resp, err = client.Get(args[0]); err != nil {
			return false
		}
		defer resp.Body.Close()
		body, err = io.ReadAll(resp.Body)
		return err == nil && resp.StatusCode < 300 && re.Match(body)
	}) {
		ts.Fatalf("%s: got %q, %v", args[0], body, err)
	}
	ts.Stdout().Write(body)
}

// portPool gives out ports that are free now, each once: below those that the
// kernel gives to clients, so that no connection of another test takes one.
type portPool struct {
	mu    sync.Mutex
	given map[int]bool
}

func (p *portPool) command(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, !neg && len(args) > 0, "freeport VAR...")
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, name := range args {
		ts.Setenv(name, strconv.Itoa(p.next(ts)))
	}
}

// next leaves room above each port: orrery takes the next free one when a base
// is in use.
func (p *portPool) next(ts *testscript.TestScript) int {
	const room = 10
	for range 1000 {
		port := 12000 + room*rand.IntN(1500)
		if !p.given[port] && free(port) && free(port+1) && free(port+2) {
			p.given[port] = true
			return port
		}
	}
	ts.Fatalf("no free port")
	return 0
}

func free(port int) bool {
	for _, host := range []string{"", "127.0.0.1", "::1"} {
		l, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(port)))
		if err != nil {
			if errors.Is(err, syscall.EADDRNOTAVAIL) {
				continue // no IPv6 here
			}
			return false
		}
		l.Close()
	}
	return true
}

func cmdJSONQ(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, len(args) == 1 || len(args) == 2 && !neg, "[!] jsonq PATH [VALUE]")
	got, err := jsonPath(ts.ReadFile("stdout"), args[0])
	switch {
	case neg && err == nil:
		ts.Fatalf("%s is there: %s", args[0], got)
	case neg:
	case err != nil:
		ts.Fatalf("%v", err)
	case len(args) == 2 && got != args[1]:
		ts.Fatalf("%s: got %s, want %s", args[0], got, args[1])
	case len(args) == 1:
		ts.Logf("%s = %s", args[0], got)
	}
}

func cmdJSONSet(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, !neg && len(args) == 2, "jsonset VAR PATH")
	got, err := jsonPath(ts.ReadFile("stdout"), args[1])
	ts.Check(err)
	ts.Setenv(args[0], got)
}

var pathStep = regexp.MustCompile(`^(?:\.([^.\[\]]+)|\[(\d+)\]|\[([^=\]]+)=([^\]]*)\]|\[len\])`)

// jsonPath finds a value: strings as they are, all else as JSON; [len] is the
// length of an array.
func jsonPath(doc, path string) (string, error) {
	var v any
	dec := json.NewDecoder(strings.NewReader(doc))
	dec.UseNumber()
	if err := dec.Decode(&v); err != nil {
		return "", fmt.Errorf("stdout is not JSON: %v", err)
	}
	for rest := path; rest != ""; {
		m := pathStep.FindStringSubmatch(rest)
		if m == nil {
			return "", fmt.Errorf("cannot read the path %q at %q", path, rest)
		}
		next, ok := jsonStep(v, m)
		if !ok {
			return "", fmt.Errorf("%s: there is no %s", path, m[0])
		}
		v, rest = next, rest[len(m[0]):]
	}
	if s, ok := v.(string); ok {
		return s, nil
	}
	b, err := json.Marshal(v)
	return string(b), err
}

func jsonStep(v any, m []string) (any, bool) {
	switch {
	case m[1] != "":
		object, _ := v.(map[string]any)
		next, ok := object[m[1]]
		return next, ok
	case m[0] == "[len]":
		array, ok := v.([]any)
		return json.Number(strconv.Itoa(len(array))), ok
	}
	array, _ := v.([]any)
	if m[2] != "" {
		i, _ := strconv.Atoi(m[2])
		if i >= len(array) {
			return nil, false
		}
		return array[i], true
	}
	for _, e := range array {
		if object, ok := e.(map[string]any); ok && fmt.Sprint(object[m[3]]) == m[4] {
			return e, true
		}
	}
	return nil, false
}

func cmdCmpbytes(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, len(args) == 2, "[!] cmpbytes FILE FILE")
	a, b := []byte(ts.ReadFile(args[0])), []byte(ts.ReadFile(args[1]))
	if bytes.Equal(a, b) == neg {
		ts.Fatalf("%s (%d bytes) and %s (%d bytes): got equal %v, want %v", args[0], len(a), args[1], len(b), neg, !neg)
	}
}

func cmdBefore(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, !neg && len(args) == 3, "before FILE REGEXP REGEXP")
	text := ts.ReadFile(args[0])
	at := func(re string) int {
		loc := regexp.MustCompile("(?m)" + re).FindStringIndex(text)
		if loc == nil {
			ts.Fatalf("no match for %q in %s:\n%s", re, args[0], text)
		}
		return loc[0]
	}
	if at(args[1]) >= at(args[2]) {
		ts.Fatalf("%q does not come before %q in %s:\n%s", args[1], args[2], args[0], text)
	}
}
