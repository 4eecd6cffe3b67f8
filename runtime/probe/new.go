package probe

import (
	"context"
	"fmt"
	"io/fs"
	"net"
	"strconv"
	"syscall"

	"orrery/lang/graph"
)

// Probe is one question to a service.
type Probe interface {
	// Check asks once. Nil means that the service works. It ends soon after
	// ctx, which carries the time for one try. Not safe for concurrent use.
	Check(ctx context.Context) error
}

// Target is the service that a probe looks at.
type Target struct {
	// Fill returns a text with every reference bound. Nil: only texts without
	// references.
	Fill func(graph.Text) (string, error)
	// Argv returns a command as an argv with every reference bound; a script
	// becomes that of a shell. Only exec probes need it. Nil: only commands
	// without references.
	Argv func(graph.Command) ([]string, error)
	// Port is the one port of the service, for probes that name none; 0 if
	// it has none, or several.
	Port int
	// Dir is the service's working directory: exec probes run there, and the
	// paths of file and unix probes are relative to it.
	Dir string
	// Env is the whole environment of exec probes, as NAME=value.
	Env []string
	// Former is the file of a file probe as a former instance left it, which
	// does not count; nil: any file does.
	Former fs.FileInfo
	// User is whom exec probes run as; nil: us.
	User *syscall.Credential
	// Lines calls yield with each line that the service has written since the
	// last call of Lines, since its start in the first, without the newline,
	// until yield returns false; then the next call goes on after that line. A last line without newline is given too, and
	// again when it has grown. The line may be overwritten after yield
	// returns. Only log probes need it.
	Lines func(yield func(line []byte) bool) error
	// Warn takes, at most once a probe, what is wrong with a service that
	// works nevertheless. It is called from within Check. Nil: nobody asks.
	Warn func(text string)
}

// New makes the probe that p declares. An error means that the declaration or
// its bound values are not usable; trying again does not help.
func New(p *graph.Probe, t Target) (Probe, error) {
	q, err := newKind(p, t)
	if err != nil {
		return nil, fmt.Errorf("cannot make probe.%s: %w", p.Kind, err)
	}
	return q, nil
}

func newKind(p *graph.Probe, t Target) (Probe, error) {
	switch p.Kind {
	case "http":
		return newHTTP(p, t)
	case "tcp":
		return newTCP(p, t)
	case "unix":
		return newUnix(p, t)
	case "exec":
		return newExec(p, t)
	case "log":
		return newLog(p, t)
	case "file":
		return newFile(p, t)
	case "notify", "fd":
		return nil, fmt.Errorf("it is not polled: the service tells by itself")
	}
	return nil, fmt.Errorf("got an unknown kind, want http, tcp, unix, exec, log or file")
}

// fill binds a text.
func (t *Target) fill(field string, text graph.Text) (string, error) {
	if t.Fill == nil {
		if s, ok := text.Plain(); ok {
			return s, nil
		}
		return "", fmt.Errorf("%s: got %s, want a text without references", field, text)
	}
	s, err := t.Fill(text)
	if err != nil {
		return "", fmt.Errorf("%s: %w", field, err)
	}
	return s, nil
}

// argv binds a command.
func (t *Target) argv(c graph.Command) ([]string, error) {
	if t.Argv != nil {
		argv, err := t.Argv(c)
		if err == nil && len(argv) == 0 {
			err = fmt.Errorf("got an empty argv, want a program")
		}
		if err != nil {
			return nil, fmt.Errorf("command: %w", err)
		}
		return argv, nil
	}
	if c.Script != nil {
		s, ok := c.Script.Plain()
		if !ok {
			return nil, fmt.Errorf("command: got %s, want a script without references", c.Script)
		}
		return []string{"sh", "-euc", s}, nil
	}
	var argv []string
	for i, a := range c.Argv {
		s, ok := a.Plain()
		if !ok {
			return nil, fmt.Errorf("command[%d]: got %s, want a text without references", i, a)
		}
		argv = append(argv, s)
	}
	if len(argv) == 0 {
		return nil, fmt.Errorf("command: got an empty argv, want a program")
	}
	return argv, nil
}

// address binds host and port, with the port of the service as the default.
func (t *Target) address(p *graph.Probe) (host, port string, err error) {
	if host, err = t.fill("host", p.Host); err != nil {
		return "", "", err
	}
	number := t.Port
	if p.Port != nil {
		s, err := t.fill("port", p.Port)
		if err != nil {
			return "", "", err
		}
		if number, err = strconv.Atoi(s); err != nil || number == 0 {
			return "", "", fmt.Errorf("port: got %q, want a number from 1 to 65535", s)
		}
	}
	switch {
	case number == 0:
		return "", "", fmt.Errorf("the service has not exactly one port; say which with port=")
	case number < 0 || number > 65535:
		return "", "", fmt.Errorf("port: got %d, want a number from 1 to 65535", number)
	}
	return host, strconv.Itoa(number), nil
}

// httpDialer returns how to reach the unix socket of a probe, or its host and port.
func (t *Target) httpDialer(p *graph.Probe) (*dialer, error) {
	if p.Socket == nil {
		return t.dialer(p)
	}
	path, err := t.socketPath(p)
	if err != nil {
		return nil, err
	}
	return &dialer{network: "unix", addresses: []string{path}}, nil
}

// dialer returns how to reach the host and port of a probe.
func (t *Target) dialer(p *graph.Probe) (*dialer, error) {
	host, port, err := t.address(p)
	if err != nil {
		return nil, err
	}
	d := &dialer{network: "tcp", warn: t.Warn}
	switch host {
	case "", "127.0.0.1", "localhost", "0.0.0.0", "::":
		d.addresses = []string{net.JoinHostPort("127.0.0.1", port), net.JoinHostPort("::1", port)}
	default:
		d.addresses = []string{net.JoinHostPort(host, port)}
	}
	return d, nil
}
