package main

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"orrery/runtime/control"
	"orrery/runtime/proc"
)

// TestMain makes this test binary an orrery, too: testscript copies it into the
// PATH of the scripts under that name, and it starts itself again as the engine
// and as the shim of each process, as the real one does.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"orrery": main, "crasher": crasher})
}

// TestScript runs testdata/script: what the command line promises.
// UPDATE_SCRIPTS=1 rewrites the files that cmp compares with.
func TestScript(t *testing.T) {
	t.Setenv("GOTMPDIR", t.TempDir()) // with a filter testscript leaves its folder
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		Setup:               setup,
		Cmds:                scriptCommands(),
		Condition:           scriptCondition,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		UpdateScripts:       os.Getenv("UPDATE_SCRIPTS") != "",
	})
}

// patience is how long a script waits for what should come at once, on a busy
// machine.
const patience = 30 * time.Second

// setup gives each script a home, a cache and a run directory of its own, and
// cleans up after it: engines that still run are stopped, and a process that is
// left then is a failure.
func setup(env *testscript.Env) error {
	run, err := os.MkdirTemp("/tmp", "o") // short: unix sockets lie in it
	if err != nil {
		return err
	}
	home := filepath.Join(env.WorkDir, ".home")
	for _, dir := range []string{home, filepath.Join(env.WorkDir, ".cache")} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
	}
	env.Vars = append(env.Vars,
		"HOME="+home, "USER="+os.Getenv("USER"), "LANG=C.UTF-8",
		"XDG_RUNTIME_DIR="+run, "XDG_CACHE_HOME="+filepath.Join(env.WorkDir, ".cache"))
	repo, err := filepath.Abs("../..")
	if err != nil {
		return err
	}
	env.Vars = append(env.Vars, "REPO="+repo)
	for _, v := range []string{"GOCACHE", "GOMODCACHE", "GOPROXY", "GOFLAGS", "GONOSUMDB", "GOTOOLCHAIN"} { // for scripts that build
		out, err := exec.Command("go", "env", v).Output()
		if err != nil {
			return err
		}
		env.Vars = append(env.Vars, v+"="+strings.TrimSpace(string(out)))
	}
	t := env.T().(testing.TB)
	env.Defer(func() {
		stopEngines(t, env)
		killLeftovers(t, run, env.WorkDir)
		os.RemoveAll(run)
	})
	return nil
}

// stopEngines stops what a script left running, and removes the data that root's services with a user have outside of the folder.
func stopEngines(t testing.TB, env *testscript.Env) {
	orrery, err := exec.LookPath("orrery")
	if err != nil {
		t.Error(err)
		return
	}
	filepath.WalkDir(env.WorkDir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() || d.Name() != ".orrery" {
			return nil
		}
		files, _ := filepath.Glob(filepath.Join(filepath.Dir(path), "*.star"))
		for _, file := range files {
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			cmd := exec.CommandContext(ctx, orrery, "-f", file, "down")
			cmd.Env = env.Vars
			out, err := cmd.CombinedOutput()
			if ctx.Err() != nil {
				t.Errorf("cannot stop the engine of %s: %v\n%s", file, err, out)
			}
			cancel()
			if place, err := control.Locate(file); err == nil && os.Geteuid() == 0 {
				os.RemoveAll(place.ForSystem().State)
				os.RemoveAll(place.ForSystem().Run)
			}
		}
		return fs.SkipDir
	})
}

// killLeftovers kills, by pid, the processes that still carry the script's run
// directory in their environment or are in its folder, and says which they were.
// Children of this process are testscript's to end.
func killLeftovers(t testing.TB, run, work string) {
	deadline := time.Now().Add(5 * time.Second)
	for {
		left := leftovers(run, work)
		if len(left) == 0 {
			return
		}
		if time.Now().Before(deadline) {
			time.Sleep(20 * time.Millisecond)
			continue
		}
		for pid, what := range left {
			t.Errorf("left running: pid %d: %s", pid, what)
			syscall.Kill(pid, syscall.SIGKILL)
		}
		return
	}
}

func leftovers(run, work string) map[int]string {
	left := map[int]string{}
	procs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range procs {
		pid, _ := strconv.Atoi(filepath.Base(dir))
		p, ok := readProc(pid)
		if !ok || pid == os.Getpid() || p.parent == os.Getpid() || p.state == "Z" {
			continue
		}
		env, _ := os.ReadFile(filepath.Join(dir, "environ"))
		cwd, _ := os.Readlink(filepath.Join(dir, "cwd"))
		ours := strings.Contains("\x00"+string(env), "\x00XDG_RUNTIME_DIR="+run+"\x00")
		if ours || cwd == work || strings.HasPrefix(cwd, work+"/") {
			args, _ := os.ReadFile(filepath.Join(dir, "cmdline"))
			left[pid] = strings.ReplaceAll(strings.TrimRight(string(args), "\x00"), "\x00", " ")
		}
	}
	return left
}

// procInfo is what /proc/PID/stat says.
type procInfo struct {
	state  string
	parent int
}

func readProc(pid int) (procInfo, bool) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return procInfo{}, false
	}
	_, rest, _ := strings.Cut(string(b), ") ")
	f := strings.Fields(rest)
	if len(f) < 2 {
		return procInfo{}, false
	}
	parent, _ := strconv.Atoi(f[1])
	return procInfo{f[0], parent}, true
}

// alive reports whether a process runs; a zombie does not.
func alive(pid int) bool {
	p, ok := readProc(pid)
	return ok && p.state != "Z" && p.state != "X"
}

// scriptCondition answers [root], [cgroup]: limits are kept by cgroups here, [pidns]: a pid namespace can be made, [landlock]: a
// sandbox can refuse and tell what, and [python:a,b]: the system's Python has these modules.
func scriptCondition(cond string) (bool, error) {
	if cond == "root" {
		return os.Geteuid() == 0, nil
	}
	if cond == "landlock" {
		abi, sees := proc.SandboxMeans()
		return abi > 0 && sees, nil
	}
	if cond == "cgroup" {
		memory, tasks, cpu := proc.LimitMeans()
		return strings.HasPrefix(memory, "cgroup") && strings.HasPrefix(tasks, "cgroup") && cpu != "", nil
	}
	if modules, ok := strings.CutPrefix(cond, "python:"); ok {
		return exec.Command("/usr/bin/python3", "-c", "import "+modules).Run() == nil, nil
	}
	if cond == "npm" {
		return npmWorks(), nil
	}
	if cond == "pidns" {
		p, err := proc.Start(&proc.Spec{Name: "pidns", Argv: []string{"/bin/true"}, PidNamespace: true})
		if err == nil {
			p.Wait()
			p.Close()
		}
		return err == nil, nil
	}
	if cond == "all-tools" { // CI, where what is missing is a failure
		return os.Getenv("ORRERY_REQUIRE_TOOLS") != "", nil
	}
	return false, fmt.Errorf("unknown condition %q", cond)
}

// npmWorks reports whether npm is there and reaches its registry; where every
// tool is required, the script that asks may fail.
var npmWorks = sync.OnceValue(func() bool {
	if os.Getenv("ORRERY_REQUIRE_TOOLS") != "" {
		return true
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return exec.CommandContext(ctx, "npm", "view", "esbuild", "version").Run() == nil
})
