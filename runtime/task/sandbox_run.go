package task

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"orrery/runtime/proc"
	"orrery/runtime/sandbox"
)

// maxFindings bounds what is remembered of one try.
const maxFindings = 1000

// box confines the programs of one try.
type box struct {
	job    *Job
	strict bool
	off    bool // only the network is closed
	tmp    string
	policy *policy
	blind  string // why nothing is seen

	mu    sync.Mutex
	seen  map[finding]bool
	found []finding
	made  map[string]bool // by itself, where it should not
}

// newBox makes what a try needs to be confined; nil: it is not.
func newBox(j *Job, more ...string) (*box, error) {
	b := &box{job: j, strict: j.Sandbox == sandboxStrict, off: j.Sandbox == "" || j.Sandbox == sandboxOff, seen: map[finding]bool{}, made: map[string]bool{}}
	if b.off && !j.NoNetwork {
		return nil, nil
	}
	if b.strict && j.abi() == 0 {
		return nil, errors.New(`cannot sandbox: this kernel has no Landlock (it needs Linux 5.13, and landlock in the lsm= list); sandbox = "off" runs the task without`)
	}
	if b.off {
		return b, nil
	}
	tmp, err := os.MkdirTemp("", "orrery-tmp-*")
	if err != nil {
		return nil, fmt.Errorf("cannot make a TMPDIR for the sandbox: %w", err)
	}
	b.tmp = tmp
	if err = b.giveTmp(); err == nil {
		b.policy, err = policyOf(j, append([]string{tmp}, more...))
	}
	if err != nil {
		b.remove()
		return nil, fmt.Errorf("cannot sandbox: %w", err)
	}
	return b, nil
}

// giveTmp makes the TMPDIR the user's that the task runs as.
func (b *box) giveTmp() error {
	f, err := os.Open(b.tmp)
	if err != nil {
		return err
	}
	return errors.Join(give(f, b.job.User, b.job.Group), f.Close())
}

// abi is the version of Landlock, as far as a test does not say otherwise.
func (j *Job) abi() int {
	if j.landlock != nil {
		return j.landlock()
	}
	return sandbox.ABI()
}

func (b *box) env() []string {
	if b == nil || b.tmp == "" {
		return nil
	}
	return []string{"TMPDIR=" + b.tmp}
}

func (b *box) remove() {
	if b != nil && b.tmp != "" {
		os.RemoveAll(b.tmp)
	}
}

// spawn starts a program confined.
func (b *box) spawn(spec *proc.Spec) (Process, error) {
	if !b.strict && !b.job.NoNetwork && !sandbox.Watches() {
		b.blind = "this system tells us of no system calls"
		return b.job.start(spec)
	}
	spec.Sandbox = &sandbox.Orders{Refuse: b.strict, NoNetwork: b.job.NoNetwork, Listen: !b.off}
	if !b.off {
		b.inherits(spec)
	}
	if b.strict {
		spec.Sandbox.Rules = b.policy.rules()
	}
	w, err := sandbox.Watch(b.judge)
	if err != nil {
		return nil, err
	}
	spec.Watch = w.File()
	p, err := b.job.start(spec)
	w.Started()
	if err != nil {
		return nil, err
	}
	blind, err := w.Wait()
	if err != nil {
		_ = killRest(p) // the error of the sandbox is the one that counts
		p.Wait()
		p.Close()
		return nil, err
	}
	if blind != "" {
		b.blind = blind
	}
	return p, nil
}

// inherits lets the program open again what it is given as its first descriptors: /dev/stderr may lead to a file.
func (b *box) inherits(spec *proc.Spec) {
	for _, f := range []*os.File{spec.Stdin, spec.Stdout, spec.Stderr} {
		if f == nil {
			continue
		}
		c, err := f.SyscallConn()
		if err != nil {
			continue
		}
		_ = c.Control(func(fd uintptr) { // a closed file fails at the start
			if path, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd)); err == nil {
				b.mu.Lock()
				b.policy.beyond[path] = true
				b.mu.Unlock()
			}
		})
	}
}

// judge is the Judge of a try: it lets through what is declared, and remembers the rest.
func (b *box) judge(t sandbox.Try) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.made[t.Path] || b.policy.allows(t) {
		return true
	}
	if t.New && !b.strict {
		b.made[t.Path] = true // what it does with it from here on is no news
	}
	f := finding{t.Path, t.Can}
	if rel, err := filepath.Rel(b.policy.root, t.Path); err == nil && filepath.IsLocal(rel) {
		f.path = filepath.ToSlash(rel)
	}
	if !b.seen[f] && len(b.found) < maxFindings {
		b.seen[f] = true
		b.found = append(b.found, f)
	}
	return !b.strict
}

// findings are what was touched and not declared, in the order of time.
func (b *box) findings() []finding {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.found)
}

// sandboxed tells what a try has touched: in its reason if it failed for it, else in a note.
func (r *Result) sandboxed(b *box) {
	if b == nil {
		return
	}
	b.remove()
	if b.off || r.State == Cancelled {
		return
	}
	declared := b.job.Declared
	found := b.findings()
	inputs := declared != nil && slices.ContainsFunc(declared.Inputs, func(in Input) bool { return !in.Implied })
	text := advice(found, inputs, len(b.job.Outputs) > 0)
	switch {
	case b.blind != "" && b.strict:
		r.note("the sandbox cannot say which files it refuses: " + b.blind)
	case b.blind != "":
		r.note("the sandbox sees no files: " + b.blind)
	}
	switch {
	case text == "":
	case b.strict && r.State == Failed:
		r.Reason += "; the sandbox refused " + touched(found) + ": " + text
	case b.strict:
		r.note("the sandbox refused " + touched(found) + ", and it succeeded all the same: " + text)
	default:
		r.note("undeclared: " + touched(found) + "; " + text)
	}
}

// note adds a note once.
func (r *Result) note(text string) {
	if !slices.Contains(r.Notes, text) {
		r.Notes = append(r.Notes, text)
	}
}
