package watch

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"time"

	"github.com/fsnotify/fsnotify"
)

const (
	pollMin   = 500 * time.Millisecond
	pollMax   = 2 * time.Second
	pollShare = 20  // a look at what is polled takes at most this part of the time, until pollMax
	batchMax  = 256 // files hashed in the background at a time
)

// loop owns everything live; its methods run on one goroutine.
type loop struct {
	root     string
	exclude  []string
	tell     func(string)
	warned   bool
	src      *source // nil: no inotify
	table    *table
	contents *contents
	subs     map[string]*subscription
	out      []*parcel
	hashing  int // batches in the background
	poll     poller
}

// poller is when to look at what sends no events.
type poller struct {
	least time.Duration
	next  time.Time
	cost  time.Duration // of the last look
}

// parcel is a change set that was not received yet.
type parcel struct {
	id    string
	at    time.Time
	files map[string]struct{} // relative to the root
	sent  *Change             // as it would be delivered; nil when files were added since
}

func newLoop(o Options, s seams) *loop {
	l := &loop{
		root: filepath.Clean(o.Root), tell: o.Warn,
		contents: newContents(), subs: map[string]*subscription{}, poll: poller{least: pollMin},
	}
	if l.tell == nil {
		l.tell = func(string) {}
	}
	for _, p := range o.Exclude {
		l.exclude = append(l.exclude, l.alike(filepath.Clean(p)))
	}
	add := func(string) error { return errNoInotify }
	fs, err := s.open()
	if err == nil {
		l.src = newSource(fs)
		add = func(dir string) error { return s.add(fs, dir) }
	} else {
		l.warn("cannot use inotify: %v; files are looked at every %v to %v instead; raise the limit: sysctl -w %s=512", err, pollMin, pollMax, sysctlInstances)
	}
	l.table = newTable(l.src, add, func(err error) {
		l.warn("cannot watch all directories: %v; the rest is looked at every %v to %v; raise the limit: sysctl -w %s=524288", err, pollMin, pollMax, sysctlWatches)
	})
	return l
}

// alike writes a path under the root's real name as one under the root.
func (l *loop) alike(p string) string {
	real, err := filepath.EvalSymlinks(l.root)
	if err != nil || within(l.root, p) || !within(real, p) {
		return p
	}
	return filepath.Join(l.root, p[len(real):])
}

// warn tells the first trouble only: one limit makes a thousand of them.
func (l *loop) warn(format string, args ...any) {
	if !l.warned {
		l.warned = true
		l.tell(fmt.Sprintf(format, args...))
	}
}

// run serves until the watcher is closed, then ends what it started.
func (l *loop) run(w *Watcher) {
	work, done := make(chan []job), make(chan []job)
	ended := make(chan struct{})
	go func() { hasher(work, done, w.stop); close(ended) }()
	defer func() {
		close(work)
		<-ended
		if l.src != nil {
			l.src.close()
		}
	}()
	var wake chan struct{}
	if l.src != nil {
		wake = l.src.wake
	}
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		l.recall(time.Now())
		timer.Reset(l.rest(time.Now()))
		jobs, batch := l.batch(work)
		changes, change := l.next(w.changes)
		select {
		case <-w.stop:
			return
		case call := <-w.calls:
			call(l)
		case <-wake:
			l.events()
		case jobs <- batch:
			l.contents.jobs = l.contents.jobs[len(batch):]
			l.hashing++
		case batch := <-done:
			l.hashing--
			l.contents.learn(batch)
		case changes <- change:
			l.out = l.out[1:]
		case <-timer.C:
			l.fire(time.Now())
		}
	}
}

// batch is what the background may get next: a channel only if there is some.
func (l *loop) batch(work chan []job) (chan []job, []job) {
	n := min(len(l.contents.jobs), batchMax)
	if n == 0 {
		l.contents.jobs = nil
		return nil, nil
	}
	return work, slices.Clone(l.contents.jobs[:n])
}

// next is the change set to deliver: a channel only if there is one.
func (l *loop) next(changes chan Change) (chan Change, Change) {
	if len(l.out) == 0 {
		return nil, Change{}
	}
	p := l.out[0]
	if p.sent == nil {
		files := slices.Sorted(maps.Keys(p.files))
		p.sent = &Change{ID: p.id, Files: files[:min(len(files), FilesMax)], Count: len(files), At: p.at}
	}
	return changes, *p.sent
}

func (l *loop) add(spec Spec) error {
	s, f, err := newSubscription(l.root, l.exclude, spec)
	if err != nil {
		return err
	}
	for i, p := range f.exclude {
		f.exclude[i] = l.alike(p)
	}
	if l.subs[s.id] != nil {
		defer l.prune()
		defer l.subs[s.id].tree.release() // after the new one has its watches: most are the same
		l.discard(s.id)
	}
	for i := range s.scopes {
		s.scopes[i].base = l.alike(s.scopes[i].base)
	}
	s.seen = time.Now()
	s.tree = newTree(f, l.table, l.contents)
	l.contents.begin()
	for _, sc := range s.scopes {
		s.tree.plant(sc)
	}
	clear(s.tree.touched)
	l.subs[s.id] = s
	return nil
}

func (l *loop) remove(id string) {
	s := l.subs[id]
	if s == nil {
		return
	}
	s.tree.release()
	delete(l.subs, id)
	l.discard(id)
	l.prune()
}

// discard drops what was not received yet.
func (l *loop) discard(id string) {
	l.out = slices.DeleteFunc(l.out, func(p *parcel) bool { return p.id == id })
}

// prune forgets the versions of files that nobody watches any more.
func (l *loop) prune() {
	used := map[string]*version{}
	for _, s := range l.subs {
		for dir, n := range s.tree.dirs {
			for name := range n.files {
				path := join(dir, name)
				if v := l.contents.known[path]; v != nil {
					used[path] = v
				}
			}
		}
	}
	l.contents.known = used
}

// events hands what the kernel told to the subscriptions.
func (l *loop) events() {
	events, overflow := l.src.take()
	now := time.Now()
	if overflow {
		for _, s := range l.subs {
			s.restart(now)
		}
	}
	for _, e := range events {
		l.event(e, now)
	}
}

func (l *loop) event(e fsnotify.Event, now time.Time) {
	parent, self := l.table.locate(e.Name)
	if parent != nil {
		name := filepath.Base(e.Name)
		for dir := range parent.names {
			for _, s := range l.subs {
				s.hint(dir, name, e.Op, now)
			}
		}
	}
	if self != nil && (e.Op.Has(fsnotify.Remove) || e.Op.Has(fsnotify.Rename)) {
		l.table.unwatch(self)
		for dir := range self.names {
			for _, s := range l.subs {
				s.lost(dir, now)
			}
		}
	}
}

// recall has those look again whose watch was begun anew for another.
func (l *loop) recall(now time.Time) {
	gaps := l.table.gaps
	l.table.gaps = nil
	for _, dir := range gaps {
		for _, s := range l.subs {
			s.lost(dir, now)
		}
	}
}

// rest is how long nothing is due.
func (l *loop) rest(now time.Time) time.Duration {
	rest := time.Hour
	for _, s := range l.subs {
		if s.pending() {
			rest = min(rest, s.pulse.due().Sub(now))
		}
	}
	if len(l.table.polled) > 0 {
		if l.poll.next.IsZero() {
			l.poll.next = now.Add(l.interval())
		}
		rest = min(rest, l.poll.next.Sub(now))
	}
	return max(rest, 0)
}

// interval grows with what a look at the polled directories costs.
func (l *loop) interval() time.Duration {
	return min(max(l.poll.least, pollShare*l.poll.cost), max(pollMax, l.poll.least))
}

// fire looks where something is due.
func (l *loop) fire(now time.Time) {
	if l.src != nil {
		l.events() // what waits already may make a burst longer
	}
	if len(l.table.polled) > 0 && !l.poll.next.After(now) {
		l.pollAll(now)
	}
	for _, s := range l.subs {
		if !s.pending() || s.pulse.due().After(now) {
			continue
		}
		at, anew := s.pulse.first, s.full
		began := time.Now()
		changed := s.look()
		if len(l.table.polled) > 0 {
			l.poll.cost = time.Since(began)
		}
		l.pack(s.id, at, changed)
		if anew {
			l.prune()
		}
	}
}

// pollAll has the subscriptions look at what sends no events.
func (l *loop) pollAll(now time.Time) {
	l.poll.next = time.Time{}
	dirs := slices.Collect(maps.Keys(l.table.polled))
	l.table.retry() // what is watched from now on needs a last look too
	for _, d := range dirs {
		for dir := range d.names {
			for _, s := range l.subs {
				s.polled(dir, now)
			}
		}
	}
}

// pack puts a change set with those of the subscription that wait already.
func (l *loop) pack(id string, at time.Time, changed []string) {
	if len(changed) == 0 {
		return
	}
	i := slices.IndexFunc(l.out, func(p *parcel) bool { return p.id == id })
	if i < 0 {
		l.out = append(l.out, &parcel{id: id, at: at, files: map[string]struct{}{}})
		i = len(l.out) - 1
	}
	l.out[i].sent = nil
	f := filter{root: l.root}
	for _, path := range changed {
		name := f.relative(path)
		if !within(l.root, path) {
			name = filepath.ToSlash(path)
		}
		l.out[i].files[name] = struct{}{}
	}
}
