package watch

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// tree is what a subscription watches: the directories with their files, and the
// few names outside that decide where they are. All of its directories have a
// watch in the table.
type tree struct {
	filter   *filter
	table    *table
	contents *contents
	prev     *tree // what it replaces, for the hashes; nil afterwards
	uprooted bool  // a base was dropped: only planting anew finds it again

	dirs    map[string]*node
	anchors map[string]map[string]pin    // directory -> name -> where it led; elsewhere means to start anew
	aliases map[string]map[link]struct{} // directory of a link's target -> links
	held    []string                     // directories watched for anchors and aliases
	touched map[string]*version          // path -> as it was before this look; nil value: absent
}

// node is a directory of a tree.
type node struct {
	path   string
	hold   hold
	scopes []*scope // that cover it
	rules  *ruleset // of .gitignore, that hold here
	files  map[string]*version
	dirs   map[string]struct{}
	links  map[string]struct{} // symlinks of any kind, which may lead elsewhere without an event here
	linked bool                // reached through a link: no further link is followed
}

// pin is where a name leads: to which directory, by which link. A file there is
// as good as nothing.
type pin struct {
	dir  inode
	link string
}

func pinOf(path string) pin {
	link, _ := os.Readlink(path)
	return pin{identify(path), link}
}

// link is a symlink to a file whose name is target in another directory.
type link struct{ target, dir, name string }

func newTree(f *filter, t *table, c *contents) *tree {
	return &tree{
		filter: f, table: t, contents: c,
		dirs: map[string]*node{}, anchors: map[string]map[string]pin{}, aliases: map[string]map[link]struct{}{},
		touched: map[string]*version{},
	}
}

// release gives back all watches.
func (t *tree) release() {
	for name := range t.dirs {
		t.table.release(name)
	}
	for _, name := range t.held {
		t.table.release(name)
	}
}

// current tells whether a directory of the tree is still that, and watched.
func (t *tree) current(path string) bool {
	n := t.dirs[path]
	return n != nil && t.table.current(path, n.hold)
}

// version is the file as it was last looked at, or nil.
func (t *tree) version(path string) *version {
	if n := t.dirs[filepath.Dir(path)]; n != nil {
		return n.files[filepath.Base(path)]
	}
	return nil
}

// plant looks at a scope from its base.
func (t *tree) plant(sc scope) {
	sc.single = false
	if !t.settle(sc.base) && sc.include != "" {
		return
	}
	var rules *ruleset
	if fi, err := os.Stat(sc.base); err == nil && fi.IsDir() {
		if !t.filter.gitignored {
			rules = above(t.filter.root, sc.base)
		}
		t.visit(&sc, sc.base, rules, false)
		return
	}
	if sc.include != "" {
		return
	}
	sc.single = true
	parent := filepath.Dir(sc.base)
	if n := t.open(parent, nil, false); n != nil {
		n.scopes = append(n.scopes, &sc)
		t.check(n, filepath.Base(sc.base))
	}
}

// settle watches what decides where a path leads: its name in its directory, or
// in the nearest one that exists, and on the way every link and all that lies in
// the root, and the root itself. Of a rename far above nobody tells. It returns
// whether the path is a directory.
func (t *tree) settle(path string) bool { return t.settleVia(path, 0) }

func (t *tree) settleVia(path string, links int) bool {
	for try := 0; try < 10; try++ {
		p := path
		for p != filepath.Dir(p) && !t.anchor(p) {
			p = filepath.Dir(p)
		}
		if p == path || identify(p) == (inode{}) {
			break
		} // else it appeared meanwhile, and what is below it has no anchor yet
	}
	for p := path; p != filepath.Dir(p); p = filepath.Dir(p) {
		fi, err := os.Lstat(p)
		if err != nil {
			continue
		}
		isLink := fi.Mode()&fs.ModeSymlink != 0
		if within(t.filter.root, p) || isLink {
			t.anchor(p)
		}
		if target := leadsTo(p); isLink && target != "" && links < 8 {
			t.settleVia(target, links+1) // it may dangle, or be made anew
		}
	}
	return identify(path) != (inode{})
}

// anchor watches a name for leading elsewhere.
func (t *tree) anchor(path string) bool {
	dir, name := filepath.Split(path)
	dir = filepath.Clean(dir)
	if t.anchors[dir] == nil {
		if _, ok := t.table.acquire(dir); !ok {
			return false
		}
		t.held = append(t.held, dir)
		t.anchors[dir] = map[string]pin{}
	}
	now := pinOf(path)
	if was, ok := t.anchors[dir][name]; ok && was != now {
		t.uprooted = true // its event is still on the way
	}
	t.anchors[dir][name] = now
	return true
}

// open makes a directory part of the tree. The watch comes before the look, so
// that nothing falls between.
func (t *tree) open(path string, rules *ruleset, linked bool) *node {
	if n := t.dirs[path]; n != nil {
		return n
	}
	h, ok := t.table.acquire(path)
	if !ok {
		return nil
	}
	n := &node{path: path, hold: h, rules: rules, linked: linked, files: map[string]*version{}, dirs: map[string]struct{}{}, links: map[string]struct{}{}}
	t.dirs[path] = n
	return n
}

// visit looks at all of a directory for one more scope.
func (t *tree) visit(sc *scope, path string, rules *ruleset, linked bool) {
	n := t.open(path, rules, linked)
	if n == nil || slices.Contains(n.scopes, sc) {
		return
	}
	fresh := !slices.ContainsFunc(n.scopes, func(x *scope) bool { return !x.single })
	n.scopes = append(n.scopes, sc)
	entries := list(path)
	if fresh && !t.filter.gitignored {
		n.rules = rules
		if slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return e.Name() == ignoreFile }) {
			n.rules = rules.extend(path)
		}
	}
	only := []*scope{sc}
	for _, e := range entries {
		t.place(n, only, e.Name(), e.Type())
	}
}

// list reads a directory without sorting; one that cannot be read is empty.
func list(path string) []fs.DirEntry {
	f, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer f.Close()
	entries, _ := f.ReadDir(-1)
	return entries
}

// place takes an entry into the tree for the scopes that cover it, and tells
// whether it is a file of one of them.
func (t *tree) place(n *node, scopes []*scope, name string, typ fs.FileMode) bool {
	path, linked := join(n.path, name), n.linked
	if typ&fs.ModeSymlink != 0 {
		n.links[name] = struct{}{}
		if !slices.ContainsFunc(scopes, func(sc *scope) bool {
			return t.filter.covers(sc, n.path, name, false, n.rules) || t.filter.covers(sc, n.path, name, true, n.rules)
		}) {
			return false
		}
		if typ = t.trace(n, name, scopes); typ.IsDir() && !t.follows(n, path) {
			return false
		}
		linked = true
	}
	switch {
	case typ.IsDir():
		for _, sc := range scopes {
			if t.filter.covers(sc, n.path, name, true, n.rules) {
				t.visit(sc, path, n.rules, linked)
			}
		}
		if t.dirs[path] != nil {
			n.dirs[name] = struct{}{}
		}
	case typ.IsRegular():
		for _, sc := range scopes {
			if t.filter.covers(sc, n.path, name, false, n.rules) {
				t.set(n, name)
				return true
			}
		}
	}
	return false
}

// follows tells whether a link to a directory is followed: not below another
// one, not out of the root, not to a directory that holds the link.
func (t *tree) follows(n *node, path string) bool {
	if n.linked {
		return false
	}
	target, err1 := filepath.EvalSymlinks(path)
	here, err2 := filepath.EvalSymlinks(n.path)
	root, err3 := filepath.EvalSymlinks(t.filter.root)
	return err1 == nil && err2 == nil && err3 == nil && within(root, target) && !within(target, here)
}

// trace watches the place that a link leads to, where the writes happen and
// where it may appear only later, and returns what is there now. Out of the root
// it watches only for a link that was named.
func (t *tree) trace(n *node, name string, scopes []*scope) fs.FileMode {
	path := join(n.path, name)
	target, err := filepath.EvalSymlinks(path)
	if err != nil { // it dangles
		target = leadsTo(path)
	}
	root, rootErr := filepath.EvalSymlinks(t.filter.root)
	named := slices.ContainsFunc(scopes, func(sc *scope) bool { return sc.single })
	if target != "" && (named || rootErr == nil && within(root, target)) {
		t.settle(target)
		t.alias(filepath.Dir(target), link{filepath.Base(target), n.path, name})
	}
	fi, err := os.Stat(path)
	if err != nil {
		return fs.ModeIrregular
	}
	return fi.Mode().Type()
}

// leadsTo is where a link leads at its first step, whether that exists or not.
func leadsTo(path string) string {
	target, err := os.Readlink(path)
	if err != nil {
		return ""
	}
	dir := filepath.Dir(path)
	if real, err := filepath.EvalSymlinks(dir); err == nil { // ".." goes up from there
		dir = real
	}
	return absolute(dir, target)
}

func (t *tree) alias(dir string, l link) {
	if t.aliases[dir] == nil {
		if _, ok := t.table.acquire(dir); !ok {
			return
		}
		t.held = append(t.held, dir)
		t.aliases[dir] = map[link]struct{}{}
	}
	t.aliases[dir][l] = struct{}{}
}

// set looks at a file.
func (t *tree) set(n *node, name string) {
	path := join(n.path, name)
	old := n.files[name]
	against := old
	if against == nil {
		against = t.touched[path]
	}
	if against == nil && t.prev != nil {
		against = t.prev.version(path)
	}
	t.put(n, name, t.contents.look(path, against))
}

func (t *tree) put(n *node, name string, v *version) {
	old := n.files[name]
	if old == v {
		return
	}
	path := join(n.path, name)
	if _, ok := t.touched[path]; !ok {
		t.touched[path] = old
	}
	if v == nil {
		delete(n.files, name)
	} else {
		n.files[name] = v
	}
}

// check looks again at one name of a directory.
func (t *tree) check(n *node, name string) {
	path := join(n.path, name)
	fi, err := os.Lstat(path)
	var typ fs.FileMode
	if err == nil {
		typ = fi.Mode().Type()
	}
	if _, was := n.dirs[name]; was {
		if err == nil && t.current(path) {
			return // the same directory; what happened in it has its own events
		}
		delete(n.dirs, name)
		t.drop(path)
	}
	delete(n.links, name)
	if err != nil || !t.place(n, n.scopes, name, typ) {
		t.put(n, name, nil)
	}
}

// enter looks at a new directory without waiting for the burst to end: what goes
// on in it belongs to the burst.
func (t *tree) enter(n *node, name string) {
	if fi, err := os.Lstat(join(n.path, name)); err == nil && fi.IsDir() {
		t.check(n, name)
	}
}

// checkAll looks again at a whole directory, though not at those below.
func (t *tree) checkAll(n *node) {
	names := map[string]struct{}{}
	for _, e := range list(n.path) {
		names[e.Name()] = struct{}{}
	}
	for name := range n.files {
		names[name] = struct{}{}
	}
	for name := range n.dirs {
		names[name] = struct{}{}
	}
	for name := range names {
		t.check(n, name)
	}
}

// drop takes a directory with all below it out of the tree.
func (t *tree) drop(path string) {
	n := t.dirs[path]
	if n == nil {
		return
	}
	if slices.ContainsFunc(n.scopes, func(sc *scope) bool { return sc.single || sc.base == path }) {
		t.uprooted = true
	}
	for name := range n.dirs {
		t.drop(join(path, name))
	}
	for name := range n.files {
		t.put(n, name, nil)
	}
	delete(t.dirs, path)
	t.table.release(path)
}
