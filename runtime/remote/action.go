package remote

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"orrery/runtime/cache"
)

// content is a blob that we made.
type content struct {
	blob cache.Blob
	data []byte
}

func contentOf(data []byte) content {
	h := sha256.Sum256(data)
	return content{cache.Blob{Hash: hex.EncodeToString(h[:]), Size: int64(len(data))}, data}
}

// The extra output files of a result, which say what an ActionResult cannot.
const (
	extras      = ".orrery/remote/"
	extraRecord = extras + "record" // the cache.Record, encoded
	extraKey    = extras + "key"    // the lines of the key
	extraLog    = extras + "log"    // what the task wrote, both streams in their order
)

// errPrivate says that a result is not for others.
var errPrivate = errors.New("it is of this user or checkout alone")

// action is what the protocol calls an action: the name of a result, with the blobs that it consists of.
type action struct {
	digest cache.Blob
	blobs  []content
}

// newAction is the action of a key. It is a function of the lines alone, which must be those that the key is the hash of. Lines with a
// secret give errPrivate: they hold a hash that is salted for one user, and what was made with a secret may show it.
func newAction(key string, lines []string) (*action, error) {
	text := contentOf([]byte(strings.Join(lines, "\n") + "\n"))
	if text.blob.Hash != key {
		return nil, errPrivate
	}
	cmd, platform, err := newCommand(lines)
	if err != nil {
		return nil, err
	}
	command := contentOf(cmd)
	var node, dir message
	node.text(1, "key")
	node.digest(2, text.blob)
	dir.sub(1, node)
	root := contentOf(dir)
	var a message
	a.digest(1, command.blob)
	a.digest(2, root.blob)
	a.bytes(9, []byte("orrery 1")) // salt: no other client has this action
	if len(platform) > 0 {
		a.sub(10, platform)
	}
	act := contentOf(a)
	return &action{act.blob, []content{act, command, root, text}}, nil
}

// newCommand tells people and tools that look into the cache what was run: arguments, environment, outputs and platform, as the lines say
// them.
func newCommand(lines []string) (command, platform message, err error) {
	var steps [][]string
	var env, outputs []string
	values := map[string]string{}
	for _, line := range lines {
		w, err := cut(line)
		if err != nil {
			return nil, nil, err
		}
		switch {
		case w[0] == "secret":
			return nil, nil, errPrivate
		case w[0] == "command" && len(w) > 2:
			steps = append(steps, w[2:])
		case w[0] == "env" && len(w) == 3:
			env = append(env, w[1])
			values[w[1]] = w[2]
		case w[0] == "output" && len(w) == 3:
			outputs = append(outputs, w[2])
		case w[0] == "platform" && len(w) == 2:
			platform = newPlatform(w[1])
		}
	}
	args := []string{"orrery", "steps"}
	if len(steps) == 1 {
		args = steps[0]
	} else {
		for _, s := range steps {
			args = append(args, strings.Join(s, " "))
		}
	}
	for _, a := range args {
		command.item(1, a)
	}
	slices.Sort(env)
	for _, k := range env {
		var v message
		v.text(1, k)
		v.text(2, values[k])
		command.sub(2, v)
	}
	if len(platform) > 0 {
		command.sub(5, platform)
	}
	slices.Sort(outputs)
	for _, o := range slices.Compact(outputs) {
		command.item(7, o)
	}
	return command, platform, nil
}

// newPlatform says GOOS/GOARCH in the words of the protocol, where it has them.
func newPlatform(name string) (p message) {
	system, machine, _ := strings.Cut(name, "/")
	switch system {
	case "darwin":
		system = "macos"
	}
	switch machine {
	case "amd64":
		machine = "x86-64"
	case "arm64":
		machine = "arm-a64"
	}
	for _, kv := range [][2]string{{"ISA", machine}, {"OSFamily", system}} {
		var q message
		q.text(1, kv[0])
		q.text(2, kv[1])
		p.sub(1, q)
	}
	return p
}

// cut takes a line of a key into its words, undoing the quotes.
func cut(line string) ([]string, error) {
	var words []string
	for rest := line; ; {
		var w string
		if strings.HasPrefix(rest, `"`) {
			quoted, err := strconv.QuotedPrefix(rest)
			if err == nil {
				w, err = strconv.Unquote(quoted)
			}
			if err != nil {
				return nil, fmt.Errorf("got the line %.80q, want words", line)
			}
			rest = rest[len(quoted):]
		} else {
			end := strings.IndexByte(rest+" ", ' ')
			w, rest = rest[:end], rest[end:]
		}
		words = append(words, w)
		if rest == "" {
			return words, nil
		}
		if rest[0] != ' ' {
			return nil, fmt.Errorf("got the line %.80q, want words", line)
		}
		rest = rest[1:]
	}
}

// newResult is the ActionResult of a record, and the blobs that it names beyond those of the record. The record among them is what we
// read again; the rest is for the server, which keeps together what belongs together, and for other tools. stdout_raw is never used.
func newResult(r *cache.Record) (result message, blobs []content, err error) {
	text, err := r.Encode()
	if err != nil {
		return nil, nil, err
	}
	record := contentOf(text)
	blobs = append(blobs, record)
	output := func(name string, b cache.Blob, executable bool) {
		var f message
		f.text(1, name)
		f.digest(2, b)
		f.flag(4, executable)
		result.sub(2, f)
	}
	output(extraRecord, record.blob, false)
	if r.Lines.Hash != "" {
		output(extraKey, r.Lines, false)
	}
	if r.Log.Hash != "" {
		output(extraLog, r.Log, false)
	}
	tops := map[string]*folder{}
	var dirs, links message
	for _, e := range r.Outputs {
		if strings.HasPrefix(e.Path, extras) || r.Exit != 0 {
			return nil, nil, errPrivate // only successes are for others
		}
		if top, rel := above(tops, e.Path); top != nil {
			top.add(rel, e)
			continue
		}
		switch e.Kind {
		case cache.File:
			output(e.Path, e.Blob, e.Mode&0o111 != 0)
		case cache.Dir:
			tops[e.Path] = &folder{}
		case cache.Link:
			var l message
			l.text(1, e.Path)
			l.text(2, e.Target)
			links.sub(12, l)
		}
	}
	for _, name := range sorted(tops) {
		tree := tops[name].tree()
		blobs = append(blobs, tree)
		var o message
		o.text(1, name)
		o.digest(3, tree.blob)
		dirs.sub(3, o)
	}
	var meta message
	meta.text(1, r.Host)
	result = append(result, dirs...)
	result.sub(9, meta)
	return append(result, links...), blobs, nil
}

// above finds the output that holds a path, and the path from there.
func above(tops map[string]*folder, name string) (*folder, string) {
	for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
		if top, ok := tops[dir]; ok {
			return top, name[len(dir)+1:]
		}
	}
	return nil, ""
}

// folder is an output that is a folder, or one below it.
type folder struct {
	below map[string]*folder
	files map[string]cache.Entry
	links map[string]string
}

// add puts an entry where its path, relative to f, says.
func (f *folder) add(rel string, e cache.Entry) {
	if dir, rest, ok := strings.Cut(rel, "/"); ok {
		f.dir(dir).add(rest, e)
		return
	}
	switch e.Kind {
	case cache.Dir:
		f.dir(rel)
	case cache.File:
		if f.files == nil {
			f.files = map[string]cache.Entry{}
		}
		f.files[rel] = e
	case cache.Link:
		if f.links == nil {
			f.links = map[string]string{}
		}
		f.links[rel] = e.Target
	}
}

func (f *folder) dir(name string) *folder {
	if f.below == nil {
		f.below = map[string]*folder{}
	}
	if f.below[name] == nil {
		f.below[name] = &folder{}
	}
	return f.below[name]
}

// tree is the Tree of an output.
func (f *folder) tree() content {
	var tree, children message
	seen := map[string]bool{}
	root := f.encode(func(d message) {
		if c := contentOf(d); !seen[c.blob.Hash] {
			seen[c.blob.Hash] = true
			children.sub(2, d)
		}
	})
	tree.sub(1, root)
	return contentOf(append(tree, children...))
}

// encode is the Directory, its names sorted; child is called for each folder below, the deepest first.
func (f *folder) encode(child func(message)) (d message) {
	for _, name := range sorted(f.files) {
		var n message
		e := f.files[name]
		n.text(1, name)
		n.digest(2, e.Blob)
		n.flag(4, e.Mode&0o111 != 0)
		d.sub(1, n)
	}
	for _, name := range sorted(f.below) {
		sub := f.below[name].encode(child)
		child(sub)
		var n message
		n.text(1, name)
		n.digest(2, contentOf(sub).blob)
		d.sub(2, n)
	}
	for _, name := range sorted(f.links) {
		var n message
		n.text(1, name)
		n.text(2, f.links[name])
		d.sub(3, n)
	}
	return d
}

func sorted[V any](m map[string]V) []string {
	names := make([]string, 0, len(m))
	for n := range m {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

// found is where the record of a result lies; data if the server sent it along.
type found struct {
	blob cache.Blob
	data []byte
}

// readResult finds the record in an ActionResult. A result without one is none of ours.
func readResult(b []byte) (r found, err error) {
	err = fields(b, func(f field) error {
		if f.n != 2 {
			return nil
		}
		name, at := "", found{}
		err := fields(f.data, func(f field) (err error) {
			switch f.n {
			case 1:
				name = string(f.data)
			case 2:
				at.blob, err = readDigest(f.data)
			case 5:
				at.data = f.data
			}
			return err
		})
		if name == extraRecord {
			r = at
		}
		return err
	})
	if err == nil && r.blob.Hash == "" {
		err = errors.New("got a result that orrery did not write")
	}
	return r, err
}
