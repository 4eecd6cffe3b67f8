package proc

import (
	"errors"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// defaultPath is where programs are looked for when the environment has no PATH: systemd's choice.
const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// errNul is the cause for a text that no program can be given.
var errNul = errors.New("it contains a NUL byte, which no program can be given")

// ours says that the variable k belongs to a protocol between a child and whoever started it, so an inherited one is wrong.
func ours(k string, marked bool) bool {
	switch k {
	case "NOTIFY_SOCKET", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PIDFDID", "WATCHDOG_USEC", "WATCHDOG_PID", readyVar:
		return true
	case MarkerVar:
		return marked
	}
	return false
}

// environ gives the environment of s without the variables that hold the child's own pid: the last of duplicates, in order,
// then ours. ready is the number of the readiness descriptor, or 0.
func environ(s *Spec, ready int) ([]string, error) {
	out := make([]string, 0, len(s.Env)+6)
	last := make(map[string]int, len(s.Env))
	for i, kv := range s.Env {
		if strings.IndexByte(kv, 0) >= 0 {
			k, _, _ := strings.Cut(kv, "=")
			return nil, &StartError{Op: "env", Path: k, Err: errNul}
		}
		last[envKey(kv)] = i
	}
	for i, kv := range s.Env {
		if k := envKey(kv); last[k] == i && !ours(k, s.Marker != "") {
			out = append(out, kv)
		}
	}
	add := func(k, v string) { out = append(out, k+"="+v) }
	if s.Marker != "" {
		add(MarkerVar, s.Marker)
	}
	if s.Notify != "" {
		add("NOTIFY_SOCKET", s.Notify)
	}
	if ready != 0 {
		add(readyVar, strconv.Itoa(ready))
	}
	if s.Watchdog > 0 {
		add("WATCHDOG_USEC", strconv.FormatInt(s.Watchdog.Microseconds(), 10))
	}
	if n := len(s.Listen); n > 0 {
		names, err := fdNames(s.Listen)
		if err != nil {
			return nil, err
		}
		add("LISTEN_FDS", strconv.Itoa(n))
		add("LISTEN_FDNAMES", names)
	}
	for _, v := range []string{s.Marker, s.Notify} {
		if strings.IndexByte(v, 0) >= 0 {
			return nil, &StartError{Op: "env", Path: v, Err: errNul}
		}
	}
	return out, nil
}

// envKey is what makes two entries duplicates; an entry without "=" is only equal to itself.
func envKey(kv string) string {
	if i := strings.IndexByte(kv, '='); i >= 0 {
		return kv[:i]
	}
	return kv
}

// fdNames is LISTEN_FDNAMES. libsystemd refuses the whole list when the count is wrong, so a colon in a name must not pass.
func fdNames(ls []Listener) (string, error) {
	names := make([]string, len(ls))
	for i, l := range ls {
		names[i] = l.Name
		if l.Name == "" {
			names[i] = "unknown"
		}
		bad := func(r rune) bool { return r <= ' ' && r != ' ' || r == ':' || r >= 0x7f }
		if len(l.Name) > 255 || strings.ContainsFunc(l.Name, bad) {
			return "", &StartError{Op: "listen", Path: l.Name, Err: errors.New("a name has at most 255 printable ASCII characters and no colon")}
		}
		if l.File == nil {
			return "", &StartError{Op: "listen", Path: l.Name, Err: errors.New("it has no socket")}
		}
	}
	return strings.Join(names, ":"), nil
}

// pathOf is the PATH of an environment.
func pathOf(env []string) string {
	for i := len(env) - 1; i >= 0; i-- {
		if v, ok := strings.CutPrefix(env[i], "PATH="); ok {
			return v
		}
	}
	return defaultPath
}

// lookup gives the files that name can mean, best first, as the child will see them after entering dir. A name with a
// slash means itself. probe says of a file nil, or why it cannot be run; those after the first that can are not probed: they will hardly be needed.
func lookup(name, path, dir string, probe func(file string) error) ([]string, *StartError) {
	if name == "" {
		return nil, &StartError{Op: "find", Path: name, Err: syscall.ENOENT}
	}
	if strings.Contains(name, "/") {
		return []string{name}, nil
	}
	var found, tried []string
	denied := ""
	for _, d := range filepath.SplitList(path) {
		if d == "" {
			d = "."
		}
		tried = append(tried, d)
		file := d + "/" + name
		if found != nil {
			found = append(found, file)
			continue
		}
		switch err := probe(at(dir, file)); {
		case err == nil:
			found = append(found, file)
		case errors.Is(err, syscall.EACCES) && denied == "":
			denied = file
		}
	}
	switch {
	case found != nil:
		return found, nil
	case denied != "":
		return nil, &StartError{Op: "run", Path: denied, Tried: tried, Err: syscall.EACCES}
	}
	return nil, &StartError{Op: "find", Path: name, Tried: tried, Err: syscall.ENOENT}
}

// at is file as seen from dir.
func at(dir, file string) string {
	if filepath.IsAbs(file) {
		return file
	}
	return filepath.Join(dir, file)
}
