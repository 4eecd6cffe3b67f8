package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// activated are the sockets of these tests: as many of them as a test wants.
var activated = [...]string{"web", "admin", "ctl"}

// TestActivationLikeSystemd: what a service is given is what
// systemd-socket-activate gives, and no other descriptor.
func TestActivationLikeSystemd(t *testing.T) {
	torture(t)
	for _, tool := range []string{"systemd-socket-activate", "python3"} {
		needTool(t, tool)
	}
	report := testdata(t, "activation/report.py")
	for _, n := range []int{1, 3} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			ports := freePorts(t, 4)
			c := newCheckout(t, listening(n, ports, fmt.Sprintf(`["python3", %q, "got"]`, report), "None")+fmt.Sprintf(
				"service(\"none\", command = [\"python3\", %q, \"none\"])\n", report))
			want := oracle(t, c, n, report)
			c.must("up", "-d", "--wait")
			c.await("got", func() bool { return c.read("got") != "" })
			if got := c.read("got"); got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
			c.await("none", func() bool { return c.read("none") != "" })
			if got := c.read("none"); got != "LISTEN_FDS=None\nLISTEN_FDNAMES=None\nLISTEN_PID is ours: False\n" {
				t.Errorf("a service without sockets: got\n%s", got)
			}
		})
	}
}

// listening declares a service with the first n of the sockets: tcp, tcp, unix.
func listening(n int, ports []int, command, ready string) string {
	kinds := []string{fmt.Sprintf("socket.tcp(%d)", ports[0]), fmt.Sprintf("socket.tcp(%d)", ports[1]), `socket.unix("s")`}
	var sockets []string
	for i, name := range activated[:n] {
		sockets = append(sockets, fmt.Sprintf("%q: %s", name, kinds[i]))
	}
	return fmt.Sprintf("service(\"web\", command = %s, listen = {%s}, ready = %s)\n", command, strings.Join(sockets, ", "), ready)
}

// oracle is the report of the same program under systemd-socket-activate.
func oracle(t *testing.T, c *checkout, n int, report string) string {
	t.Helper()
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Fatal(err)
	}
	ports := freePorts(t, 2)
	addrs := []string{fmt.Sprintf("127.0.0.1:%d", ports[0]), fmt.Sprintf("127.0.0.1:%d", ports[1]), filepath.Join(c.run, "oracle")}
	args := []string{"--fdname=" + strings.Join(activated[:n], ":"), "-E", "PATH=" + os.Getenv("PATH")}
	for _, a := range addrs[:n] {
		args = append(args, "-l", a)
	}
	cmd := exec.Command("systemd-socket-activate", append(args, python, report, c.path("oracle"), "once")...)
	cmd.Env = c.env
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	c.await("systemd-socket-activate", func() bool {
		conn, err := net.Dial("tcp", addrs[0])
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
	c.await("its report", func() bool { return c.read("oracle") != "" })
	return c.read("oracle")
}

// TestActivationClients: the client libraries see the sockets.
func TestActivationClients(t *testing.T) {
	torture(t)
	for _, client := range []struct{ name, tool string }{{"go-systemd", "go"}, {"libsystemd", "cc"}} {
		t.Run(client.name, func(t *testing.T) {
			needTool(t, client.tool)
			exe := filepath.Join(t.TempDir(), "client")
			build := exec.Command("go", "build", "-o", exe, testdata(t, "activation/client.go"))
			ready := "None"
			if client.tool == "cc" {
				if _, err := os.Stat("/usr/include/systemd/sd-daemon.h"); err != nil {
					needTool(t, "/usr/include/systemd/sd-daemon.h")
				}
				build = exec.Command("cc", "-Wall", "-Werror", "-o", exe, testdata(t, "activation/client.c"), "-lsystemd")
				ready = "probe.notify()"
			}
			if out, err := build.CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			c := newCheckout(t, listening(3, freePorts(t, 2), fmt.Sprintf(`[%q, "got"]`, exe), ready))
			c.must("up", "-d", "--wait")
			const want = "3 files\nweb tcp\nadmin tcp\nctl unix\n"
			c.await("the client's report", func() bool { return strings.Count(c.read("got"), "\n") == 4 })
			if got := c.read("got"); got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

func testdata(t *testing.T, name string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// needTool skips a test whose tool is missing, but where all must be there.
func needTool(t *testing.T, tool string) {
	t.Helper()
	if _, err := exec.LookPath(tool); err == nil {
		return
	}
	if os.Getenv("ORRERY_REQUIRE_TOOLS") != "" {
		t.Fatalf("%s is missing", tool)
	}
	t.Skipf("%s is missing", tool)
}
