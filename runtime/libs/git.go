package libs

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

func validCommit(s string) bool { return (len(s) == 40 || len(s) == 64) && made(s, hexDigits) }

// shortCommit reports whether it may be the beginning of a commit's number.
func shortCommit(s string) bool { return len(s) >= 7 && len(s) <= 64 && made(s, hexDigits) }

// repo is a bare repository that holds what was fetched, for a moment.
type repo struct {
	ctx context.Context
	dir string
}

// fetchGit fetches a commit, or what the ref of the source means now, and reads
// its files as git has them: no filter, no change of line ends. Submodules are
// left out.
func fetchGit(ctx context.Context, s Source, commit string) (string, content, error) {
	dir, err := os.MkdirTemp("", "orrery-lib-*")
	if err != nil {
		return "", nil, err
	}
	defer os.RemoveAll(dir)
	r := repo{ctx, dir}
	if _, err := r.git(nil, "init", "-q", "--bare", "--template=", "."); err != nil {
		return "", nil, err
	}
	if commit, err = r.fetch(s, commit); err != nil {
		return "", nil, err
	}
	c, err := r.files(commit, s.Path)
	return commit, c, err
}

// fetch gets one commit, and all branches and tags only if the server does not
// give a commit by its number.
func (r repo) fetch(s Source, commit string) (string, error) {
	want := commit
	if want == "" {
		want = s.Ref
	}
	if want == "" {
		want = "HEAD"
	}
	byNumber := shortCommit(want)
	if !byNumber || validCommit(want) {
		_, err := r.git(nil, "fetch", "-q", "--no-tags", "--depth=1", "--", s.URL, want)
		if err == nil {
			out, err := r.git(nil, "rev-parse", "--verify", "FETCH_HEAD^{commit}")
			return strings.TrimSpace(string(out)), err
		}
		if !byNumber || r.ctx.Err() != nil {
			return "", err
		}
	}
	if _, err := r.git(nil, "fetch", "-q", "--", s.URL, "+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"); err != nil {
		return "", err
	}
	out, err := r.git(nil, "rev-parse", "--verify", "-q", want+"^{commit}")
	if err != nil {
		return "", fmt.Errorf("it has no commit, branch or tag %s", want)
	}
	return strings.TrimSpace(string(out)), nil
}

// files reads the tree of a commit.
func (r repo) files(commit, dir string) (content, error) {
	list, err := r.git(nil, "ls-tree", "-r", "-z", "-l", "--full-tree", commit)
	if err != nil {
		return nil, err
	}
	type blob struct{ mode, id, name string }
	var blobs []blob
	var ids bytes.Buffer
	total := 0
	for line := range strings.SplitSeq(strings.TrimSuffix(string(list), "\x00"), "\x00") {
		head, name, ok := strings.Cut(line, "\t")
		f := strings.Fields(head)
		if !ok || len(f) != 4 || f[1] != "blob" || dir != "" && !strings.HasPrefix(name, dir+"/") {
			continue
		}
		size, err := strconv.Atoi(f[3])
		if total += size; err != nil || size > maxFile || total > maxTotal {
			return nil, tooLarge()
		}
		blobs = append(blobs, blob{f[0], f[2], name})
		fmt.Fprintln(&ids, f[2])
	}
	if len(blobs) > maxFiles {
		return nil, fmt.Errorf("got %d files, want at most %d", len(blobs), maxFiles)
	}
	out, err := r.git(&ids, "cat-file", "--batch")
	if err != nil {
		return nil, err
	}
	in := bufio.NewReader(bytes.NewReader(out))
	c := content{}
	for _, b := range blobs {
		data, err := nextObject(in)
		if err != nil {
			return nil, fmt.Errorf("cannot read %s: %w", b.name, err)
		}
		e := entry{data: data}
		if b.mode == "120000" {
			e = entry{target: string(data)}
		}
		if err := c.add(b.name, e); err != nil {
			return nil, err
		}
	}
	return c.below(dir)
}

// nextObject reads "<id> blob <size>\n<data>\n".
func nextObject(in *bufio.Reader) ([]byte, error) {
	head, err := in.ReadString('\n')
	if err != nil {
		return nil, err
	}
	f := strings.Fields(head)
	if len(f) != 3 {
		return nil, fmt.Errorf("got %q of git cat-file", strings.TrimSpace(head))
	}
	size, err := strconv.Atoi(f[2])
	if err != nil {
		return nil, err
	}
	data := make([]byte, size)
	if _, err := io.ReadFull(in, data); err != nil {
		return nil, err
	}
	_, err = in.Discard(1)
	return data, err
}

func tooLarge() error {
	return fmt.Errorf("it is too large: want at most %d MiB, %d MiB a file", maxTotal>>20, maxFile>>20)
}

// git runs git where nothing of the caller's repository leads it astray, and
// where it cannot ask anybody anything.
func (r repo) git(in io.Reader, args ...string) ([]byte, error) {
	args = append([]string{"-c", "core.hooksPath=/dev/null", "-c", "protocol.ext.allow=never", "-c", "protocol.fd.allow=never"}, args...)
	cmd := exec.CommandContext(r.ctx, "git", args...)
	cmd.Dir, cmd.Stdin, cmd.WaitDelay = r.dir, in, 2*time.Second
	for _, kv := range os.Environ() {
		switch k, _, _ := strings.Cut(kv, "="); k {
		case "GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_NAMESPACE", "GIT_CEILING_DIRECTORIES":
		default:
			cmd.Env = append(cmd.Env, kv)
		}
	}
	cmd.Env = append(cmd.Env, "GIT_TERMINAL_PROMPT=0", "GIT_ASKPASS=", "SSH_ASKPASS_REQUIRE=never", "LC_ALL=C", "GIT_DIR="+r.dir)
	if os.Getenv("GIT_SSH_COMMAND") == "" && os.Getenv("GIT_SSH") == "" {
		cmd.Env = append(cmd.Env, "GIT_SSH_COMMAND=ssh -oBatchMode=yes")
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	switch {
	case err == nil:
		return out, nil
	case errors.Is(err, exec.ErrNotFound):
		return nil, advise("install git", "cannot find the program git")
	case r.ctx.Err() != nil:
		return nil, r.ctx.Err()
	}
	return nil, fmt.Errorf("git: %s", gitSays(stderr.String(), err))
}

// gitSays is the line of git's complaint that says most.
func gitSays(text string, err error) string {
	last := ""
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if rest, ok := strings.CutPrefix(line, "fatal: "); ok {
			return rest
		}
		if line != "" && !strings.HasPrefix(line, "warning:") && last == "" {
			last = line
		}
	}
	if last == "" {
		return err.Error()
	}
	return last
}
