package keeper

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"
	"unicode/utf8"

	"orrery/runtime/proc"
	"orrery/runtime/sandbox"
)

// version of the protocol. An engine of a newer binary may talk to the keeper of an older one: fields are only ever added, and
// what one side does not know it must be able to do without; else this number changes, and such an engine refuses.
const version = 1

// The requests of the engine, and the two notices of the keeper.
const (
	opHello   = "hello"   // the state: items and processes, in answers with More
	opSpawn   = "spawn"   // Key; the payload is a specWire
	opSignal  = "signal"  // Key, Sig, Group
	opKill    = "kill"    // Key, Wait
	opForget  = "forget"  // Key
	opMeans   = "means"   // Key, or none
	opPut     = "put"     // Key; payload, descriptors
	opDelete  = "delete"  // Key
	opServing = "serving" // the payload is the verdict
	opRefuse  = "refuse"  // the payload is the verdict
	opReplace = "replace" // one descriptor: the new binary

	opAnswer = "answer" // to the request ID
	opExit   = "exit"   // notice: Proc has ended
)

// The limits of one keeper.
const (
	maxKey       = 255       // bytes
	maxFrame     = 48 << 10  // bytes of one packet
	maxInline    = 32 << 10  // bytes of a payload inside a packet; a bigger one comes in an anonymous file
	maxPayload   = 64 << 20  // bytes of one payload
	maxBytes     = 256 << 20 // of all items
	maxItems     = 1 << 14
	maxProcesses = 1 << 14
	maxFiles     = 250 // descriptors of one packet, as the kernel has it: 253
	maxRunning   = 512 // requests of one engine that are being carried out
)

// head is the first line of every packet, in JSON; the payload follows it.
type head struct {
	Op    string        `json:"op"`
	ID    uint64        `json:"id,omitempty"`
	Key   string        `json:"key,omitempty"`
	Files int           `json:"files,omitempty"` // descriptors that come with the packet
	Big   int64         `json:"big,omitempty"`   // size of the payload, when it lies in one more, the last, descriptor
	More  bool          `json:"more,omitempty"`  // the answer goes on
	Err   *wireError    `json:"err,omitempty"`
	Sig   int           `json:"sig,omitempty"`
	Group bool          `json:"group,omitempty"`
	Wait  time.Duration `json:"wait,omitempty"`
	Text  string        `json:"text,omitempty"`
	Item  bool          `json:"item,omitempty"` // of hello's answer: this is an item
	Proc  *procWire     `json:"proc,omitempty"`
	Hello *helloWire    `json:"hello,omitempty"`
}

// helloWire opens a connection, both ways.
type helloWire struct {
	Version int    `json:"version"`
	Run     string `json:"run,omitempty"`
	Starts  int    `json:"starts,omitempty"`
	Inherit bool   `json:"inherit,omitempty"` // the keeper knows specWire.Inherit: an older one would refuse the descriptors
}

// procWire is one process.
type procWire struct {
	ID     proc.Identity `json:"id"`
	Name   string        `json:"name,omitempty"`
	Marker string        `json:"marker,omitempty"`
	Cgroup string        `json:"cgroup,omitempty"`
	Exit   *proc.Exit    `json:"exit,omitempty"`
	Ended  time.Time     `json:"ended,omitzero"`
}

// specWire is a proc.Spec. Bytes, not strings: JSON would repair what is not UTF-8. The descriptors come with the packet: those
// of Std that are there, those of Listen, that of Ready, that of Watch, those of Inherit.
type specWire struct {
	Name       []byte        `json:"name,omitempty"`
	Argv       [][]byte      `json:"argv"`
	File       []byte        `json:"file,omitempty"`
	Argv0      []byte        `json:"argv0,omitempty"`
	Dir        []byte        `json:"dir,omitempty"`
	Env        [][]byte      `json:"env,omitempty"`
	User       string        `json:"user,omitempty"`
	Group      string        `json:"group,omitempty"`
	Std        [3]bool       `json:"std"`
	Listen     []listenWire  `json:"listen,omitempty"`
	Notify     []byte        `json:"notify,omitempty"`
	Watchdog   time.Duration `json:"watchdog,omitempty"`
	Ready      bool          `json:"ready,omitempty"`
	ReadyFD    int           `json:"ready_fd,omitempty"`
	Inherit    int           `json:"inherit,omitempty"`
	InheritFD  int           `json:"inherit_fd,omitempty"`
	Limits     proc.Limits   `json:"limits,omitzero"`
	TTY        bool          `json:"tty,omitempty"`
	Marker     []byte        `json:"marker,omitempty"`
	Foreground bool          `json:"foreground,omitempty"`
	Cgroup     []byte        `json:"cgroup,omitempty"`
	Sandbox    *sandboxWire  `json:"sandbox,omitempty"`
	Watch      bool          `json:"watch,omitempty"`
	PidNS      bool          `json:"pid_namespace,omitempty"`
}

// sandboxWire is a sandbox.Orders.
type sandboxWire struct {
	Refuse    bool     `json:"refuse,omitempty"`
	NoNetwork bool     `json:"no_network,omitempty"`
	Listen    bool     `json:"listen,omitempty"`
	Paths     [][]byte `json:"paths,omitempty"` // of the rules
	Can       []int    `json:"can,omitempty"`   // what each opens
}

func sandboxOf(o *sandbox.Orders) *sandboxWire {
	if o == nil {
		return nil
	}
	w := &sandboxWire{Refuse: o.Refuse, NoNetwork: o.NoNetwork, Listen: o.Listen}
	for _, r := range o.Rules {
		w.Paths, w.Can = append(w.Paths, []byte(r.Path)), append(w.Can, int(r.Can))
	}
	return w
}

func (w *sandboxWire) orders() *sandbox.Orders {
	if w == nil {
		return nil
	}
	o := &sandbox.Orders{Refuse: w.Refuse, NoNetwork: w.NoNetwork, Listen: w.Listen}
	for i := range min(len(w.Paths), len(w.Can)) {
		o.Rules = append(o.Rules, sandbox.Rule{Path: string(w.Paths[i]), Can: sandbox.Access(w.Can[i])})
	}
	return o
}

type listenWire struct {
	Name   string `json:"name,omitempty"`
	Shared bool   `json:"shared,omitempty"`
}

// files is how many descriptors come with it.
func (w *specWire) files() int {
	n := len(w.Listen) + max(w.Inherit, 0)
	for _, b := range append(w.Std[:], w.Ready, w.Watch) {
		if b {
			n++
		}
	}
	return n
}

// wireOf takes a spec apart.
func wireOf(s *proc.Spec) (*specWire, []*os.File) {
	w := &specWire{
		Name: []byte(s.Name), File: []byte(s.File), Argv0: []byte(s.Argv0), Dir: []byte(s.Dir), Notify: []byte(s.Notify), Marker: []byte(s.Marker),
		Cgroup: []byte(s.Cgroup), User: s.User, Group: s.Group, Argv: bytesOf(s.Argv), Env: bytesOf(s.Env), Watchdog: s.Watchdog,
		Limits: s.Limits, TTY: s.TTY, Foreground: s.Foreground, Ready: s.ReadyFile != nil, ReadyFD: s.ReadyFD,
		PidNS:   s.PidNamespace,
		Inherit: len(s.Inherit), InheritFD: s.InheritFD,
		Sandbox: sandboxOf(s.Sandbox), Watch: s.Watch != nil,
	}
	var files []*os.File
	for i, f := range []*os.File{s.Stdin, s.Stdout, s.Stderr} {
		if f != nil {
			w.Std[i] = true
			files = append(files, f)
		}
	}
	for _, l := range s.Listen {
		w.Listen = append(w.Listen, listenWire{l.Name, l.Shared})
		files = append(files, l.File)
	}
	if s.ReadyFile != nil {
		files = append(files, s.ReadyFile)
	}
	if s.Watch != nil {
		files = append(files, s.Watch)
	}
	return w, append(files, s.Inherit...)
}

// spec puts it together again; files are as many as it says.
func (w *specWire) spec(files []*os.File) *proc.Spec {
	take := func(there bool) *os.File {
		if !there {
			return nil
		}
		f := files[0]
		files = files[1:]
		return f
	}
	s := &proc.Spec{
		Name: string(w.Name), File: string(w.File), Argv0: string(w.Argv0), Dir: string(w.Dir), Notify: string(w.Notify), Marker: string(w.Marker),
		Cgroup: string(w.Cgroup), User: w.User, Group: w.Group, Argv: stringsOf(w.Argv), Env: stringsOf(w.Env), Watchdog: w.Watchdog,
		Limits: w.Limits, TTY: w.TTY, Foreground: w.Foreground, ReadyFD: w.ReadyFD, InheritFD: w.InheritFD,
		Sandbox:      w.Sandbox.orders(),
		PidNamespace: w.PidNS,
	}
	s.Stdin, s.Stdout, s.Stderr = take(w.Std[0]), take(w.Std[1]), take(w.Std[2])
	for _, l := range w.Listen {
		s.Listen = append(s.Listen, proc.Listener{Name: l.Name, Shared: l.Shared, File: take(true)})
	}
	s.ReadyFile = take(w.Ready)
	s.Watch = take(w.Watch)
	for range w.Inherit {
		s.Inherit = append(s.Inherit, take(true))
	}
	return s
}

func bytesOf(ss []string) [][]byte {
	bs := make([][]byte, len(ss))
	for i, s := range ss {
		bs[i] = []byte(s)
	}
	return bs
}

func stringsOf(bs [][]byte) []string {
	ss := make([]string, len(bs))
	for i, b := range bs {
		ss[i] = string(b)
	}
	return ss
}

// wireError is an error of which errors.Is and errors.As still work at the other end.
type wireError struct {
	Start *proc.StartError `json:"start,omitempty"`
	Done  bool             `json:"done,omitempty"`  // os.ErrProcessDone
	Taken bool             `json:"taken,omitempty"` // ErrKey
	Errno syscall.Errno    `json:"errno,omitempty"`
	Text  string           `json:"text,omitempty"`
}

func errorOf(err error) *wireError {
	if err == nil {
		return nil
	}
	w := &wireError{Text: err.Error(), Done: errors.Is(err, os.ErrProcessDone), Taken: errors.Is(err, ErrKey)}
	if !errors.As(err, &w.Start) {
		errors.As(err, &w.Errno)
	}
	return w
}

func (w *wireError) error() error {
	switch {
	case w == nil:
		return nil
	case w.Start != nil:
		return w.Start
	case w.Done:
		return os.ErrProcessDone
	case w.Taken:
		return &remoteError{w.Text, ErrKey}
	case w.Errno != 0:
		return &remoteError{w.Text, w.Errno}
	}
	return errors.New(w.Text)
}

// remoteError is the keeper's text with the cause that it had there.
type remoteError struct {
	text  string
	cause error
}

func (e *remoteError) Error() string { return e.text }
func (e *remoteError) Unwrap() error { return e.cause }

// checkKey says what is wrong with a key.
func checkKey(key string) error {
	if len(key) < 1 || len(key) > maxKey || !utf8.ValidString(key) {
		return fmt.Errorf("got key %.300q, want 1 to %d bytes of UTF-8", key, maxKey)
	}
	return nil
}
