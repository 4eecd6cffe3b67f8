package watch

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/fsnotify/fsnotify"
)

const (
	debounceDefault = 100 * time.Millisecond
	debounceFactor  = 10
	debounceMost    = 2 * time.Second  // a stream of writes to the same files
	stormMost       = 15 * time.Second // a stream of new names
)

// subscription is the live state of one Spec. The loop owns it.
type subscription struct {
	id     string
	scopes []scope
	tree   *tree

	dirty map[string]map[string]struct{} // directory -> names to look at; "" is all of it
	full  bool                           // start anew from the bases
	rules bool                           // a .gitignore changed: what is covered now may be no change
	seen  time.Time                      // when it was last looked at
	pulse pulse
}

// pulse is the rhythm of the events since the last look.
type pulse struct {
	debounce           time.Duration
	first, grown, last time.Time // the first event, the last one with a new name, the last
}

// due is when a burst counts as over: after a quiet time; or, as it must end,
// ten times that after the last new name. A storm of new names, such as a
// checkout, may take longer.
func (p pulse) due() time.Time {
	long := max(p.debounce, min(debounceFactor*p.debounce, debounceMost))
	end := p.grown.Add(long)
	if most := p.first.Add(max(stormMost, long)); end.After(most) {
		end = most
	}
	if quiet := p.last.Add(p.debounce); quiet.Before(end) {
		return quiet
	}
	return end
}

func (s *subscription) pending() bool { return s.full || len(s.dirty) > 0 }

// beat notes an event; grew says that it told something new.
func (s *subscription) beat(now time.Time, grew bool) {
	if s.pulse.first.IsZero() {
		s.pulse.first = now
	}
	if grew {
		s.pulse.grown = now
	}
	s.pulse.last = now
}

func (s *subscription) mark(dir, name string, now time.Time) {
	names := s.dirty[dir]
	if names == nil {
		names = map[string]struct{}{}
		s.dirty[dir] = names
	}
	_, known := names[name]
	names[name] = struct{}{}
	s.beat(now, !known)
}

func (s *subscription) restart(now time.Time) {
	grew := !s.full
	s.full = true
	s.beat(now, grew)
}

// hint takes an event about an entry of a directory.
func (s *subscription) hint(dir, name string, op fsnotify.Op, now time.Time) {
	s.hintAnchor(dir, name, now)
	for l := range s.tree.aliases[dir] {
		if l.target == name {
			s.mark(l.dir, l.name, now)
		}
	}
	n := s.tree.dirs[dir]
	if name == ignoreFile && !s.tree.filter.gitignored && (n != nil || s.tree.anchors[dir] != nil) {
		s.rules = true
		s.restart(now)
		return
	}
	if n == nil {
		return
	}
	if op.Has(fsnotify.Create) || op.Has(fsnotify.Remove) || op.Has(fsnotify.Rename) {
		for l := range n.links { // one may lead through the name that changed
			if s.relevant(n, l, fsnotify.Create) {
				s.mark(dir, l, now)
			}
		}
	}
	if !s.relevant(n, name, op) {
		return
	}
	s.mark(dir, name, now)
	if op.Has(fsnotify.Create) {
		s.tree.enter(n, name)
	}
}

// hintAnchor starts anew if a name that decides leads elsewhere than before.
func (s *subscription) hintAnchor(dir, name string, now time.Time) {
	was, ok := s.tree.anchors[dir][name]
	if !ok {
		return
	}
	path := join(dir, name)
	_, open := s.tree.dirs[path]
	if pinOf(path) != was || open && !s.tree.current(path) {
		s.restart(now)
	}
}

// relevant tells whether a name needs a look. What never was a file of the
// subscription can only become one, or a directory, by being created.
func (s *subscription) relevant(n *node, name string, op fsnotify.Op) bool {
	if _, ok := s.dirty[n.path][name]; ok {
		return true
	}
	if n.files[name] != nil {
		return true
	}
	if _, ok := n.dirs[name]; ok {
		return true
	}
	f := s.tree.filter
	return slices.ContainsFunc(n.scopes, func(sc *scope) bool {
		return f.covers(sc, n.path, name, false, n.rules) ||
			op.Has(fsnotify.Create) && f.covers(sc, n.path, name, true, n.rules)
	})
}

// lost is told that a watched directory is no longer where it was.
func (s *subscription) lost(dir string, now time.Time) {
	t := s.tree
	if t.anchors[dir] != nil || t.aliases[dir] != nil {
		s.restart(now)
		return
	}
	if t.dirs[dir] == nil {
		return
	}
	parent, name := filepath.Dir(dir), filepath.Base(dir)
	if n := t.dirs[parent]; n != nil {
		if _, ok := n.dirs[name]; ok {
			s.mark(parent, name, now)
			return
		}
	}
	s.restart(now)
}

// polled is told that nobody would tell if something happened in a directory.
// That is no event: it does not make a burst longer.
func (s *subscription) polled(dir string, now time.Time) {
	p, was := s.pulse, s.pending()
	for name := range s.tree.anchors[dir] {
		s.hintAnchor(dir, name, now)
	}
	for l := range s.tree.aliases[dir] {
		s.mark(l.dir, l.name, now)
	}
	if s.tree.dirs[dir] != nil {
		s.mark(dir, "", now)
	}
	if was {
		s.pulse = p
	}
}

// finding is a path as it was at the last look and as it is now.
type finding struct {
	path     string
	old, now *version
}

// look finds what changed since the last look, and is quiet again.
func (s *subscription) look() []string {
	began := time.Now()
	s.tree.contents.begin()
	var found []finding
	if s.full {
		found = s.lookAnew()
	} else {
		found = s.lookDirty()
	}
	var changed []string
	for _, f := range found {
		if differs(f.old, f.now) && !(s.rules && s.uncovered(f)) {
			changed = append(changed, f.path)
		}
	}
	clear(s.dirty)
	s.pulse = pulse{debounce: s.pulse.debounce}
	s.full, s.rules, s.seen = false, false, began
	if s.tree.uprooted { // something moved under our eyes
		s.restart(time.Now())
	}
	return changed
}

// uncovered tells whether only a .gitignore made the difference.
func (s *subscription) uncovered(f finding) bool {
	switch {
	case f.old == nil:
		return f.now.ctime < s.seen.Add(-grain).UnixNano()
	case f.now == nil:
		_, err := os.Lstat(f.path)
		return err == nil
	}
	return false
}

// lookDirty looks where something happened. If a base is gone it looks anew.
func (s *subscription) lookDirty() []finding {
	t := s.tree
	for _, dir := range slices.Sorted(maps.Keys(s.dirty)) { // parents first: they may drop what is below
		n := t.dirs[dir]
		if n == nil {
			continue
		}
		names := s.dirty[dir]
		if _, all := names[""]; !all {
			for name := range names {
				t.check(n, name)
			}
			continue
		}
		if !t.current(dir) {
			return s.lookAnew()
		}
		t.checkAll(n)
	}
	if t.uprooted {
		return s.lookAnew()
	}
	var found []finding
	for path, old := range t.touched {
		found = append(found, finding{path, old, t.version(path)})
	}
	clear(t.touched)
	return found
}

// lookAnew replaces the tree, and compares the two.
func (s *subscription) lookAnew() []finding {
	old := s.tree
	before := old.touched // what a look that was given up changed already
	s.tree = newTree(old.filter, old.table, old.contents)
	s.tree.prev = old
	for _, sc := range s.scopes {
		s.tree.plant(sc)
	}
	s.tree.prev = nil
	var found []finding
	add := func(path string, now *version) {
		was, ok := before[path]
		if !ok {
			was = old.version(path)
		}
		found = append(found, finding{path, was, now})
	}
	for path := range s.tree.touched {
		add(path, s.tree.version(path))
	}
	for dir, n := range old.dirs {
		for name := range n.files {
			if path := join(dir, name); s.tree.version(path) == nil {
				add(path, nil)
			}
		}
	}
	for path := range before {
		if s.tree.version(path) == nil && old.version(path) == nil {
			add(path, nil)
		}
	}
	clear(s.tree.touched)
	old.release()
	return found
}

// newSubscription reads a Spec; the tree is empty until the first look.
func newSubscription(root string, exclude []string, spec Spec) (*subscription, *filter, error) {
	scopes, err := scopesOf(root, spec)
	if err != nil {
		return nil, nil, err
	}
	f := &filter{root: root, exclude: slices.Clone(exclude), extensions: extensionsOf(spec.Extensions), gitignored: spec.Gitignored}
	for _, line := range spec.Ignore {
		r, ok := parseRule(line)
		if !ok {
			return nil, nil, fmt.Errorf("got the pattern %q to ignore, want one as in .gitignore", line)
		}
		f.ignore = append(f.ignore, r)
	}
	for _, p := range spec.Exclude {
		if !filepath.IsAbs(p) {
			return nil, nil, fmt.Errorf("got %q to exclude, want an absolute path", p)
		}
		f.exclude = append(f.exclude, filepath.Clean(p))
	}
	if spec.Debounce <= 0 {
		spec.Debounce = debounceDefault
	}
	return &subscription{id: spec.ID, scopes: scopes, dirty: map[string]map[string]struct{}{}, pulse: pulse{debounce: spec.Debounce}}, f, nil
}
