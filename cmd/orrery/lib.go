package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"orrery/runtime/libs"
)

func libCommand(a *app) *cobra.Command {
	c := &cobra.Command{
		Use: "lib", Short: "Add, update, fetch and check external libraries",
		Long: `External libraries are folders of .star files from elsewhere: load("@acme//kafka.star",
"kafka"). services.lock, beside the project file and meant to be committed, pins each:
source, ref, commit, and the sha256 of all that it holds. The libraries that a library
loads are pinned there too: it has no lock of its own that counts.

An evaluation never fetches. It reads, in this order: the folder of --override
NAME=DIR or ORRERY_LIB_NAME (not checked; for working on a library), the copy in
services.libs/NAME (lib vendor), the user's cache. Each file is checked against the
pinned sum when it is read.

URL is a git repository, as git takes it (https, ssh, user@host:path, file, an absolute
path), or an archive over https or file that ends in .tar.gz, .tgz or .zip. REF is a
branch, a tag or a commit. Nothing ever asks for a password: use a key or a
credential helper. Submodules are left out; links that lead out are refused.`,
		Example: `  orrery lib add acme https://example.org/acme/services.git@v1.2
  orrery lib add tools https://example.org/tools.git --path orrery
  orrery lib update acme         what its ref means now, and which files change
  orrery lib update acme@v2      and follows another ref from now on
  orrery lib fetch               in a fresh checkout: gets what services.lock says
  orrery lib vendor              copies all into services.libs/, to be committed
  orrery --override acme=../acme up`,
		Args: noArgs, RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	sub := func(use, short string, args cobra.PositionalArgs, run func(*library, []string) error) *cobra.Command {
		s := &cobra.Command{Use: use, Short: short, Args: args, RunE: func(c *cobra.Command, args []string) error {
			l, err := a.library(c.Context())
			if err != nil {
				return err
			}
			return run(l, args)
		}}
		c.AddCommand(s)
		return s
	}
	var path string
	add := sub("add NAME URL[@REF]", "Pin a library, or pin it anew", exactly(2, "NAME and URL[@REF]"), func(l *library, args []string) error {
		return l.add(args[0], args[1], path)
	})
	add.Flags().StringVar(&path, "path", "", "the library is the folder `DIR` of the source")
	var dry bool
	update := sub("update [NAME[@REF]...]", "Pin what the refs mean now", nil, func(l *library, args []string) error { return l.update(args, dry) })
	update.Flags().BoolVar(&dry, "dry-run", false, "only say what would change")
	sub("fetch [NAME...]", "Get what services.lock says into the cache", nil, (*library).fetch)
	sub("vendor [NAME...]", "Copy libraries into the project", nil, (*library).vendor)
	sub("verify [NAME...]", "Read all files and compare them with services.lock", nil, (*library).verify)
	sub("remove NAME...", "Unpin libraries and remove their copies", func(c *cobra.Command, args []string) error {
		return minArgs(1, "the name of a library")(c, args)
	}, (*library).remove)
	sub("list", "List the libraries", noArgs, func(l *library, _ []string) error { return l.list() })
	return c
}

func exactly(n int, what string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) != n {
			return usageError{fmt.Errorf("%s needs %s, got %d arguments", c.Name(), what, len(args))}
		}
		return nil
	}
}

// library is one run of a lib verb.
type library struct {
	*app
	ctx   context.Context
	root  string
	store *libs.Store
	lock  *libs.Lock
}

func (a *app) library(ctx context.Context) (*library, error) {
	s, err := a.source()
	if err != nil {
		return nil, err
	}
	l := &library{app: a, ctx: ctx}
	if l.root, err = filepath.EvalSymlinks(filepath.Dir(s.File)); err != nil {
		return nil, err
	}
	if l.store, err = libraryStore(s.Overrides); err != nil {
		return nil, err
	}
	l.lock, err = libs.ReadLock(l.root)
	return l, err
}

// pins are the libraries that are named, or all.
func (l *library) pins(names []string) ([]libs.Pin, error) {
	if len(names) == 0 {
		return l.lock.Libraries, nil
	}
	var pins []libs.Pin
	for _, n := range names {
		p, ok := l.lock.Pin(n)
		if !ok {
			hint := didYouMean(n, l.lock.Names())
			if hint == "" {
				hint = "orrery lib list"
			}
			return nil, hinted{usageError{fmt.Errorf("%s names no library %q", libs.LockName, n)}, hint}
		}
		pins = append(pins, p)
	}
	return pins, nil
}

// change is what an update did, in JSON.
type change struct {
	Name  string   `json:"name"`
	From  libs.Pin `json:"from"`
	To    libs.Pin `json:"to"`
	Files []string `json:"files"` // "+ new", "- gone", "~ changed"
}

func (l *library) add(name, url, path string) error {
	if err := libs.CheckName(name); err != nil {
		return usageError{err}
	}
	src, err := libs.ParseSource(url, path)
	if err != nil {
		return usageError{err}
	}
	_, end := l.work("fetching " + name)
	defer end()
	p, err := l.store.Resolve(l.ctx, src)
	if err != nil {
		return err
	}
	p.Name = name
	l.lock.Set(p)
	if err := l.lock.Write(l.root); err != nil {
		return err
	}
	if err := l.renewCopy(p); err != nil {
		return err
	}
	if l.json {
		return l.printJSON(p)
	}
	l.say("pinned %s at %s: load(\"@%s//...\")", name, version7(p), name)
	return nil
}

// renewCopy brings the project's copy, if it has one, to what was pinned.
func (l *library) renewCopy(p libs.Pin) error {
	if !slices.Contains(libs.Vendored(l.root), p.Name) {
		return nil
	}
	return l.store.Vendor(l.ctx, l.root, p)
}

func (l *library) update(args []string, dry bool) error {
	refs := map[string]string{}
	var names []string
	for _, arg := range args {
		name, ref, ok := strings.Cut(arg, "@")
		if ok {
			refs[name] = ref
		}
		names = append(names, name)
	}
	pins, err := l.pins(names)
	if err != nil {
		return err
	}
	changes := []change{}
	step, end := l.work("looking for updates")
	defer end()
	for i, old := range slices.Clone(pins) {
		step(i, len(pins))
		src := old.From()
		if ref, ok := refs[old.Name]; ok {
			src.Ref = ref
		}
		p, err := l.store.Resolve(l.ctx, src)
		if err != nil {
			return err
		}
		if p.Name = old.Name; p == old {
			continue
		}
		if _, err := l.store.Fetch(l.ctx, old); err != nil && l.verbose {
			l.say("cannot say what changes in %s: %v", old.Name, err)
		}
		changes = append(changes, change{old.Name, old, p, append([]string{}, l.store.Changes(old, p)...)})
		l.lock.Set(p)
	}
	if !dry && len(changes) > 0 {
		if err := l.lock.Write(l.root); err != nil {
			return err
		}
		for _, c := range changes {
			if err := l.renewCopy(c.To); err != nil {
				return err
			}
		}
	}
	end()
	return l.showChanges(changes)
}

func (l *library) showChanges(changes []change) error {
	if l.json {
		return l.printJSON(changes)
	}
	if len(changes) == 0 {
		l.say("nothing to update")
	}
	for _, c := range changes {
		fmt.Printf("%s %s -> %s\n", c.Name, version7(c.From), version7(c.To))
		for _, f := range c.Files {
			fmt.Println("  " + f)
		}
	}
	return nil
}

// version7 is a pin as people read it.
func version7(p libs.Pin) string {
	id := "sha256 " + p.Sum[:12]
	if p.Commit != "" {
		id = p.Commit[:10]
	}
	if p.Ref != "" && !strings.HasPrefix(p.Commit, p.Ref) {
		return p.Ref + " (" + id + ")"
	}
	return id
}

func (l *library) fetch(names []string) error {
	pins, err := l.pins(names)
	if err != nil {
		return err
	}
	fetched := []string{}
	step, end := l.work("fetching libraries")
	defer end()
	for i, p := range pins {
		step(i, len(pins))
		did, err := l.store.Fetch(l.ctx, p)
		if err != nil {
			return err
		}
		if did {
			fetched = append(fetched, p.Name)
			l.say("fetched %s %s", p.Name, version7(p))
		}
	}
	if l.json {
		return l.printJSON(fetched)
	}
	if len(fetched) == 0 {
		l.say("nothing to fetch: %s, all here", countLibraries(len(pins)))
	}
	return nil
}

// vendor copies libraries; all of them: copies of what is no longer pinned go.
func (l *library) vendor(names []string) error {
	pins, err := l.pins(names)
	if err != nil {
		return err
	}
	step, end := l.work("copying libraries")
	defer end()
	copied := []string{}
	for i, p := range pins {
		step(i, len(pins))
		if err := l.store.Vendor(l.ctx, l.root, p); err != nil {
			return err
		}
		copied = append(copied, p.Name)
		l.say("copied %s %s to %s", p.Name, version7(p), filepath.Join(libs.VendorName, p.Name))
	}
	for _, n := range libs.Vendored(l.root) {
		if _, ok := l.lock.Pin(n); !ok && len(names) == 0 {
			if err := libs.Unvendor(l.root, n); err != nil {
				return err
			}
			l.say("removed %s, which is not pinned", filepath.Join(libs.VendorName, n))
		}
	}
	if l.json {
		return l.printJSON(copied)
	}
	return nil
}

func (l *library) verify(names []string) error {
	pins, err := l.pins(names)
	if err != nil {
		return err
	}
	bad := []string{}
	step, end := l.work("checking libraries")
	defer end()
	for i, p := range pins {
		step(i, len(pins))
		for _, err := range l.store.Verify(l.root, p) {
			bad = append(bad, err.Error())
			if !l.json {
				fmt.Fprintln(l.stderr(), l.paint(red, "✗"), err)
			}
		}
	}
	if l.json {
		if err := l.printJSON(bad); err != nil {
			return err
		}
	}
	if len(bad) > 0 {
		l.say("  hint: orrery lib fetch gets the cache right, orrery lib vendor the copies in %s", libs.VendorName)
		return exitError{exitFailed}
	}
	l.say("ok: %s, as pinned", countLibraries(len(pins)))
	return nil
}

func (l *library) remove(names []string) error {
	if _, err := l.pins(names); err != nil {
		return err
	}
	for _, n := range names {
		l.lock.Remove(n)
	}
	if err := l.lock.Write(l.root); err != nil {
		return err
	}
	var errs []error
	for _, n := range names {
		if slices.Contains(libs.Vendored(l.root), n) {
			errs = append(errs, libs.Unvendor(l.root, n))
		}
	}
	if l.json {
		errs = append(errs, l.printJSON(names))
	}
	return errors.Join(errs...)
}

// pinned is a library in the JSON of lib list.
type pinned struct {
	libs.Pin
	Found string `json:"found"` // override, vendor or cache; empty: not on this machine
	Dir   string `json:"dir,omitempty"`
}

func (l *library) list() error {
	all := []pinned{}
	t := table{head: []string{"library", "version", "from", "source"}}
	for _, p := range l.lock.Libraries {
		e := pinned{Pin: p}
		shown := cell{"missing", red}
		if f, err := l.store.Find(l.root, p.Name); err == nil {
			e.Found, e.Dir = f.How, f.Dir
			shown = cell{f.How, ""}
		}
		all = append(all, e)
		t.rows = append(t.rows, []cell{{p.Name, ""}, {version7(p), ""}, shown, {p.Source, ""}})
	}
	if l.json {
		return l.printJSON(all)
	}
	if len(all) == 0 {
		l.say("no libraries; orrery lib add NAME URL[@REF] pins one")
		return nil
	}
	return t.write(os.Stdout, l.app, columns())
}

func countLibraries(n int) string {
	if n == 1 {
		return "1 library"
	}
	return fmt.Sprintf("%d libraries", n)
}
