# Written from spec.star by go test ./lang/spec -fix. Do not edit.
"""The declaration language of orrery, for editors."""

from typing import Any, Callable, Literal, NoReturn

class Ref:
    """A value that is known only when the graph runs."""
    weak: "Ref"
    def __add__(self, other: "str | Ref") -> str: ...
    def __radd__(self, other: str) -> str: ...

class Names:
    """Names below an attribute."""
    def __getattr__(self, name: str) -> Ref: ...
    def __getitem__(self, name: str) -> Ref: ...

class Cond:
    """What must hold of a node."""
    weak: "Cond"

Text = str | int | Ref
Path = str | Ref
Port_ = int | Ref

class ServiceNode:
    """What service() returns."""
    name: str
    """Its name; plain text."""
    port: Ref
    """Its only port."""
    ports: Names
    """Its ports by name: .ports.http."""
    host: Ref
    """The host of its first port or socket."""
    address: Ref
    """host:port of its only port."""
    sockets: Names
    """Paths of its unix sockets by name."""
    exports: Names
    """Its exports; db.url is short for db.exports.url."""
    config: Names
    """Paths of its config files by name."""
    state_dir: Ref
    """Its data: kept until wiped."""
    runtime_dir: Ref
    """Its sockets and transient files: short path, private."""
    cache_dir: Ref
    """Files that may be lost at any time."""
    log_file: Ref
    """File that captures its standard output."""
    data_id: Ref
    """Random, made with the state_dir; a wiped database has a new one."""
    started: Cond
    """Its process exists."""
    probed: Cond
    """Its ready probe has answered."""
    ready: Cond
    """Probed, and every task that gates it has succeeded."""
    healthy: Cond
    """Ready, and the live probe passes now."""
    completed: Cond
    """Its process has ended, whatever the exit code."""
    stopped: Cond
    """It was stopped; for tasks that run at down."""
    def __getattr__(self, export: str) -> Ref: ...

class TaskNode:
    """What task() returns."""
    name: str
    """Its name; plain text."""
    outputs: Names
    """Paths of its outputs by name."""
    values: Names
    """Its values by name."""
    started: Cond
    """It has begun."""
    succeeded: Cond
    """It has ended well."""
    completed: Cond
    """It has ended, whatever the exit code."""

Node = ServiceNode | TaskNode

class ToolValue:
    """Programs of the machine."""
    def __getattr__(self, name: str) -> Ref: ...
    def __getitem__(self, name: str) -> Ref: ...

class SecretValue(Ref):
    """A value that must not be seen."""
    path: Ref

class Port:
    """A TCP or UDP port that the program binds itself; the number is allocated when the graph runs."""
    ...

class Watchdog:
    """The service must send WATCHDOG=1 within each interval, or it is aborted and restarted."""
    ...

class Watch:
    """Files whose change of content restarts, reloads or runs a task."""
    ...

class ConfigFile:
    """A file written for the service before it starts: a stable path (.path), changing content. json, yaml, toml and ini stay trees and are encoded when the references are bound."""
    path: Ref

class Log:
    """Rotation of the captured output."""
    ...

class Limits:
    """Limits of the process: a cgroup where one can be written, rlimits else."""
    ...

class Harden:
    """Confinement. no_new_privileges and capabilities act on this machine; the rest is kept in the graph for an exporter to systemd, and orrery check lists it as not yet effective."""
    ...

class RateLimit:
    """Requests that one client may make."""
    ...

class Site:
    """The public name under which a proxy shows the service."""
    ...

class Pool:
    """A limit on how many of its tasks run at a time."""
    ...

class Pattern:
    """A pattern of files, matched when a task runs or a watcher looks. It cannot be iterated; files() lists what matches now."""
    ...

class Listen:
    """Sockets that orrery binds and passes on (LISTEN_FDS, in the order of declaration); held over every restart."""
    ...

class Probe:
    """How readiness and health are asked. Until ready the pace is orrery's own: at once, then from 1 ms growing to 100 ms."""
    ...

class Restart:
    """When an ended service starts again. The first restart is immediate, then delay, delay*factor ... up to cap."""
    ...

class Stop:
    """How a service is asked to end; after the timeout its whole process tree is killed."""
    ...

class Data:
    """What of a service is worth a backup."""
    ...

class Schedule:
    """When a task runs by itself while the graph is up. Never two runs at a time: a time that comes during a run is left out, and said. Of times that were missed (the machine slept, its clock was set) one is made up for."""
    ...

def port(base: int, *, strict: bool | None = ..., host: str | None = ..., proto: Literal["tcp", "udp"] = ...) -> Port:
    """A TCP or UDP port that the program binds itself; the number is allocated when the graph runs.

    Args:
        base: The number wished for. The next free one is taken when it is in use, unless strict.
        strict: Fail, naming the owner, rather than take another number. None: what the project says.
        host: The address that the program binds; None: all interfaces.
        proto: The protocol.
    """
def watchdog(interval: str, *, require_ready: bool = ...) -> Watchdog:
    """The service must send WATCHDOG=1 within each interval, or it is aborted and restarted.

    Args:
        interval: WATCHDOG_USEC.
        require_ready: Count from READY=1 on; False: from the start of the process.
    """
def watch(paths: Path | Pattern | list[Path | Pattern], *, ignore: list[str] = ..., extensions: list[str] = ..., do: Literal["restart", "reload"] | TaskNode = ..., debounce: str = ...) -> Watch:
    """Files whose change of content restarts, reloads or runs a task.

    Args:
        paths: Files, folders and patterns.
        ignore: Patterns left out.
        extensions: Only files with these endings; none: all.
        do: What a change does: "restart", "reload" or a task to run.
        debounce: Quiet time that ends a burst of changes.
    """
def config_file(name: str, *, text: Text | None = ..., lines: list[Text] | None = ..., json: Any | None = ..., yaml: Any | None = ..., toml: Any | None = ..., ini: Any | None = ..., source: Path | None = ..., mode: int = ..., secret: bool = ..., apply: Literal["auto", "reload", "restart", "none"] = ...) -> ConfigFile:
    """A file written for the service before it starts: a stable path (.path), changing content. json, yaml, toml and ini stay trees and are encoded when the references are bound.

    Args:
        name: File name, unique in the service.
        text: The content.
        lines: The content, a line each.
        json: The content as a tree.
        yaml: The content as a tree.
        toml: The content as a tree.
        ini: The content as {section: {key: value}}; section "" is the head.
        source: A file to copy.
        mode: Permission bits.
        secret: May hold secrets: 0600 in a private directory, never shown.
        apply: What a changed content does to the running service; auto: reload where the service can, else restart.
    """
def log(*, max_size: str = ..., keep: int = ...) -> Log:
    """Rotation of the captured output.

    Args:
        max_size: Size of a file at which it is rotated.
        keep: Rotated files that are kept.
    """
def limits(*, memory: str | None = ..., tasks: int | None = ..., cpu: str | None = ..., nofile: int | None = ..., core: str | None = ..., nice: int | None = ..., umask: int | None = ..., oom_score_adj: int | None = ...) -> Limits:
    """Limits of the process: a cgroup where one can be written, rlimits else.

    Args:
        memory: Bytes of memory.
        tasks: Processes and threads.
        cpu: Share of the processors: "150%" is one and a half. Needs a cgroup that can be written.
        nofile: Open files.
        core: Size of a core dump.
        nice: Niceness.
        umask: File creation mask.
        oom_score_adj: Adjustment of the out-of-memory score.
    """
def harden(profile: Literal["web", "db", "strict"] | None = ..., *, no_new_privileges: bool = ..., protect_system: Literal["strict", "full", "yes", "no"] = ..., protect_home: bool = ..., private_tmp: bool = ..., capabilities: list[str] = ...) -> Harden:
    """Confinement. no_new_privileges and capabilities act on this machine; the rest is kept in the graph for an exporter to systemd, and orrery check lists it as not yet effective.

    Args:
        profile: A named profile. On this machine each of them is no_new_privileges; which folders it closes is for an exporter to systemd, which does not exist yet.
        no_new_privileges: The process and its children cannot gain privileges.
        protect_system: Which system folders are read-only; for an exporter to systemd, nothing is closed on this machine.
        protect_home: Home folders are out of reach; for an exporter to systemd, nothing is closed on this machine.
        private_tmp: An own /tmp; for an exporter to systemd, /tmp is shared on this machine.
        capabilities: Capabilities kept (ambient), such as CAP_NET_BIND_SERVICE; needs root.
    """
def rate_limit(*, events: int = ..., window: str = ...) -> RateLimit:
    """Requests that one client may make.

    Args:
        events: Requests in a window.
        window: Length of the window.
    """
def site(domain: str, *, rate_limit: RateLimit | None = ..., extra: str = ...) -> Site:
    """The public name under which a proxy shows the service.

    Args:
        domain: Host name.
        rate_limit: Limit a client.
        extra: Text added to the proxy's block for the site.
    """
def pool(name: str, size: int = ...) -> Pool:
    """A limit on how many of its tasks run at a time.

    Args:
        name: Name of the pool.
        size: Tasks at a time.
    """
def glob(include: str | list[str], *, exclude: str | list[str] = ...) -> Pattern:
    """A pattern of files, matched when a task runs or a watcher looks. It cannot be iterated; files() lists what matches now.

    Args:
        include: Patterns with *, ?, [...], {a,b} and **, relative to the project.
        exclude: Patterns left out.
    """
def secret(name: str, *, env: str | None = ..., file: str | None = ..., age: str | None = ..., command: list[str] | None = ..., key: str | None = ..., identities: list[str] = ...) -> SecretValue:
    """A value that must not be seen. Usable in env, exports and secret config files; an error in commands, cache keys, links and plans. .path is a file that holds it (CREDENTIALS_DIRECTORY).

    Args:
        name: Name, unique in the project.
        env: Environment variable that holds it.
        file: File that holds it.
        age: File encrypted with age (age -r RECIPIENT -o FILE), to an age key or an ssh key; decrypted in memory, when it is needed.
        command: Program that prints it; run once, in the project's folder.
        key: The file, or what the program prints, is KEY=value lines: the value of this one is the secret.
        identities: Files with the keys that decrypt age: age identities or ssh private keys, ~/ allowed; looked at after those of $ORRERY_AGE_IDENTITY and $AGE_IDENTITY (a path, or the AGE-SECRET-KEY itself). None: ~/.config/age/keys.txt, ~/.ssh/id_ed25519, ~/.ssh/id_rsa. A key with a passphrase is passed over: nothing asks for one.
    """
def tool(*programs: str, packages: dict[str, str] = ..., paths: list[str] = ..., version: str | None = ..., version_args: list[str] = ...) -> ToolValue:
    """Programs that the project expects on the machine: looked for on the PATH, then in known folders. An attribute of the tool is the path of that program.

    Args:
        programs: Names of the programs; given by position.
        packages: Package that holds them: debian, fedora, arch, brew, nix, npm, go.
        paths: Further folders to look in; patterns are allowed, the highest version wins.
        version: Version wanted of each program, such as ">=20" or ">=1.22, <2"; a bare number is a least one. Of several on the machine the first that fits is taken.
        version_args: Arguments with which a program says its version; asked once for each program file.
    """
def group(name: str, members: list[Node]) -> None:
    """A name for several nodes, for the command line and the screen; it makes no edges.

    Args:
        name: Name of the group.
        members: The nodes.
    """
def service(name: str, *, cwd: Path | None = ..., env: dict[str, Text | None] = ..., user: str | None = ..., after: list[Node | Cond] = ..., before: list[Node] = ..., uses: list[Node] = ..., watch: Path | Pattern | list[Path | Pattern] | Watch | list[Path | Pattern | list[Path | Pattern] | Watch] = ..., part_of: Node | None = ..., labels: list[str] = ..., description: str = ..., command: list[Text] | Text, argv0: Text | None = ..., env_file: Path | list[Path] = ..., group: str | None = ..., ports: dict[str, int | Port] = ..., listen: dict[str, Listen] = ..., lazy: bool = ..., fdstore: int = ..., config: list[ConfigFile] = ..., ready: Probe | None = ..., live: Probe | None = ..., restart: Restart = ..., stop: Stop = ..., reload: str | list[Text] | None = ..., watchdog: str | Watchdog | None = ..., notify_access: Literal["none", "main", "exec", "all"] | None = ..., cascade: bool = ..., exports: dict[str, Text] = ..., env_exports: dict[str, Text] = ..., links: dict[str, Text] = ..., success_codes: list[int | str] = ..., tty: bool = ..., pid_namespace: bool = ..., autostart: bool = ..., limits: Limits | None = ..., harden: Literal["web", "db", "strict"] | Harden | None = ..., data: list[Data] = ..., site: Site | None = ..., overrides: Any | None = ..., log: Log = ...) -> ServiceNode:
    """A long-running program.

    Args:
        name: Name: [a-z0-9][a-z0-9_-]*, nested with /.
        cwd: Folder to run in; None: the project's.
        env: Environment: text, references, ints; None removes the variable.
        user: User to run as; with root only.
        after: What must hold before it starts: a node (a service ready, a task succeeded) or a condition.
        before: Nodes that wait for this one.
        uses: Services it waits for, and whose env_exports it gets.
        watch: Files whose change acts on it.
        part_of: The node it belongs to, where the name does not say so.
        labels: Words to select it by.
        description: One line about it.
        command: What to run. With listen, a script must exec its program.
        argv0: Another argv[0].
        env_file: Files of KEY=value lines, read at each start.
        group: Group to run as; with root only.
        ports: Ports that the program binds: {name: int or port(...)}.
        listen: Sockets that orrery binds and passes: {name: socket....}.
        lazy: Start at the first connection to one of its sockets; until then it counts as ready. Started 20 times in 2 s by a client that it does not serve, it gives up its sockets.
        fdstore: Descriptors that the service may store (FDSTORE=1); it is given them again, after its sockets, at each restart, until it is stopped.
        config: Files written before it starts.
        ready: When it is ready. None: TCP on the first port; with no port, or with sockets only, when started.
        live: Whether it still works; a failure restarts it by the restart policy.
        restart: When it starts again.
        stop: How it is stopped.
        reload: How it rereads its configuration: name of a signal, or an argv.
        watchdog: Liveness by WATCHDOG=1: an interval or watchdog(...).
        notify_access: Who may send notifications. None: main, or all for a script.
        cascade: Restart when a dependency was restarted.
        exports: Texts that become attributes of the service.
        env_exports: Variables for orrery env and exec, and for nodes that use it.
        links: Links that are shown: {label: url}.
        success_codes: Exit codes, and names of signals, that count as clean; the stop signal always does.
        tty: Give it a terminal (80 columns, 24 rows) as stdin, stdout and stderr: orrery attach connects yours to it.
        pid_namespace: A pid namespace of its own: when its first process ends, or orrery is killed, the kernel ends all of it at once, whatever it did to hide. Its pids are others inside (MAINPID= is ignored), what it mounts is not seen outside. Linux; an ordinary user needs user namespaces, and set-user-id programs have no effect inside.
        autostart: Part of a bare up; False: only by name or need.
        limits: Limits of the process.
        harden: Confinement: harden(...) or the name of a profile.
        data: What is worth a backup. Kept in the graph (plan, export); nothing makes backups yet.
        site: The public name. Kept in the graph (plan, export) for a production exporter; @std//proxy.star serves names on this machine.
        overrides: Free form for one exporter: {"systemd": {...}}, "kubernetes" or "process-compose". Kept in the graph (plan, export); these exporters do not exist yet.
        log: Rotation of its output.
    """
def task(name: str, *, cwd: Path | None = ..., env: dict[str, Text | None] = ..., user: str | None = ..., after: list[Node | Cond] = ..., before: list[Node] = ..., uses: list[Node] = ..., watch: Path | Pattern | list[Path | Pattern] | Watch | list[Path | Pattern | list[Path | Pattern] | Watch] = ..., part_of: Node | None = ..., labels: list[str] = ..., description: str = ..., command: list[Text] | Text | None = ..., steps: list[list[Text]] = ..., inputs: Path | Pattern | list[Path | Pattern] = ..., outputs: dict[str, Path | Pattern] = ..., values: list[str] = ..., creates: Path | list[Path] = ..., status: list[Text] | Text | None = ..., template: ServiceNode | None = ..., gates: ServiceNode | None = ..., cache: bool | None = ..., cache_key: list[Text] = ..., pass_env: list[str] = ..., sandbox: Literal["off", "warn", "strict"] | None = ..., network: bool | None = ..., pool: str | Pool | None = ..., timeout: str | None = ..., retries: int = ..., schedule: Schedule | None = ..., tools: list[ToolValue] = ..., interactive: bool = ...) -> TaskNode:
    """A program that runs to its end.

    Args:
        name: Name: [a-z0-9][a-z0-9_-]*, nested with /.
        cwd: Folder to run in; None: the project's.
        env: Environment: text, references, ints; None removes the variable.
        user: User to run as; with root only.
        after: What must hold before it starts: a node (a service ready, a task succeeded) or a condition.
        before: Nodes that wait for this one.
        uses: Services it waits for, and whose env_exports it gets.
        watch: Files whose change acts on it.
        part_of: The node it belongs to, where the name does not say so.
        labels: Words to select it by.
        description: One line about it.
        command: What to run.
        steps: Several argv, one after the other.
        inputs: Files that the result depends on.
        outputs: Files and folders that it makes: {name: path}; inside the project.
        values: Names of the values that it writes as name=value lines to $ORRERY_VALUES.
        creates: Skipped while all of these exist.
        status: Skipped when this exits 0.
        template: The service whose absent state_dir it fills, once: from the cache where this was done before on the machine, with the same command, environment, tools and inputs; cache = False runs it each time. The task sees a temporary folder as the state_dir, which gets its name when it is whole; so what it writes must not hold that path. A state_dir that exists is never touched, not by --force either.
        gates: The service that is ready only when this task has succeeded; the task itself waits for .probed.
        cache: None: cached when it declares inputs or outputs and touches no live service; False: never.
        cache_key: What its result depends on besides inputs, such as a database's data_id.
        pass_env: Variables, or patterns of them, that it sees; keyed by value.
        sandbox: "strict": reading, listing or writing what is not declared is refused, and the failure says what to add; "warn": it is only said. None: off, and warn under run --verify. See docs/sandbox.md.
        network: False: it gets no sockets but unix ones, sandbox or not.
        pool: A limit on how many run at a time.
        timeout: Time after which it is stopped and has failed.
        retries: Further tries after a failure.
        schedule: When it runs by itself while up: up without targets arms every task with a schedule, up NAME those that are named or needed. It does not run when up begins, unless something that is up waits for it; orrery run and orrery start run it at once. What it needs is up meanwhile. Each run executes it, unless it declares inputs or outputs: then a result may come from the cache as for any task. A run that fails is shown and does not end up.
        tools: Tools whose folders are on its PATH; what their programs hold is part of what the result depends on.
        interactive: The terminal is handed over to it.
    """
class _project:
    root: Ref
    git_root: Ref
    def __call__(self, name: str, *, requires: str | None = ..., default: list[str] = ..., env: dict[str, str] = ..., pass_env: list[str] = ..., strict_ports: bool = ..., dotenv: list[str] = ..., manager: str | None = ...) -> None:
        """Names the project; once, before any other declaration.

        Args:
            name: Name of the project.
            requires: Version of orrery that is needed, such as ">=0.3".
            default: Targets of a bare up or run; none: all services with autostart.
            env: Environment of every node; plain text.
            pass_env: Variables, or patterns of them, that every task sees; keyed by value.
            strict_ports: Ports are strict where they do not say.
            dotenv: Files of KEY=value lines added to every environment.
            manager: Process manager that runs the graph instead of orrery. There is none yet: a value is an error.
        """
project: _project

class _socket:
    """Sockets that orrery binds and passes on (LISTEN_FDS, in the order of declaration); held over every restart."""
    @staticmethod
    def tcp(base: int, *, host: str | None = ..., strict: bool | None = ..., backlog: int = ..., accept: bool = ...) -> Listen:
        """A TCP socket.

        Args:
            base: The port wished for; the next free one is taken when it is in use.
            host: The address to bind; None: all interfaces.
            strict: Fail rather than take another number. None: what the project says.
            backlog: Length of the queue of connections not yet accepted.
            accept: Start one process a connection, with the connection as descriptor 3 and REMOTE_ADDR, REMOTE_PORT. It must be the only socket.
        """
    @staticmethod
    def udp(base: int, *, host: str | None = ..., strict: bool | None = ..., backlog: int = ..., accept: bool = ...) -> Listen:
        """A UDP socket.

        Args:
            base: The port wished for; the next free one is taken when it is in use.
            host: The address to bind; None: all interfaces.
            strict: Fail rather than take another number. None: what the project says.
            backlog: Length of the queue of connections not yet accepted.
            accept: Start one process a connection, with the connection as descriptor 3 and REMOTE_ADDR, REMOTE_PORT. It must be the only socket.
        """
    @staticmethod
    def unix(file: str, *, mode: int = ..., backlog: int = ..., accept: bool = ...) -> Listen:
        """A unix stream socket.

        Args:
            file: File name in the service's runtime directory, or an absolute path; @name is an abstract address.
            mode: Permission bits, set before the socket can be reached.
            backlog: Length of the queue of connections not yet accepted.
            accept: Start one process a connection, with the connection as descriptor 3 and REMOTE_ADDR, REMOTE_PORT. It must be the only socket.
        """
    @staticmethod
    def unix_dgram(file: str, *, mode: int = ..., backlog: int = ..., accept: bool = ...) -> Listen:
        """A unix datagram socket.

        Args:
            file: File name in the service's runtime directory, or an absolute path; @name is an abstract address.
            mode: Permission bits, set before the socket can be reached.
            backlog: Length of the queue of connections not yet accepted.
            accept: Start one process a connection, with the connection as descriptor 3 and REMOTE_ADDR, REMOTE_PORT. It must be the only socket.
        """
    @staticmethod
    def unix_seqpacket(file: str, *, mode: int = ..., backlog: int = ..., accept: bool = ...) -> Listen:
        """A unix sequenced-packet socket.

        Args:
            file: File name in the service's runtime directory, or an absolute path; @name is an abstract address.
            mode: Permission bits, set before the socket can be reached.
            backlog: Length of the queue of connections not yet accepted.
            accept: Start one process a connection, with the connection as descriptor 3 and REMOTE_ADDR, REMOTE_PORT. It must be the only socket.
        """
socket: _socket

class _probe:
    """How readiness and health are asked. Until ready the pace is orrery's own: at once, then from 1 ms growing to 100 ms."""
    @staticmethod
    def http(path: Text = ..., *, port: Port_ | None = ..., socket: Path | None = ..., host: Text = ..., scheme: Literal["http", "https"] = ..., status: str = ..., headers: dict[str, Text] = ..., initial_delay: str = ..., period: str = ..., timeout: str = ..., success: int = ..., failure: int = ..., deadline: str | None = ...) -> Probe:
        """An HTTP GET; redirects to another host are not followed.

        Args:
            path: Path and query.
            port: The port. None: the only port or tcp socket of the service.
            socket: Path of a unix socket to ask in place of a port.
            host: The host; 127.0.0.1 also tries ::1.
            scheme: https takes any certificate.
            status: What counts as good: "2xx", "200", "200-399" or a list of these with commas.
            headers: Headers of the request.
            initial_delay: Time before the first try.
            period: Time between tries once ready.
            timeout: Time for one try.
            success: Good answers in a row that count as up.
            failure: Bad answers in a row that count as down, once ready.
            deadline: Time from the start to ready; over it the start has failed. None: no limit.
        """
    @staticmethod
    def tcp(port: Port_ | None = ..., *, host: Text = ..., initial_delay: str = ..., period: str = ..., timeout: str = ..., success: int = ..., failure: int = ..., deadline: str | None = ...) -> Probe:
        """A TCP connect; refused for a socket that orrery holds, where it always succeeds.

        Args:
            port: The port. None: the only port of the service.
            host: The host; 127.0.0.1 also tries ::1.
            initial_delay: Time before the first try.
            period: Time between tries once ready.
            timeout: Time for one try.
            success: Good answers in a row that count as up.
            failure: Bad answers in a row that count as down, once ready.
            deadline: Time from the start to ready; over it the start has failed. None: no limit.
        """
    @staticmethod
    def unix(socket: Path, *, initial_delay: str = ..., period: str = ..., timeout: str = ..., success: int = ..., failure: int = ..., deadline: str | None = ...) -> Probe:
        """A connect to a unix stream socket; refused for a socket that orrery holds.

        Args:
            socket: Path of the socket.
            initial_delay: Time before the first try.
            period: Time between tries once ready.
            timeout: Time for one try.
            success: Good answers in a row that count as up.
            failure: Bad answers in a row that count as down, once ready.
            deadline: Time from the start to ready; over it the start has failed. None: no limit.
        """
    @staticmethod
    def exec(command: list[Text] | Text, *, initial_delay: str = ..., period: str = ..., timeout: str = ..., success: int = ..., failure: int = ..., deadline: str | None = ...) -> Probe:
        """A program that exits 0; it runs in the service's folder, environment and user, and its whole tree dies at the timeout.

        Args:
            command: Argv or script.
            initial_delay: Time before the first try.
            period: Time between tries once ready.
            timeout: Time for one try.
            success: Good answers in a row that count as up.
            failure: Bad answers in a row that count as down, once ready.
            deadline: Time from the start to ready; over it the start has failed. None: no limit.
        """
    @staticmethod
    def notify(*, initial_delay: str = ..., period: str = ..., timeout: str = ..., success: int = ..., failure: int = ..., deadline: str | None = ...) -> Probe:
        """READY=1 by sd_notify.

        Args:
            initial_delay: Time before the first try.
            period: Time between tries once ready.
            timeout: Time for one try.
            success: Good answers in a row that count as up.
            failure: Bad answers in a row that count as down, once ready.
            deadline: Time from the start to ready; over it the start has failed. None: no limit.
        """
    @staticmethod
    def fd(*, initial_delay: str = ..., period: str = ..., timeout: str = ..., success: int = ..., failure: int = ..., deadline: str | None = ...) -> Probe:
        """A newline on a descriptor (s6); its number is in ORRERY_READY_FD.

        Args:
            initial_delay: Time before the first try.
            period: Time between tries once ready.
            timeout: Time for one try.
            success: Good answers in a row that count as up.
            failure: Bad answers in a row that count as down, once ready.
            deadline: Time from the start to ready; over it the start has failed. None: no limit.
        """
    @staticmethod
    def log(regex: str, *, initial_delay: str = ..., period: str = ..., timeout: str = ..., success: int = ..., failure: int = ..., deadline: str | None = ...) -> Probe:
        """A line of the service's output that matches.

        Args:
            regex: A regular expression (RE2).
            initial_delay: Time before the first try.
            period: Time between tries once ready.
            timeout: Time for one try.
            success: Good answers in a row that count as up.
            failure: Bad answers in a row that count as down, once ready.
            deadline: Time from the start to ready; over it the start has failed. None: no limit.
        """
    @staticmethod
    def file(file: Path, *, initial_delay: str = ..., period: str = ..., timeout: str = ..., success: int = ..., failure: int = ..., deadline: str | None = ...) -> Probe:
        """A file that exists.

        Args:
            file: Path of the file.
            initial_delay: Time before the first try.
            period: Time between tries once ready.
            timeout: Time for one try.
            success: Good answers in a row that count as up.
            failure: Bad answers in a row that count as down, once ready.
            deadline: Time from the start to ready; over it the start has failed. None: no limit.
        """
probe: _probe

class _restart:
    """When an ended service starts again. The first restart is immediate, then delay, delay*factor ... up to cap."""
    @staticmethod
    def on_failure(*, max: int | None = ..., window: str = ..., delay: str = ..., factor: int = ..., cap: str = ..., reset: str = ..., overlap: bool = ...) -> Restart:
        """After a failure: an exit code or signal that is not clean, a missed deadline, a failed live probe.

        Args:
            max: Restarts within window before it gives up; None: unlimited.
            window: The sliding window in which restarts are counted.
            delay: Wait before the second restart.
            factor: Growth of the wait.
            cap: The longest wait.
            reset: A run longer than this starts the waits anew.
            overlap: Start the new instance before the old one is told to stop; needs listen and a probe that the new one answers itself.
        """
    @staticmethod
    def always(*, max: int | None = ..., window: str = ..., delay: str = ..., factor: int = ..., cap: str = ..., reset: str = ..., overlap: bool = ...) -> Restart:
        """After every end that nobody asked for.

        Args:
            max: Restarts within window before it gives up; None: unlimited.
            window: The sliding window in which restarts are counted.
            delay: Wait before the second restart.
            factor: Growth of the wait.
            cap: The longest wait.
            reset: A run longer than this starts the waits anew.
            overlap: Start the new instance before the old one is told to stop; needs listen and a probe that the new one answers itself.
        """
    @staticmethod
    def never(*, max: int | None = ..., window: str = ..., delay: str = ..., factor: int = ..., cap: str = ..., reset: str = ..., overlap: bool = ...) -> Restart:
        """Never.

        Args:
            max: Restarts within window before it gives up; None: unlimited.
            window: The sliding window in which restarts are counted.
            delay: Wait before the second restart.
            factor: Growth of the wait.
            cap: The longest wait.
            reset: A run longer than this starts the waits anew.
            overlap: Start the new instance before the old one is told to stop; needs listen and a probe that the new one answers itself.
        """
restart: _restart

class _stop:
    """How a service is asked to end; after the timeout its whole process tree is killed."""
    @staticmethod
    def signal(signal: str = ..., *, timeout: str = ...) -> Stop:
        """A signal to the main process and its group.

        Args:
            signal: Name of the signal.
            timeout: Time to end by itself.
        """
    @staticmethod
    def exec(command: list[Text] | Text, *, timeout: str = ...) -> Stop:
        """A program that asks it to stop.

        Args:
            command: Argv or script.
            timeout: Time to end by itself.
        """
stop: _stop

class _data:
    """What of a service is worth a backup."""
    @staticmethod
    def sqlite(path: Path, *, exclude: list[str] = ...) -> Data:
        """An SQLite database.

        Args:
            path: Path of the database.
            exclude: Patterns left out.
        """
    @staticmethod
    def postgres(database: str, *, exclude: list[str] = ...) -> Data:
        """A PostgreSQL database.

        Args:
            database: Name of the database.
            exclude: Patterns left out.
        """
    @staticmethod
    def files(paths: list[Path], *, exclude: list[str] = ...) -> Data:
        """Files and folders.

        Args:
            paths: The paths.
            exclude: Patterns left out.
        """
data: _data

class _schedule:
    """When a task runs by itself while the graph is up. Never two runs at a time: a time that comes during a run is left out, and said. Of times that were missed (the machine slept, its clock was set) one is made up for."""
    @staticmethod
    def cron(expr: str, *, tz: str = ...) -> Schedule:
        """At the times of a cron expression.

        Args:
            expr: minute hour day month weekday, each with * , - / and names (jan, mon; Sunday is 0 or 7); or @hourly, @daily, @weekly, @monthly, @yearly. If both day and weekday are restricted, one of them suffices. A time that the clocks show twice counts once, one that they leave out counts at the end of the gap; with * as the hour every hour that passes counts.
            tz: Time zone, such as "Europe/Berlin"; empty: that of the machine.
        """
    @staticmethod
    def every(interval: str, *, jitter: str = ...) -> Schedule:
        """Again and again; the first time an interval after up.

        Args:
            interval: Time from start to start, at least 1s.
            jitter: Each start is late by a random time of less than this; it must be less than the interval.
        """
schedule: _schedule

def param(name: str, default: Any, *, choices: list[Any] | None = ..., help: str = ...) -> Any:
    """A parameter of the project: a real value while the files are evaluated, of the default's type. Set by --set name=value or ORRERY_PARAM_NAME.

    Args:
        name: Name of the parameter.
        default: Value when it is not set: text, int, bool or a list of texts.
        choices: The only values allowed.
        help: One line about it.
    """
def peer(name: str) -> Any:
    """A node that is declared later, by name; for services that call each other. Its attributes are checked at the end.

    Args:
        name: Name of the node.
    """
def include(path: str, *, prefix: str | None = ...) -> Any:
    """Evaluates another project file; its names get prefix/. Returns its globals.

    Args:
        path: The file, as in load().
        prefix: Put before every name declared there; None: nothing.
    """
def files(pattern: Any) -> list[str]:
    """The files that match now, sorted; recorded as an input of the evaluation.

    Args:
        pattern: A glob(), or a pattern as text.
    """
def read(path: str) -> str:
    """The content of a file now; recorded as an input of the evaluation.

    Args:
        path: Path in the project.
    """
def flags(values: Any, *, sep: str | None = ...) -> list[str]:
    """Command-line flags from a dict: {"port": 80} gives --port 80; True gives the bare flag, False and None nothing, a list repeats it; names of one letter get one dash.

    Args:
        values: The dict.
        sep: Joins flag and value into one argument, such as "="; None: two arguments.
    """
def literal(text: str) -> str:
    """Text taken as it is, also where it holds the bracket of a reference.

    Args:
        text: The text.
    """
def check(cond: Any, msg: str) -> None:
    """Fails the evaluation with a message that names the declaration at hand.

    Args:
        cond: What must be true.
        msg: The message.
    """
def warn(msg: str) -> None:
    """A warning shown by every command.

    Args:
        msg: The message.
    """
def duration(text: str) -> int:
    """Nanoseconds of a duration such as "1m30s"; for comparing and adding in factories.

    Args:
        text: The duration.
    """
self: Any
"""The declaration whose arguments are being written: self.port, self.state_dir ... A reference to oneself adds no edge."""
host: Any
"""The machine: host.os, host.arch, host.cpus, host.ci."""
def struct(**fields: Any) -> Any:
    """struct(a = 1): a value with attributes."""
json: Any
"""json.encode, json.decode, json.indent."""
yaml: Any
"""yaml.encode(tree)."""
toml: Any
"""toml.encode(tree)."""
ini: Any
"""ini.encode({section: {key: value}})."""
math: Any
"""math.ceil, math.floor, math.round ..."""
def fail(*args: Any) -> NoReturn:
    """Ends the evaluation with a message."""
def load(module: str, *names: str, **renamed: str) -> None:
    """Takes names from a library."""
