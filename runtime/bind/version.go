package bind

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"orrery/lang/graph"
)

// versionTime is how long a program may take to say its version.
const versionTime = 10 * time.Second

// maxVersions bounds the file of versions.
const maxVersions = 1 << 20

// errStill says that a program would have to be asked, and none is started here.
var errStill = errors.New("no program is started here")

// known is the version that a program file has said.
type known struct {
	ID      string `json:"id"` // of the file as it was
	Args    string `json:"args"`
	Version string `json:"version"`
}

// programID tells one state of a program file from another; "" for a script,
// whose answer may depend on more than itself (a shim of a version manager).
func programID(file string) string {
	st, err := os.Stat(file)
	if err != nil {
		return ""
	}
	f, err := os.Open(file)
	if err != nil {
		return ""
	}
	defer f.Close()
	var magic [2]byte
	if _, err := f.Read(magic[:]); err != nil || string(magic[:]) == "#!" {
		return ""
	}
	return fmt.Sprintf("%d %d %d", inode(st), st.Size(), st.ModTime().UnixNano())
}

// inode is the number of a file.
func inode(st os.FileInfo) uint64 {
	if sys, ok := st.Sys().(*syscall.Stat_t); ok {
		return sys.Ino
	}
	return 0
}

// version is what a program says of itself: asked once for each program file.
func (b *Binding) version(file string, t *graph.Tool) (string, error) {
	args := strings.Join(t.VersionArgs, " ")
	id := programID(file)
	versions := b.readVersions()
	if k, ok := versions[file]; ok && id != "" && k.ID == id && k.Args == args {
		return k.Version, nil
	}
	if b.opts.Still {
		return "", errStill
	}
	v, err := b.askVersion(file, t.VersionArgs)
	if err == nil && id != "" && b.dirs.Versions != "" {
		versions[file] = known{id, args, v}
		if text, err := json.Marshal(versions); err == nil {
			_, _ = writeFile(b.dirs.Versions, text, fileMode{0o600, us}) // else it is asked again
		}
	}
	return v, err
}

func (b *Binding) readVersions() map[string]known {
	versions := map[string]known{}
	if b.dirs.Versions == "" {
		return versions
	}
	if text, err := readLimited(b.dirs.Versions, maxVersions); err != nil || json.Unmarshal(text, &versions) != nil || versions == nil {
		return map[string]known{}
	}
	return versions
}

func (b *Binding) askVersion(file string, args []string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), versionTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, file, args...)
	cmd.Dir, cmd.Env, cmd.WaitDelay = b.dirs.Root, b.opts.Environ, time.Second
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	v := versionIn(out.String())
	if err == nil && v == "" {
		err = errors.New("it prints none")
	}
	return v, err
}

// versionIn finds the version in what a program prints: the first number with
// dots, else the first number that is no part of a word.
func versionIn(text string) string {
	first := ""
	for i := 0; i < len(text); {
		n := digits(text[i:])
		if n == 0 {
			i++
			continue
		}
		end, dots := i+n, 0
		for end < len(text) && text[end] == '.' && digits(text[end+1:]) > 0 {
			end += 1 + digits(text[end+1:])
			dots++
		}
		if dots > 0 {
			return text[i:end]
		}
		if first == "" && (i == 0 || !wordy(text[i-1]) || text[i-1] == 'v') && (end == len(text) || !wordy(text[end])) {
			first = text[i:end]
		}
		i = end
	}
	return first
}

func wordy(c byte) bool { return c == '_' || c|0x20 >= 'a' && c|0x20 <= 'z' }

// fits tells whether a program has the version that its tool wants, and what it
// has. Where no program may be asked, one that is not known fits.
func (b *Binding) fits(file string, t *graph.Tool) (ok bool, has string) {
	if t.Version == "" {
		return true, ""
	}
	v, err := b.version(file, t)
	if errors.Is(err, errStill) {
		return true, ""
	}
	if err != nil {
		return false, fmt.Sprintf("%s does not say its version to %s: %v", file, strings.Join(t.VersionArgs, " "), err)
	}
	ok, err = graph.Satisfies(v, t.Version)
	return ok && err == nil, file + " is " + v
}
