package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// The stack part: a database, a cache, a migration and a web service. The application is that of -app, examples/shop: a
// program with the verbs migrate and serve. What is measured is the time until it serves.

// stackMeasures are the rows, in the order of the report.
func stackMeasures() []measure {
	return []measure{
		{"first", "first", "ms", "a new checkout until the web service answers: build, cluster, database, migration, servers"},
		{"second", "second", "ms", "the same checkout again"},
		{"worktree", "worktree", "ms", "git worktree add, and up in it beside the first one, until all is ready"},
		{"worktree.git", "worktree", "ms", "git worktree add alone"},
	}
}

// stack is what all sessions of the part share.
type stack struct {
	*runner
	dir  string // holds the application as it is copied, and Go's caches
	port int    // where it serves
	env  []string
}

// again is how often a round starts what is there and, of orrery, adds a worktree.
const again = 4

func (r *runner) stack(ctx context.Context, list []*found) ([]result, error) {
	st, err := r.newStack(ctx)
	if st != nil {
		defer func() { _ = os.RemoveAll(st.dir) }()
	}
	if err != nil {
		return nil, err
	}
	cells := map[key]*cell{}
	for round := range r.rounds {
		for _, i := range rand.Perm(len(list)) {
			f := list[i]
			if ctx.Err() != nil {
				break
			}
			t := time.Now()
			samples, err := st.round(ctx, f)
			fmt.Fprintf(r.log, "round %d/%d  %-16s %5.1f s", round+1, r.rounds, f.name, time.Since(t).Seconds())
			if err != nil && ctx.Err() == nil {
				fmt.Fprintf(r.log, "  %v", err)
				samples = append(samples, failure("second", err))
			}
			fmt.Fprintln(r.log)
			gather(cells, f.name, samples)
		}
	}
	var asked []measure
	for _, m := range stackMeasures() {
		if r.wants(m.group) {
			asked = append(asked, m)
		}
	}
	return results(asked, list, cells), ctx.Err()
}

// newStack copies the application, gives it a port and a repository, and builds it once, so that Go's cache is full.
func (r *runner) newStack(ctx context.Context) (*stack, error) {
	if os.Geteuid() == 0 {
		return nil, errors.New("got -stack as root, want an ordinary user: PostgreSQL refuses root")
	}
	dir, err := os.MkdirTemp("", "obs")
	if err != nil {
		return nil, err
	}
	st := &stack{runner: r, dir: dir}
	free, err := ports(1)
	if err != nil {
		return st, err
	}
	st.port = free[0]
	caches, err := exec.CommandContext(ctx, "go", "env", "GOCACHE", "GOMODCACHE").Output()
	if err != nil {
		return st, fmt.Errorf("cannot ask go for its caches: %w", err)
	}
	where := strings.Fields(string(caches))
	st.env = []string{
		"GOCACHE=" + where[0], "GOMODCACHE=" + where[1], "PATH=" + postgresBin() + string(os.PathListSeparator) + os.Getenv("PATH"),
	}
	app := filepath.Join(dir, "app")
	if err := os.CopyFS(app, os.DirFS(r.app)); err != nil {
		return st, fmt.Errorf("cannot copy the application; -app says where it is: %w", err)
	}
	for _, name := range []string{".orrery", "bin"} {
		if err := os.RemoveAll(filepath.Join(app, name)); err != nil {
			return st, err
		}
	}
	if err := reportPort(app, st.port); err != nil {
		return st, err
	}
	for _, argv := range [][]string{
		{"go", "build", "-o", os.DevNull, "./cmd/shop"},
		{"git", "init", "-q"},
		{"git", "add", "-A"},
		{"git", "-c", "user.name=bench", "-c", "user.email=bench@localhost", "commit", "-q", "-m", "bench"},
	} {
		if err := st.run(ctx, app, argv...); err != nil {
			return st, err
		}
	}
	return st, nil
}

// reportPort makes the application serve on a port of ours.
func reportPort(app string, port int) error {
	return filepath.WalkDir(app, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") && !strings.HasSuffix(path, ".star") {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(path, []byte(strings.ReplaceAll(string(b), "8080", strconv.Itoa(port))), 0o644)
	})
}

// postgresBin is the folder of PostgreSQL's programs where they are not on the PATH.
func postgresBin() string {
	all, _ := filepath.Glob("/usr/lib/postgresql/*/bin")
	if len(all) == 0 {
		return "/usr/lib/postgresql/bin"
	}
	return all[len(all)-1]
}

// run runs a command of the preparation.
func (st *stack) run(ctx context.Context, dir string, argv ...string) error {
	ctx, cancel := context.WithTimeout(ctx, setupLimit)
	defer cancel()
	c := exec.CommandContext(ctx, argv[0], argv[1:]...)
	c.Dir, c.Env = dir, append(os.Environ(), st.env...)
	file, err := os.CreateTemp(st.dir, "said")
	if err != nil {
		return err
	}
	defer file.Close()
	c.Stdout, c.Stderr = file, file
	if err := st.family.start(c); err != nil {
		return err
	}
	if err := st.family.wait(c); err != nil {
		b, _ := os.ReadFile(file.Name())
		return fmt.Errorf("%s: %w: %s", strings.Join(argv, " "), err, tail(string(b)))
	}
	return nil
}

// round is one of one peer: the first start, the second, and the worktrees.
func (st *stack) round(ctx context.Context, f *found) ([]sample, error) {
	s, err := open(st.runner, f)
	if err != nil {
		return nil, err
	}
	defer s.close()
	s.more, s.own = st.env, true // as orrery's keeper has one, so shall the others
	s.scratch["app"], s.scratch["port"] = filepath.Join(st.dir, "app"), strconv.Itoa(st.port)
	var list []sample
	for i := range 1 + again {
		id := "first"
		if i > 0 {
			id = "second"
		}
		took, err := st.serves(ctx, s)
		if err != nil {
			return list, fmt.Errorf("%s: %w: %s", id, err, s.said())
		}
		list = append(list, sample{id: id, value: ms(took)})
		if i == again && f.name == "orrery" && st.wants("worktree") {
			more, err := st.worktrees(s)
			if list = append(list, more...); err != nil {
				return list, err
			}
		}
		if _, err := s.down(ctx); err != nil {
			return list, err
		}
	}
	return list, nil
}

// serves starts everything and waits for an answer.
func (st *stack) serves(ctx context.Context, s *session) (time.Duration, error) {
	if err := s.start(); err != nil {
		return 0, err
	}
	client := &http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	for end := s.began.Add(setupLimit); time.Now().Before(end); {
		if ok(client, st.port) {
			took := time.Since(s.began)
			return took, s.settled(ctx, 200*time.Millisecond)
		}
		if err := sleep(ctx, 2*time.Millisecond); err != nil {
			return 0, err
		}
	}
	return 0, errors.New("it does not serve")
}

func ok(client *http.Client, port int) bool {
	answer, err := client.Get(fmt.Sprintf("http://127.0.0.1:%d/healthz", port))
	if err != nil {
		return false
	}
	_ = answer.Body.Close()
	return answer.StatusCode == http.StatusOK
}

// worktrees adds some beside the checkout that is up.
func (st *stack) worktrees(s *session) ([]sample, error) {
	var list []sample
	for i := range again {
		name := fmt.Sprintf("w%d", i)
		at := func(args ...string) []string { return append([]string{s.program(), "-C", s.file(name)}, args...) }
		t := time.Now()
		if _, err := s.do([]string{"git", "-C", s.file("app"), "worktree", "add", "-q", "--detach", s.file(name)}); err != nil {
			return list, err
		}
		git := time.Since(t)
		if _, err := s.do(at("up", "-d", "--wait=60s", "web")); err != nil {
			return list, err
		}
		took := time.Since(t)
		text, err := s.do(at("port", "web"))
		if err != nil {
			return list, err
		}
		port, err := strconv.Atoi(strings.TrimSpace(text))
		if err != nil || port == st.port || !ok(http.DefaultClient, port) {
			return list, fmt.Errorf("got no answer of the worktree on its port %q: %v", text, err)
		}
		list = append(list, sample{id: "worktree", value: ms(took)}, sample{id: "worktree.git", value: ms(git)})
		if _, err := s.do(at("down")); err != nil {
			return list, err
		}
		if _, err := s.do([]string{"git", "-C", s.file("app"), "worktree", "remove", "--force", s.file(name)}); err != nil {
			return list, err
		}
	}
	return list, nil
}
