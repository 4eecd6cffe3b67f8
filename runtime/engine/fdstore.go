package engine

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"

	"orrery/runtime/notify"
	"orrery/runtime/proc"
)

// fdstore is the descriptors that a service has stored (FDSTORE=1) and is given
// again, after its sockets, when it is started again. They outlive its
// processes and the engine, not a stop.
type fdstore struct {
	files []stored
	poll  *poller // for the end of the other side; nil while there is nothing
	last  int32   // key that was given last
}

// stored is one descriptor.
type stored struct {
	name string
	file *os.File
	key  int32 // in the poller
	poll bool  // drop it when the other side is gone
}

// keptStored is one as it is kept.
type keptStored struct {
	Name string `json:"name"`
	Poll bool   `json:"poll,omitempty"`
}

// keptStore is the key of what is stored; the name of the node follows.
const keptStore = "fdstore/"

// store takes what a message brings or removes.
func (e *Engine) store(n *node, m *notify.Message) {
	most := n.def.Service.Fdstore
	if most == 0 || !m.FDStore && !m.FDStoreRemove {
		return
	}
	s := &n.svc.store
	before := len(s.files)
	changed := false
	if m.FDStoreRemove {
		s.remove(func(x stored) bool { return x.name == m.FDName })
		changed = len(s.files) != before
	}
	for i, f := range m.FDs {
		if len(s.files) >= most || s.has(f) {
			continue // silently, as systemd does; Close closes it
		}
		m.FDs[i] = nil
		e.keepDescriptor(n, m.FDName, f, m.FDPoll)
		changed = true
	}
	m.FDs = slices.DeleteFunc(m.FDs, func(f *os.File) bool { return f == nil })
	if changed {
		e.saveStore(n)
	}
}

// keepDescriptor adds one, and looks out for its end.
func (e *Engine) keepDescriptor(n *node, name string, f *os.File, poll bool) {
	s := &n.svc.store
	s.last++
	x := stored{name: name, file: f, key: s.last, poll: poll}
	s.files = append(s.files, x)
	if !poll {
		return
	}
	if s.poll == nil {
		p, err := newPoller()
		if err != nil {
			return
		}
		s.poll = p
		go e.watchStore(n, p)
	}
	s.poll.add(f, x.key, pollHup) // an error: a file, which has no other side
}

// watchStore drops descriptors of which the other side is gone.
func (e *Engine) watchStore(n *node, p *poller) {
	for {
		key, _, ok := p.wait()
		if !ok {
			return
		}
		if e.call(func() {
			if s := &n.svc.store; s.poll == p {
				s.remove(func(x stored) bool { return x.key == key })
				e.saveStore(n)
			}
		}) != nil {
			return
		}
	}
}

// has reports whether the same object is stored already.
func (s *fdstore) has(f *os.File) bool {
	return slices.ContainsFunc(s.files, func(x stored) bool { return sameObject(x.file, f) })
}

// remove drops descriptors.
func (s *fdstore) remove(which func(stored) bool) {
	s.files = slices.DeleteFunc(s.files, func(x stored) bool {
		if !which(x) {
			return false
		}
		if s.poll != nil && x.poll {
			s.poll.remove(x.file)
		}
		x.file.Close()
		return true
	})
	if len(s.files) == 0 && s.poll != nil {
		s.poll.close()
		s.poll = nil
	}
}

// emptyStore drops all: the service has ended.
func (e *Engine) emptyStore(n *node) {
	if len(n.svc.store.files) > 0 {
		n.svc.store.remove(func(stored) bool { return true })
		e.saveStore(n)
	}
}

// saveStore has them kept: they are to outlive the engine.
func (e *Engine) saveStore(n *node) {
	s := &n.svc.store
	if len(s.files) == 0 {
		e.keep.drop(keptStore + n.name())
		return
	}
	var names []keptStored
	var files []*os.File
	for _, x := range s.files {
		// A copy: the original may be dropped before this is carried out.
		if f, err := duplicate(x.file); err == nil {
			names, files = append(names, keptStored{x.name, x.poll}), append(files, f)
		}
	}
	e.keep.put(keptStore+n.name(), names, func() { closeFiles(files) }, files...)
}

// adoptStore takes over those of an engine before this one.
func (e *Engine) adoptStore(n *node, r Restored) error {
	item, ok := r.Items[keptStore+n.name()]
	if !ok {
		return nil
	}
	var names []keptStored
	if err := json.Unmarshal(item.Blob, &names); err != nil || len(names) != len(item.Files) {
		return fmt.Errorf("cannot read what %s has stored: got %d names of %d descriptors (%v)", n.name(), len(names), len(item.Files), err)
	}
	for i, x := range names {
		e.keepDescriptor(n, x.Name, item.Files[i], x.Poll)
	}
	e.keep.know(keptStore+n.name(), item.Blob)
	return nil
}

// lend adds what is stored to what an instance is given, as copies: they are
// closed once it has them.
func (e *Engine) lend(n *node, in *instance, spec *proc.Spec) {
	if n.def.Service.Fdstore == 0 {
		return
	}
	spec.Env = append(spec.Env, fmt.Sprintf("FDSTORE=%d", n.def.Service.Fdstore))
	for _, x := range n.svc.store.files {
		if f, err := duplicate(x.file); err == nil {
			in.launch.lent = append(in.launch.lent, f)
			spec.Listen = append(spec.Listen, proc.Listener{Name: x.name, File: f, Shared: true})
		}
	}
}

func closeFiles(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}
