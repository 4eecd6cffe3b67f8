// Code generated from spec.star by go test ./lang/spec -fix. DO NOT EDIT.

package graph

// Port: A TCP or UDP port that the program binds itself; the number is allocated when the graph runs.
type Port struct {
	Base   int    `json:"base"`            // The number wished for. The next free one is taken when it is in use, unless strict.
	Strict *bool  `json:"strict,omitzero"` // Fail, naming the owner, rather than take another number. None: what the project says.
	Host   string `json:"host,omitzero"`   // The address that the program binds; None: all interfaces.
	Proto  string `json:"proto,omitzero"`  // The protocol.
}

// Listen: Sockets that orrery binds and passes on (LISTEN_FDS, in the order of declaration); held over every restart.
// Kind is tcp, udp, unix, unix_dgram, unix_seqpacket; it says which fields count.
type Listen struct {
	Kind    string `json:"kind"`            // The constructor that made it.
	Base    int    `json:"base"`            // The port wished for; the next free one is taken when it is in use.
	Host    string `json:"host,omitzero"`   // The address to bind; None: all interfaces.
	Strict  *bool  `json:"strict,omitzero"` // Fail rather than take another number. None: what the project says.
	File    string `json:"file,omitzero"`   // File name in the service's runtime directory, or an absolute path; @name is an abstract address.
	Mode    Mode   `json:"mode"`            // Permission bits, set before the socket can be reached.
	Backlog int    `json:"backlog"`         // Length of the queue of connections not yet accepted.
	Accept  bool   `json:"accept,omitzero"` // Start one process a connection, with the connection as descriptor 3 and REMOTE_ADDR, REMOTE_PORT. It must be the only socket.
}

// Command: What to run: a list is an argv, given to execve byte for byte; a text is a script for sh -euc, in which a reference reaches the shell as exactly its value, whatever the quoting around it.
type Command struct {
	Argv   []Text `json:"argv,omitzero"`   // Program and arguments.
	Script Text   `json:"script,omitzero"` // A script for sh -euc.
}

// Texts calls yield for every text that is present, with the field that holds it and
// what spec.star says of that field.
func (v *Command) Texts(yield func(field string, use Use, t *Text)) {
	for i0 := range v.Argv {
		if v.Argv[i0] != nil {
			yield("argv", Use{"text", false}, &v.Argv[i0])
		}
	}
	if v.Script != nil {
		yield("script", Use{"text", false}, &v.Script)
	}
}

// Probe: How readiness and health are asked. Until ready the pace is orrery's own: at once, then from 1 ms growing to 100 ms.
// Kind is http, tcp, unix, exec, notify, fd, log, file; it says which fields count.
type Probe struct {
	Kind         string     `json:"kind"`                   // The constructor that made it.
	Path         Text       `json:"path,omitzero"`          // Path and query.
	Port         Text       `json:"port,omitzero"`          // The port. None: the only port or tcp socket of the service.
	Socket       Text       `json:"socket,omitzero"`        // Path of a unix socket to ask in place of a port.
	Host         Text       `json:"host,omitzero"`          // The host; 127.0.0.1 also tries ::1.
	Scheme       string     `json:"scheme,omitzero"`        // https takes any certificate.
	Status       string     `json:"status,omitzero"`        // What counts as good: "2xx", "200", "200-399" or a list of these with commas.
	Headers      Dict[Text] `json:"headers,omitzero"`       // Headers of the request.
	Command      Command    `json:"command,omitzero"`       // Argv or script.
	Regex        string     `json:"regex,omitzero"`         // A regular expression (RE2).
	File         Text       `json:"file,omitzero"`          // Path of the file.
	InitialDelay Duration   `json:"initial_delay,omitzero"` // Time before the first try.
	Period       Duration   `json:"period,omitzero"`        // Time between tries once ready.
	Timeout      Duration   `json:"timeout,omitzero"`       // Time for one try.
	Success      int        `json:"success"`                // Good answers in a row that count as up.
	Failure      int        `json:"failure"`                // Bad answers in a row that count as down, once ready.
	Deadline     *Duration  `json:"deadline,omitzero"`      // Time from the start to ready; over it the start has failed. None: no limit.
}

// Texts calls yield for every text that is present, with the field that holds it and
// what spec.star says of that field.
func (v *Probe) Texts(yield func(field string, use Use, t *Text)) {
	if v.Path != nil {
		yield("path", Use{"text", false}, &v.Path)
	}
	if v.Port != nil {
		yield("port", Use{"port", false}, &v.Port)
	}
	if v.Socket != nil {
		yield("socket", Use{"path", false}, &v.Socket)
	}
	if v.Host != nil {
		yield("host", Use{"text", false}, &v.Host)
	}
	for i0 := range v.Headers {
		if v.Headers[i0].Value != nil {
			yield("headers"+"."+v.Headers[i0].Key, Use{"text", false}, &v.Headers[i0].Value)
		}
	}
	v.Command.Texts(func(_ string, use Use, t *Text) { yield("command", use, t) })
	if v.File != nil {
		yield("file", Use{"path", false}, &v.File)
	}
}

// Restart: When an ended service starts again. The first restart is immediate, then delay, delay*factor ... up to cap.
// Kind is on_failure, always, never; it says which fields count.
type Restart struct {
	Kind    string   `json:"kind"`             // The constructor that made it.
	Max     *int     `json:"max"`              // Restarts within window before it gives up; None: unlimited.
	Window  Duration `json:"window,omitzero"`  // The sliding window in which restarts are counted.
	Delay   Duration `json:"delay,omitzero"`   // Wait before the second restart.
	Factor  int      `json:"factor"`           // Growth of the wait.
	Cap     Duration `json:"cap,omitzero"`     // The longest wait.
	Reset   Duration `json:"reset,omitzero"`   // A run longer than this starts the waits anew.
	Overlap bool     `json:"overlap,omitzero"` // Start the new instance before the old one is told to stop; needs listen and a probe that the new one answers itself.
}

// Stop: How a service is asked to end; after the timeout its whole process tree is killed.
// Kind is signal, exec; it says which fields count.
type Stop struct {
	Kind    string   `json:"kind"`             // The constructor that made it.
	Signal  string   `json:"signal,omitzero"`  // Name of the signal.
	Command Command  `json:"command,omitzero"` // Argv or script.
	Timeout Duration `json:"timeout,omitzero"` // Time to end by itself.
}

// Texts calls yield for every text that is present, with the field that holds it and
// what spec.star says of that field.
func (v *Stop) Texts(yield func(field string, use Use, t *Text)) {
	v.Command.Texts(func(_ string, use Use, t *Text) { yield("command", Use{use.Type, true}, t) })
}

// Reload: How the service rereads its configuration without a restart.
type Reload struct {
	Signal string `json:"signal,omitzero"` // A signal to the main process.
	Argv   []Text `json:"argv,omitzero"`   // A program that does it.
}

// Texts calls yield for every text that is present, with the field that holds it and
// what spec.star says of that field.
func (v *Reload) Texts(yield func(field string, use Use, t *Text)) {
	for i0 := range v.Argv {
		if v.Argv[i0] != nil {
			yield("argv", Use{"text", false}, &v.Argv[i0])
		}
	}
}

// Watchdog: The service must send WATCHDOG=1 within each interval, or it is aborted and restarted.
type Watchdog struct {
	Interval     Duration `json:"interval,omitzero"` // WATCHDOG_USEC.
	RequireReady bool     `json:"require_ready"`     // Count from READY=1 on; False: from the start of the process.
}

// Input: A path, a pattern, or the output of a task.
type Input struct {
	Path    Text     `json:"path,omitzero"`    // A file, a folder or the output of a task.
	Pattern *Pattern `json:"pattern,omitzero"` // A glob(...).
}

// Texts calls yield for every text that is present, with the field that holds it and
// what spec.star says of that field.
func (v *Input) Texts(yield func(field string, use Use, t *Text)) {
	if v.Path != nil {
		yield("path", Use{"path", false}, &v.Path)
	}
}

// OnChange: What a change of watched files does.
type OnChange struct {
	Action string `json:"action,omitzero"` // To the node itself.
	Task   string `json:"task,omitzero"`   // A task that is run.
}

// CleanExit: An end of a process that is no failure.
type CleanExit struct {
	Code   int    `json:"code"`            // An exit code.
	Signal string `json:"signal,omitzero"` // A signal that ended it.
}

// Watch: Files whose change of content restarts, reloads or runs a task.
type Watch struct {
	Paths      []Input  `json:"paths,omitzero"`      // Files, folders and patterns.
	Ignore     []string `json:"ignore,omitzero"`     // Patterns left out.
	Extensions []string `json:"extensions,omitzero"` // Only files with these endings; none: all.
	Do         OnChange `json:"do,omitzero"`         // What a change does: "restart", "reload" or a task to run.
	Debounce   Duration `json:"debounce,omitzero"`   // Quiet time that ends a burst of changes.
}

// Texts calls yield for every text that is present, with the field that holds it and
// what spec.star says of that field.
func (v *Watch) Texts(yield func(field string, use Use, t *Text)) {
	for i0 := range v.Paths {
		v.Paths[i0].Texts(func(_ string, use Use, t *Text) { yield("paths", use, t) })
	}
}

// ConfigFile: A file written for the service before it starts: a stable path (.path), changing content. json, yaml, toml and ini stay trees and are encoded when the references are bound.
type ConfigFile struct {
	Name   string `json:"name,omitzero"`   // File name, unique in the service.
	Text   Text   `json:"text,omitzero"`   // The content.
	Lines  []Text `json:"lines,omitzero"`  // The content, a line each.
	JSON   Tree   `json:"json,omitzero"`   // The content as a tree.
	YAML   Tree   `json:"yaml,omitzero"`   // The content as a tree.
	TOML   Tree   `json:"toml,omitzero"`   // The content as a tree.
	INI    Tree   `json:"ini,omitzero"`    // The content as {section: {key: value}}; section "" is the head.
	Source Text   `json:"source,omitzero"` // A file to copy.
	Mode   Mode   `json:"mode"`            // Permission bits.
	Secret bool   `json:"secret,omitzero"` // May hold secrets: 0600 in a private directory, never shown.
	Apply  string `json:"apply,omitzero"`  // What a changed content does to the running service; auto: reload where the service can, else restart.
}

// Texts calls yield for every text that is present, with the field that holds it and
// what spec.star says of that field.
func (v *ConfigFile) Texts(yield func(field string, use Use, t *Text)) {
	if v.Text != nil {
		yield("text", Use{"text", true}, &v.Text)
	}
	for i0 := range v.Lines {
		if v.Lines[i0] != nil {
			yield("lines", Use{"text", true}, &v.Lines[i0])
		}
	}
	v.JSON.Texts(func(t *Text) { yield("json", Use{"data", true}, t) })
	v.YAML.Texts(func(t *Text) { yield("yaml", Use{"data", true}, t) })
	v.TOML.Texts(func(t *Text) { yield("toml", Use{"data", true}, t) })
	v.INI.Texts(func(t *Text) { yield("ini", Use{"data", true}, t) })
	if v.Source != nil {
		yield("source", Use{"path", true}, &v.Source)
	}
}

// Log: Rotation of the captured output.
type Log struct {
	MaxSize Size `json:"max_size,omitzero"` // Size of a file at which it is rotated.
	Keep    int  `json:"keep"`              // Rotated files that are kept.
}

// Limits: Limits of the process: a cgroup where one can be written, rlimits else.
type Limits struct {
	Memory      *Size  `json:"memory,omitzero"`        // Bytes of memory.
	Tasks       *int   `json:"tasks,omitzero"`         // Processes and threads.
	CPU         string `json:"cpu,omitzero"`           // Share of the processors: "150%" is one and a half. Needs a cgroup that can be written.
	Nofile      *int   `json:"nofile,omitzero"`        // Open files.
	Core        *Size  `json:"core,omitzero"`          // Size of a core dump.
	Nice        *int   `json:"nice,omitzero"`          // Niceness.
	Umask       *Mode  `json:"umask,omitzero"`         // File creation mask.
	OOMScoreAdj *int   `json:"oom_score_adj,omitzero"` // Adjustment of the out-of-memory score.
}

// Harden: Confinement. no_new_privileges and capabilities act on this machine; the rest is kept in the graph for an exporter to systemd, and orrery check lists it as not yet effective.
type Harden struct {
	Profile         string   `json:"profile,omitzero"`        // A named profile. On this machine each of them is no_new_privileges; which folders it closes is for an exporter to systemd, which does not exist yet.
	NoNewPrivileges bool     `json:"no_new_privileges"`       // The process and its children cannot gain privileges.
	ProtectSystem   string   `json:"protect_system,omitzero"` // Which system folders are read-only; for an exporter to systemd, nothing is closed on this machine.
	ProtectHome     bool     `json:"protect_home"`            // Home folders are out of reach; for an exporter to systemd, nothing is closed on this machine.
	PrivateTmp      bool     `json:"private_tmp"`             // An own /tmp; for an exporter to systemd, /tmp is shared on this machine.
	Capabilities    []string `json:"capabilities,omitzero"`   // Capabilities kept (ambient), such as CAP_NET_BIND_SERVICE; needs root.
}

// Data: What of a service is worth a backup.
// Kind is sqlite, postgres, files; it says which fields count.
type Data struct {
	Kind     string   `json:"kind"`              // The constructor that made it.
	Path     Text     `json:"path,omitzero"`     // Path of the database.
	Database string   `json:"database,omitzero"` // Name of the database.
	Paths    []Text   `json:"paths,omitzero"`    // The paths.
	Exclude  []string `json:"exclude,omitzero"`  // Patterns left out.
}

// Texts calls yield for every text that is present, with the field that holds it and
// what spec.star says of that field.
func (v *Data) Texts(yield func(field string, use Use, t *Text)) {
	if v.Path != nil {
		yield("path", Use{"path", false}, &v.Path)
	}
	for i0 := range v.Paths {
		if v.Paths[i0] != nil {
			yield("paths", Use{"path", false}, &v.Paths[i0])
		}
	}
}

// RateLimit: Requests that one client may make.
type RateLimit struct {
	Events int      `json:"events"`          // Requests in a window.
	Window Duration `json:"window,omitzero"` // Length of the window.
}

// Site: The public name under which a proxy shows the service.
type Site struct {
	Domain    string     `json:"domain,omitzero"`     // Host name.
	RateLimit *RateLimit `json:"rate_limit,omitzero"` // Limit a client.
	Extra     string     `json:"extra,omitzero"`      // Text added to the proxy's block for the site.
}

// Schedule: When a task runs by itself while the graph is up. Never two runs at a time: a time that comes during a run is left out, and said. Of times that were missed (the machine slept, its clock was set) one is made up for.
// Kind is cron, every; it says which fields count.
type Schedule struct {
	Kind     string   `json:"kind"`              // The constructor that made it.
	Expr     string   `json:"expr,omitzero"`     // minute hour day month weekday, each with * , - / and names (jan, mon; Sunday is 0 or 7); or @hourly, @daily, @weekly, @monthly, @yearly. If both day and weekday are restricted, one of them suffices. A time that the clocks show twice counts once, one that they leave out counts at the end of the gap; with * as the hour every hour that passes counts.
	Tz       string   `json:"tz,omitzero"`       // Time zone, such as "Europe/Berlin"; empty: that of the machine.
	Interval Duration `json:"interval,omitzero"` // Time from start to start, at least 1s.
	Jitter   Duration `json:"jitter,omitzero"`   // Each start is late by a random time of less than this; it must be less than the interval.
}

// Pool: A limit on how many of its tasks run at a time.
type Pool struct {
	Name string `json:"name,omitzero"` // Name of the pool.
	Size int    `json:"size"`          // Tasks at a time.
}

// Pattern: A pattern of files, matched when a task runs or a watcher looks. It cannot be iterated; files() lists what matches now.
type Pattern struct {
	Include []string `json:"include,omitzero"` // Patterns with *, ?, [...], {a,b} and **, relative to the project.
	Exclude []string `json:"exclude,omitzero"` // Patterns left out.
}

// Secret: A value that must not be seen. Usable in env, exports and secret config files; an error in commands, cache keys, links and plans. .path is a file that holds it (CREDENTIALS_DIRECTORY).
type Secret struct {
	Name       string   `json:"name,omitzero"`       // Name, unique in the project.
	Env        string   `json:"env,omitzero"`        // Environment variable that holds it.
	File       string   `json:"file,omitzero"`       // File that holds it.
	Age        string   `json:"age,omitzero"`        // File encrypted with age (age -r RECIPIENT -o FILE), to an age key or an ssh key; decrypted in memory, when it is needed.
	Command    []string `json:"command,omitzero"`    // Program that prints it; run once, in the project's folder.
	Key        string   `json:"key,omitzero"`        // The file, or what the program prints, is KEY=value lines: the value of this one is the secret.
	Identities []string `json:"identities,omitzero"` // Files with the keys that decrypt age: age identities or ssh private keys, ~/ allowed; looked at after those of $ORRERY_AGE_IDENTITY and $AGE_IDENTITY (a path, or the AGE-SECRET-KEY itself). None: ~/.config/age/keys.txt, ~/.ssh/id_ed25519, ~/.ssh/id_rsa. A key with a passphrase is passed over: nothing asks for one.
}

// Tool: Programs that the project expects on the machine: looked for on the PATH, then in known folders. An attribute of the tool is the path of that program.
type Tool struct {
	Programs    []string     `json:"programs,omitzero"`     // Names of the programs; given by position.
	Packages    Dict[string] `json:"packages,omitzero"`     // Package that holds them: debian, fedora, arch, brew, nix, npm, go.
	Paths       []string     `json:"paths,omitzero"`        // Further folders to look in; patterns are allowed, the highest version wins.
	Version     string       `json:"version,omitzero"`      // Version wanted of each program, such as ">=20" or ">=1.22, <2"; a bare number is a least one. Of several on the machine the first that fits is taken.
	VersionArgs []string     `json:"version_args,omitzero"` // Arguments with which a program says its version; asked once for each program file.
}

// Project: Names the project; once, before any other declaration.
type Project struct {
	Name        string       `json:"name,omitzero"`         // Name of the project.
	Requires    string       `json:"requires,omitzero"`     // Version of orrery that is needed, such as ">=0.3".
	Default     []string     `json:"default,omitzero"`      // Targets of a bare up or run; none: all services with autostart.
	Env         Dict[string] `json:"env,omitzero"`          // Environment of every node; plain text.
	PassEnv     []string     `json:"pass_env,omitzero"`     // Variables, or patterns of them, that every task sees; keyed by value.
	StrictPorts bool         `json:"strict_ports,omitzero"` // Ports are strict where they do not say.
	Dotenv      []string     `json:"dotenv,omitzero"`       // Files of KEY=value lines added to every environment.
	Manager     string       `json:"manager,omitzero"`      // Process manager that runs the graph instead of orrery. There is none yet: a value is an error.
}

// Group: A name for several nodes, for the command line and the screen; it makes no edges.
type Group struct {
	Name    string   `json:"name,omitzero"`    // Name of the group.
	Members []string `json:"members,omitzero"` // The nodes.
}

// Common: What services and tasks share.
type Common struct {
	Name        string     `json:"name,omitzero"`        // Name: [a-z0-9][a-z0-9_-]*, nested with /.
	Cwd         Text       `json:"cwd,omitzero"`         // Folder to run in; None: the project's.
	Env         Dict[Text] `json:"env,omitzero"`         // Environment: text, references, ints; None removes the variable.
	User        string     `json:"user,omitzero"`        // User to run as; with root only.
	After       []Dep      `json:"after,omitzero"`       // What must hold before it starts: a node (a service ready, a task succeeded) or a condition.
	Before      []string   `json:"before,omitzero"`      // Nodes that wait for this one.
	Uses        []string   `json:"uses,omitzero"`        // Services it waits for, and whose env_exports it gets.
	Watch       []Watch    `json:"watch,omitzero"`       // Files whose change acts on it.
	PartOf      string     `json:"part_of,omitzero"`     // The node it belongs to, where the name does not say so.
	Labels      []string   `json:"labels,omitzero"`      // Words to select it by.
	Description string     `json:"description,omitzero"` // One line about it.
}

// Texts calls yield for every text that is present, with the field that holds it and
// what spec.star says of that field.
func (v *Common) Texts(yield func(field string, use Use, t *Text)) {
	if v.Cwd != nil {
		yield("cwd", Use{"path", true}, &v.Cwd)
	}
	for i0 := range v.Env {
		if v.Env[i0].Value != nil {
			yield("env"+"."+v.Env[i0].Key, Use{"text", true}, &v.Env[i0].Value)
		}
	}
	for i0 := range v.Watch {
		v.Watch[i0].Texts(func(f string, use Use, t *Text) { yield("watch"+"."+f, use, t) })
	}
}

// Service: A long-running program.
type Service struct {
	Common
	Command      Command      `json:"command,omitzero"`       // What to run. With listen, a script must exec its program.
	Argv0        Text         `json:"argv0,omitzero"`         // Another argv[0].
	EnvFile      []Text       `json:"env_file,omitzero"`      // Files of KEY=value lines, read at each start.
	Group        string       `json:"group,omitzero"`         // Group to run as; with root only.
	Ports        Dict[Port]   `json:"ports,omitzero"`         // Ports that the program binds: {name: int or port(...)}.
	Listen       Dict[Listen] `json:"listen,omitzero"`        // Sockets that orrery binds and passes: {name: socket....}.
	Lazy         bool         `json:"lazy,omitzero"`          // Start at the first connection to one of its sockets; until then it counts as ready. Started 20 times in 2 s by a client that it does not serve, it gives up its sockets.
	Fdstore      int          `json:"fdstore,omitzero"`       // Descriptors that the service may store (FDSTORE=1); it is given them again, after its sockets, at each restart, until it is stopped.
	Config       []ConfigFile `json:"config,omitzero"`        // Files written before it starts.
	Ready        *Probe       `json:"ready,omitzero"`         // When it is ready. None: TCP on the first port; with no port, or with sockets only, when started.
	Live         *Probe       `json:"live,omitzero"`          // Whether it still works; a failure restarts it by the restart policy.
	Restart      Restart      `json:"restart,omitzero"`       // When it starts again.
	Stop         Stop         `json:"stop,omitzero"`          // How it is stopped.
	Reload       *Reload      `json:"reload,omitzero"`        // How it rereads its configuration: name of a signal, or an argv.
	Watchdog     *Watchdog    `json:"watchdog,omitzero"`      // Liveness by WATCHDOG=1: an interval or watchdog(...).
	NotifyAccess string       `json:"notify_access,omitzero"` // Who may send notifications. None: main, or all for a script.
	Cascade      bool         `json:"cascade,omitzero"`       // Restart when a dependency was restarted.
	Exports      Dict[Text]   `json:"exports,omitzero"`       // Texts that become attributes of the service.
	EnvExports   Dict[Text]   `json:"env_exports,omitzero"`   // Variables for orrery env and exec, and for nodes that use it.
	Links        Dict[Text]   `json:"links,omitzero"`         // Links that are shown: {label: url}.
	SuccessCodes []CleanExit  `json:"success_codes,omitzero"` // Exit codes, and names of signals, that count as clean; the stop signal always does.
	TTY          bool         `json:"tty,omitzero"`           // Give it a terminal (80 columns, 24 rows) as stdin, stdout and stderr: orrery attach connects yours to it.
	PidNamespace bool         `json:"pid_namespace,omitzero"` // A pid namespace of its own: when its first process ends, or orrery is killed, the kernel ends all of it at once, whatever it did to hide. Its pids are others inside (MAINPID= is ignored), what it mounts is not seen outside. Linux; an ordinary user needs user namespaces, and set-user-id programs have no effect inside.
	Autostart    bool         `json:"autostart"`              // Part of a bare up; False: only by name or need.
	Limits       *Limits      `json:"limits,omitzero"`        // Limits of the process.
	Harden       *Harden      `json:"harden,omitzero"`        // Confinement: harden(...) or the name of a profile.
	Data         []Data       `json:"data,omitzero"`          // What is worth a backup. Kept in the graph (plan, export); nothing makes backups yet.
	Site         *Site        `json:"site,omitzero"`          // The public name. Kept in the graph (plan, export) for a production exporter; @std//proxy.star serves names on this machine.
	Overrides    Tree         `json:"overrides,omitzero"`     // Free form for one exporter: {"systemd": {...}}, "kubernetes" or "process-compose". Kept in the graph (plan, export); these exporters do not exist yet.
	Log          Log          `json:"log,omitzero"`           // Rotation of its output.
}

// Texts calls yield for every text that is present, with the field that holds it and
// what spec.star says of that field.
func (v *Service) Texts(yield func(field string, use Use, t *Text)) {
	v.Common.Texts(yield)
	v.Command.Texts(func(_ string, use Use, t *Text) { yield("command", Use{use.Type, true}, t) })
	if v.Argv0 != nil {
		yield("argv0", Use{"text", true}, &v.Argv0)
	}
	for i0 := range v.EnvFile {
		if v.EnvFile[i0] != nil {
			yield("env_file", Use{"path", true}, &v.EnvFile[i0])
		}
	}
	for i0 := range v.Config {
		v.Config[i0].Texts(func(f string, use Use, t *Text) { yield("config"+"."+f, Use{use.Type, true}, t) })
	}
	if v.Ready != nil {
		v.Ready.Texts(func(f string, use Use, t *Text) { yield("ready"+"."+f, Use{use.Type, true}, t) })
	}
	if v.Live != nil {
		v.Live.Texts(func(f string, use Use, t *Text) { yield("live"+"."+f, Use{use.Type, true}, t) })
	}
	v.Stop.Texts(func(f string, use Use, t *Text) { yield("stop"+"."+f, Use{use.Type, true}, t) })
	if v.Reload != nil {
		v.Reload.Texts(func(_ string, use Use, t *Text) { yield("reload", Use{use.Type, true}, t) })
	}
	for i0 := range v.Exports {
		if v.Exports[i0].Value != nil {
			yield("exports"+"."+v.Exports[i0].Key, Use{"text", false}, &v.Exports[i0].Value)
		}
	}
	for i0 := range v.EnvExports {
		if v.EnvExports[i0].Value != nil {
			yield("env_exports"+"."+v.EnvExports[i0].Key, Use{"text", false}, &v.EnvExports[i0].Value)
		}
	}
	for i0 := range v.Links {
		if v.Links[i0].Value != nil {
			yield("links"+"."+v.Links[i0].Key, Use{"text", false}, &v.Links[i0].Value)
		}
	}
	for i0 := range v.Data {
		v.Data[i0].Texts(func(f string, use Use, t *Text) { yield("data"+"."+f, use, t) })
	}
	v.Overrides.Texts(func(t *Text) { yield("overrides", Use{"data", false}, t) })
}

// Task: A program that runs to its end.
type Task struct {
	Common
	Command     *Command    `json:"command,omitzero"`     // What to run.
	Steps       [][]Text    `json:"steps,omitzero"`       // Several argv, one after the other.
	Inputs      []Input     `json:"inputs,omitzero"`      // Files that the result depends on.
	Outputs     Dict[Input] `json:"outputs,omitzero"`     // Files and folders that it makes: {name: path}; inside the project.
	Values      []string    `json:"values,omitzero"`      // Names of the values that it writes as name=value lines to $ORRERY_VALUES.
	Creates     []Text      `json:"creates,omitzero"`     // Skipped while all of these exist.
	Status      *Command    `json:"status,omitzero"`      // Skipped when this exits 0.
	Template    string      `json:"template,omitzero"`    // The service whose absent state_dir it fills, once: from the cache where this was done before on the machine, with the same command, environment, tools and inputs; cache = False runs it each time. The task sees a temporary folder as the state_dir, which gets its name when it is whole; so what it writes must not hold that path. A state_dir that exists is never touched, not by --force either.
	Gates       string      `json:"gates,omitzero"`       // The service that is ready only when this task has succeeded; the task itself waits for .probed.
	Cache       *bool       `json:"cache,omitzero"`       // None: cached when it declares inputs or outputs and touches no live service; False: never.
	CacheKey    []Text      `json:"cache_key,omitzero"`   // What its result depends on besides inputs, such as a database's data_id.
	PassEnv     []string    `json:"pass_env,omitzero"`    // Variables, or patterns of them, that it sees; keyed by value.
	Sandbox     string      `json:"sandbox,omitzero"`     // "strict": reading, listing or writing what is not declared is refused, and the failure says what to add; "warn": it is only said. None: off, and warn under run --verify. See docs/sandbox.md.
	Network     *bool       `json:"network,omitzero"`     // False: it gets no sockets but unix ones, sandbox or not.
	Pool        *Pool       `json:"pool,omitzero"`        // A limit on how many run at a time.
	Timeout     *Duration   `json:"timeout,omitzero"`     // Time after which it is stopped and has failed.
	Retries     int         `json:"retries,omitzero"`     // Further tries after a failure.
	Schedule    *Schedule   `json:"schedule,omitzero"`    // When it runs by itself while up: up without targets arms every task with a schedule, up NAME those that are named or needed. It does not run when up begins, unless something that is up waits for it; orrery run and orrery start run it at once. What it needs is up meanwhile. Each run executes it, unless it declares inputs or outputs: then a result may come from the cache as for any task. A run that fails is shown and does not end up.
	Tools       []string    `json:"tools,omitzero"`       // Tools whose folders are on its PATH; what their programs hold is part of what the result depends on.
	Interactive bool        `json:"interactive,omitzero"` // The terminal is handed over to it.
}

// Texts calls yield for every text that is present, with the field that holds it and
// what spec.star says of that field.
func (v *Task) Texts(yield func(field string, use Use, t *Text)) {
	v.Common.Texts(yield)
	if v.Command != nil {
		v.Command.Texts(func(_ string, use Use, t *Text) { yield("command", Use{use.Type, true}, t) })
	}
	for i0 := range v.Steps {
		for i1 := range v.Steps[i0] {
			if v.Steps[i0][i1] != nil {
				yield("steps", Use{"text", true}, &v.Steps[i0][i1])
			}
		}
	}
	for i0 := range v.Inputs {
		v.Inputs[i0].Texts(func(_ string, use Use, t *Text) { yield("inputs", Use{use.Type, true}, t) })
	}
	for i0 := range v.Outputs {
		v.Outputs[i0].Value.Texts(func(_ string, use Use, t *Text) { yield("outputs"+"."+v.Outputs[i0].Key, use, t) })
	}
	for i0 := range v.Creates {
		if v.Creates[i0] != nil {
			yield("creates", Use{"path", false}, &v.Creates[i0])
		}
	}
	if v.Status != nil {
		v.Status.Texts(func(_ string, use Use, t *Text) { yield("status", Use{use.Type, true}, t) })
	}
	for i0 := range v.CacheKey {
		if v.CacheKey[i0] != nil {
			yield("cache_key", Use{"text", true}, &v.CacheKey[i0])
		}
	}
}

// NewRecord returns a pointer to a zero record of spec.star, or nil.
func NewRecord(name string) any {
	switch name {
	case "Port":
		return new(Port)
	case "Listen":
		return new(Listen)
	case "Command":
		return new(Command)
	case "Probe":
		return new(Probe)
	case "Restart":
		return new(Restart)
	case "Stop":
		return new(Stop)
	case "Reload":
		return new(Reload)
	case "Watchdog":
		return new(Watchdog)
	case "Input":
		return new(Input)
	case "OnChange":
		return new(OnChange)
	case "CleanExit":
		return new(CleanExit)
	case "Watch":
		return new(Watch)
	case "ConfigFile":
		return new(ConfigFile)
	case "Log":
		return new(Log)
	case "Limits":
		return new(Limits)
	case "Harden":
		return new(Harden)
	case "Data":
		return new(Data)
	case "RateLimit":
		return new(RateLimit)
	case "Site":
		return new(Site)
	case "Schedule":
		return new(Schedule)
	case "Pool":
		return new(Pool)
	case "Pattern":
		return new(Pattern)
	case "Secret":
		return new(Secret)
	case "Tool":
		return new(Tool)
	case "Project":
		return new(Project)
	case "Group":
		return new(Group)
	case "Common":
		return new(Common)
	case "Service":
		return new(Service)
	case "Task":
		return new(Task)
	}
	return nil
}

// Attribute is what spec.star says of something that a reference can name.
type Attribute struct {
	Name string // as written
	Type string // port, host, address, socket, export, output, value, path, string or cond
	Edge bool   // a reference to it makes the node wait
	Many bool   // it has names below it: ports.http
}

// Attributes returns what a service or task offers, in order of documentation.
func Attributes(k Kind) []Attribute {
	if k == KindTask {
		return []Attribute{
			{Name: "name", Type: "string", Edge: false, Many: false},
			{Name: "outputs", Type: "output", Edge: true, Many: true},
			{Name: "values", Type: "value", Edge: true, Many: true},
			{Name: "started", Type: "cond", Edge: false, Many: false},
			{Name: "succeeded", Type: "cond", Edge: false, Many: false},
			{Name: "completed", Type: "cond", Edge: false, Many: false},
		}
	}
	return []Attribute{
		{Name: "name", Type: "string", Edge: false, Many: false},
		{Name: "port", Type: "port", Edge: true, Many: false},
		{Name: "ports", Type: "port", Edge: true, Many: true},
		{Name: "host", Type: "host", Edge: true, Many: false},
		{Name: "address", Type: "address", Edge: true, Many: false},
		{Name: "sockets", Type: "socket", Edge: true, Many: true},
		{Name: "exports", Type: "export", Edge: true, Many: true},
		{Name: "config", Type: "path", Edge: false, Many: true},
		{Name: "state_dir", Type: "path", Edge: false, Many: false},
		{Name: "runtime_dir", Type: "path", Edge: false, Many: false},
		{Name: "cache_dir", Type: "path", Edge: false, Many: false},
		{Name: "log_file", Type: "path", Edge: false, Many: false},
		{Name: "data_id", Type: "string", Edge: false, Many: false},
		{Name: "started", Type: "cond", Edge: false, Many: false},
		{Name: "probed", Type: "cond", Edge: false, Many: false},
		{Name: "ready", Type: "cond", Edge: false, Many: false},
		{Name: "healthy", Type: "cond", Edge: false, Many: false},
		{Name: "completed", Type: "cond", Edge: false, Many: false},
		{Name: "stopped", Type: "cond", Edge: false, Many: false},
	}
}
