package watch

import (
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// TestRealLimits lowers the limits of inotify in a user namespace, where they
// bind this test only.
func TestRealLimits(t *testing.T) {
	const inside = "WATCH_TEST_LIMIT"
	for file, sysctl := range map[string]string{"max_inotify_watches": sysctlWatches, "max_inotify_instances": sysctlInstances} {
		if os.Getenv(inside) == "" {
			t.Run(file, func(t *testing.T) { runInNamespace(t, inside+"="+file) })
			continue
		}
		if os.Getenv(inside) != file {
			continue
		}
		limit := map[string]string{"max_inotify_watches": "4", "max_inotify_instances": "0"}[file]
		if err := os.WriteFile("/proc/sys/user/"+file, []byte(limit), 0); err != nil {
			t.Skipf("cannot lower the limit: %v", err)
		}
		p := newProject(t, "a/b/c/x", "d/e/y", "s").open(quick)
		p.write("a/b/c/x", "2")
		p.want("a/b/c/x")
		p.write("d/e/y", "2")
		p.want("d/e/y")
		p.write("d/new/z", "2")
		p.want("d/new/z")
		if len(p.warnings) != 1 || !strings.Contains(p.warnings[0], sysctl) {
			t.Errorf("got the warnings %q, want one that names %s", p.warnings, sysctl)
		}
		t.Log("was limited")
	}
}

func runInNamespace(t *testing.T, env string) {
	cmd := exec.Command(os.Args[0], "-test.run=^TestRealLimits$", "-test.v")
	cmd.Env = append(os.Environ(), env)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
	out, err := cmd.CombinedOutput()
	switch {
	case len(out) == 0 && err != nil:
		t.Skipf("no user namespaces here: %v", err)
	case err != nil:
		t.Errorf("%v\n%s", err, out)
	case !strings.Contains(string(out), "was limited"):
		t.Skipf("cannot lower the limit here:\n%s", out)
	}
}
