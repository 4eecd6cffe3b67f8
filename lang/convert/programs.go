package convert

import (
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"
)

// programs declares what a folder holds. The first kind that runs something is
// taken; a Django project may hold a package.json for its assets.
func (s *survey) programs(dir string) {
	for _, look := range []func(dir string) bool{s.django, s.rails, s.golang, s.rust, s.php, s.python, s.ruby, s.node} {
		if look(dir) {
			break
		}
	}
	s.scripts(dir)
}

// called is the name for the program of a folder.
func (s *survey) called(dir, root string) string {
	if dir == "." {
		return s.name(root)
	}
	return s.name(path.Base(dir))
}

// manager is the Python package manager of a folder: its lock file says.
func (s *survey) manager(dir string) []arg {
	switch {
	case s.has(dir, "uv.lock"):
		return []arg{kw("manager", quoted("uv"))}
	case s.has(dir, "poetry.lock"):
		return []arg{kw("manager", quoted("poetry"))}
	case s.has(dir, "requirements.txt"):
		return []arg{kw("manager", quoted("venv"))}
	case strings.Contains(s.text(dir, "pyproject.toml"), "[tool.poetry]"):
		return []arg{kw("manager", quoted("poetry"))}
	case strings.Contains(s.text(dir, "pyproject.toml"), "[project]"):
		return []arg{kw("manager", quoted("uv"))}
	}
	return nil
}

func (s *survey) django(dir string) bool {
	if !s.has(dir, "manage.py") || !strings.Contains(s.text(dir, "manage.py"), "django") {
		return false
	}
	name := s.called(dir, "web")
	args := append(s.manager(dir), s.environment(dir)...)
	for _, b := range s.backends {
		if b.kind == "postgres" || b.kind == "mariadb" {
			args = append(args, kw("database", raw("%s", b.variable)))
			break
		}
	}
	s.add("python", "django_service", name, dir, args...)
	s.found("%s: Django, so %s", path.Join(dir, "manage.py"), name)
	return true
}

func (s *survey) rails(dir string) bool {
	if !s.has(dir, "bin/rails") {
		return false
	}
	name := s.called(dir, "web")
	s.add("ruby", "rails_service", name, dir, s.environment(dir)...)
	s.found("%s: Rails, so %s", path.Join(dir, "bin/rails"), name)
	return true
}

var (
	mainPackage = regexp.MustCompile(`(?m)^package main\b`)
	listens     = regexp.MustCompile(`"(?:[\w.]*):(\d{4,5})"`)
	readsPort   = regexp.MustCompile(`["']PORT["']`)
	serves      = regexp.MustCompile(`ListenAndServe|net\.Listen|http\.Serve|gin\.(?:Default|New)|echo\.New|fiber\.New|axum|actix_web|rocket|warp|TcpListener`)
)

// portOf is the port that the sources of a program speak of, or 0.
func portOf(sources string, usual int) int {
	if m := listens.FindStringSubmatch(sources); m != nil && serves.MatchString(sources) {
		if n, ok := wholeNumber(m[1]); ok && n < 65536 {
			return n
		}
	}
	if readsPort.MatchString(sources) || serves.MatchString(sources) {
		return usual
	}
	return 0
}

// sources are the texts of the files of a folder with an ending.
func (s *survey) sources(dir, ending string) string {
	var b strings.Builder
	files, _ := fs.ReadDir(s.fsys, dir)
	for _, f := range files {
		if !f.IsDir() && strings.HasSuffix(f.Name(), ending) && !strings.HasSuffix(f.Name(), "_test"+ending) && b.Len() < 1<<20 {
			b.WriteString(s.text(dir, f.Name()) + "\n")
		}
	}
	return b.String()
}

func (s *survey) golang(dir string) bool {
	if !s.has(dir, "go.mod") {
		return false
	}
	mains := []string{}
	if mainPackage.MatchString(s.sources(dir, ".go")) {
		mains = append(mains, ".")
	}
	commands, _ := fs.ReadDir(s.fsys, path.Join(dir, "cmd"))
	for _, c := range commands {
		if c.IsDir() && mainPackage.MatchString(s.sources(path.Join(dir, "cmd", c.Name()), ".go")) {
			mains = append(mains, "./cmd/"+c.Name())
		}
	}
	for _, main := range mains {
		sources := s.sources(path.Join(dir, main), ".go")
		port := portOf(sources, 8080)
		if port == 0 && !regexp.MustCompile(`\bfor\s*\{|signal\.Notify|select\s*\{\s*\}|time\.NewTicker|\.Consume\(|\.Subscribe\(`).MatchString(sources) {
			s.binary(dir, main)
			continue
		}
		name := ""
		if main == "." {
			name = s.called(dir, map[bool]string{true: "web", false: "app"}[port > 0])
		} else {
			name = s.name(path.Base(main))
		}
		var args []arg
		if main != "." {
			args = append(args, kw("main", quoted(main)))
		}
		if port > 0 {
			args = append(args, kw("port", number(port)))
		}
		s.add("go", "go_service", name, dir, append(args, s.environment(dir)...)...)
		s.found("%s: the program %s, so %s", path.Join(dir, "go.mod"), path.Join(dir, main), name)
	}
	if len(mains) == 0 {
		s.left("%s: a library, with no main package here or in cmd", path.Join(dir, "go.mod"))
	}
	return len(mains) > 0
}

// binary is a program that runs to its end: it is built, not kept running.
func (s *survey) binary(dir, main string) {
	base := path.Base(main)
	if main == "." {
		base = "build"
		if dir != "." {
			base = path.Base(dir)
		}
	}
	name := s.name(base)
	s.add("go", "go_binary", name, dir, kw("main", quoted(main)))
	s.found("%s: the program %s, which listens to nothing: the task %s builds it", path.Join(dir, "go.mod"), path.Join(dir, main), name)
}

func (s *survey) rust(dir string) bool {
	text := s.text(dir, "Cargo.toml")
	if text == "" {
		return false
	}
	m := regexp.MustCompile(`(?m)^\s*name\s*=\s*"([^"]+)"`).FindStringSubmatch(text)
	if !s.has(dir, "src/main.rs") || m == nil {
		s.left("%s: no src/main.rs", path.Join(dir, "Cargo.toml"))
		return false
	}
	name := s.called(dir, "web")
	var args []arg
	port := portOf(s.text(dir, "src/main.rs"), 8080)
	if port == 0 {
		s.add("rust", "rust_binary", name, dir)
		s.found("%s: %s, which listens to nothing: the task %s builds it", path.Join(dir, "Cargo.toml"), m[1], name)
		return true
	}
	args = append(args, kw("port", number(port)))
	s.add("rust", "rust_service", name, dir, append(args, s.environment(dir)...)...)
	s.found("%s: %s, so %s", path.Join(dir, "Cargo.toml"), m[1], name)
	return true
}

func (s *survey) php(dir string) bool {
	root := ""
	switch {
	case s.has(dir, "public/index.php"):
		root = "public"
	case s.has(dir, "index.php"):
		root = "."
	default:
		if s.has(dir, "composer.json") {
			s.left("%s: no index.php, here or in public", path.Join(dir, "composer.json"))
		}
		return false
	}
	name := s.called(dir, "web")
	args := []arg{}
	if root != "public" {
		args = append(args, kw("root", quoted(root)))
	}
	if s.has(dir, "composer.json") {
		args = append(args, kw("install", raw("True")))
	}
	s.add("php", "php_service", name, dir, append(args, s.environment(dir)...)...)
	s.found("%s: PHP, so %s", path.Join(dir, root, "index.php"), name)
	return true
}

var asgi = regexp.MustCompile(`(?m)^(\w+)\s*(?::[^=\n]*)?=\s*(FastAPI|Starlette|Litestar|Flask|Quart)\(`)

func (s *survey) python(dir string) bool {
	if !s.has(dir, "pyproject.toml", "requirements.txt", "uv.lock", "poetry.lock") {
		return false
	}
	for _, file := range []string{"main.py", "app.py", "server.py", "app/main.py", "app/__init__.py", "src/main.py", "wsgi.py", "asgi.py"} {
		m := asgi.FindStringSubmatch(s.text(dir, file))
		if m == nil {
			continue
		}
		name := s.called(dir, "web")
		module := strings.ReplaceAll(strings.TrimSuffix(strings.TrimSuffix(file, ".py"), "/__init__"), "/", ".")
		var args []arg
		packages := s.text(dir, "pyproject.toml") + s.text(dir, "requirements.txt")
		switch {
		case m[2] != "Flask" && strings.Contains(packages, "uvicorn") || strings.Contains(packages, "fastapi["):
			args = append(args, kw("server", quoted("uvicorn")), kw("app", quoted(module+":"+m[1])))
		case m[2] == "Flask" && strings.Contains(packages, "gunicorn"):
			args = append(args, kw("server", quoted("gunicorn")), kw("app", quoted(module+":"+m[1])))
		case m[2] == "Flask":
			args = append(args, kw("args", list(quoted("-m"), quoted("flask"), quoted("--app"), quoted(module+":"+m[1]), quoted("run"), quoted("--port"), raw("self.port"))))
		default:
			s.left("%s: %s without uvicorn among its packages", path.Join(dir, file), m[2])
			return false
		}
		args = append(append(args, s.manager(dir)...), kw("port", number(8000)))
		s.add("python", "python_service", name, dir, append(args, s.environment(dir)...)...)
		s.found("%s: %s, so %s", path.Join(dir, file), m[2], name)
		return true
	}
	s.left("%s: no web application that init knows; python_service(args = [...]) runs what there is", path.Join(dir, "*.py"))
	return false
}

func (s *survey) ruby(dir string) bool {
	if !s.has(dir, "Gemfile") {
		return false
	}
	if !s.has(dir, "config.ru") || !strings.Contains(s.text(dir, "Gemfile"), "puma") {
		s.left("%s: neither Rails nor config.ru with puma", path.Join(dir, "Gemfile"))
		return false
	}
	name := s.called(dir, "web")
	args := []arg{kw("install", raw("True")), kw("server", quoted("puma")), kw("port", number(9292))}
	s.add("ruby", "ruby_service", name, dir, append(args, s.environment(dir)...)...)
	s.found("%s: Rack, so %s", path.Join(dir, "config.ru"), name)
	return true
}

func (s *survey) node(dir string) bool {
	text := s.text(dir, "package.json")
	if text == "" {
		return false
	}
	root, err := parseYAML([]byte(text))
	if err != nil {
		s.left("%s: %v", path.Join(dir, "package.json"), err)
		return false
	}
	uses := func(name string) bool {
		return root.at("dependencies", name) != nil || root.at("devDependencies", name) != nil
	}
	script := ""
	for _, candidate := range []string{"dev", "start", "serve"} {
		if script == "" && root.at("scripts", candidate).str() != "" {
			script = candidate
		}
	}
	what := root.at("scripts", script).str()
	factory, port := "node_service", 3000
	var args []arg
	switch {
	case uses("next") && strings.HasPrefix(what, "next"):
		factory = "next_service"
	case uses("vite") && strings.HasPrefix(what, "vite"):
		factory, port = "vite_service", 5173
	case script != "":
		args = append(args, kw("script", quoted(script)))
		if !uses("next") && !strings.Contains(what, "nodemon") && !strings.Contains(what, "--watch") && !strings.Contains(what, "tsx watch") {
			break
		}
		args = append(args, kw("sources", list())) // it watches itself
	case s.has(dir, "server.js"):
		args = append(args, kw("entry", quoted("server.js")))
	case s.has(dir, "index.js"):
		args = append(args, kw("entry", quoted("index.js")))
	default:
		s.left("%s: no script dev, start or serve", path.Join(dir, "package.json"))
		return false
	}
	if factory == "node_service" && len(root.at("dependencies").entries())+len(root.at("devDependencies").entries()) == 0 {
		args = append(args, kw("modules", raw("False")))
	}
	name := s.called(dir, "web")
	s.add("node", factory, name, dir, append(append(args, kw("port", number(port))), s.environment(dir)...)...)
	s.found("%s: %s, so %s", path.Join(dir, "package.json"), factory, name)
	return true
}

// scripts makes tasks of the usual scripts of package.json.
func (s *survey) scripts(dir string) {
	text := s.text(dir, "package.json")
	root, err := parseYAML([]byte(text))
	if text == "" || err != nil {
		return
	}
	manager := "npm"
	for _, x := range [][2]string{{"pnpm-lock.yaml", "pnpm"}, {"yarn.lock", "yarn"}, {"bun.lockb", "bun"}, {"bun.lock", "bun"}} {
		if s.has(dir, x[0]) || s.has(".", x[0]) {
			manager = x[1]
		}
	}
	var others []string
	for _, e := range root.get("scripts").entries() {
		if slices.Contains([]string{"dev", "start", "serve"}, e.key) {
			continue
		}
		if !slices.Contains([]string{"build", "test", "lint"}, e.key) || strings.Contains(e.value.str(), "no test specified") {
			others = append(others, e.key)
			continue
		}
		name := e.key
		if dir != "." {
			name = nodeName(path.Base(dir)) + "/" + name
		}
		if s.names[name] {
			continue
		}
		s.names[name] = true
		args := []arg{pos(quoted(name)), kw("command", texts([]string{manager, "run", e.key}))}
		if dir != "." {
			args = append(args, kw("cwd", quoted(dir)))
		}
		s.decls = append(s.decls, decl{name: name, value: call("task", args...)})
		s.found("%s: the task %s", path.Join(dir, "package.json"), name)
	}
	if len(others) > 0 {
		s.left("%s: the scripts %s", path.Join(dir, "package.json"), strings.Join(others, ", "))
	}
}

var (
	devenvExec    = regexp.MustCompile(`(?m)^\s*processes\.([\w-]+)\.exec\s*=\s*(?:"([^"\n]*)"|''((?s:.*?))'')\s*;`)
	devenvBlock   = regexp.MustCompile(`(?ms)^\s*processes\s*=\s*\{(.*?)^\s*\};`)
	devenvEntry   = regexp.MustCompile(`(?m)^\s*([\w-]+)\.exec\s*=\s*(?:"([^"\n]*)"|''((?s:.*?))'')\s*;`)
	devenvService = regexp.MustCompile(`(?m)^\s*services\.([\w-]+)\.enable\s*=\s*true\s*;`)
)

// devenv takes processes and services of a devenv.nix that are plain text.
func (s *survey) devenv() bool {
	text := s.text(".", "devenv.nix")
	if text == "" {
		return false
	}
	for _, m := range devenvService.FindAllStringSubmatch(text, -1) {
		kind := map[string]string{"postgres": "postgres", "redis": "redis", "mysql": "mariadb", "rabbitmq": "rabbitmq", "nats": "nats"}[m[1]]
		if kind == "" {
			s.left("devenv.nix: services.%s", m[1])
			continue
		}
		s.server(kind, "devenv.nix")
	}
	all := devenvExec.FindAllStringSubmatch(text, -1)
	for _, block := range devenvBlock.FindAllStringSubmatch(text, -1) {
		all = append(all, devenvEntry.FindAllStringSubmatch(block[1], -1)...)
	}
	any := false
	for _, m := range all {
		script := strings.TrimSpace(m[2] + m[3])
		if strings.Contains(script, "${") {
			s.left("devenv.nix: processes.%s, which holds Nix code", m[1])
			continue
		}
		name := s.name(m[1])
		s.decls = append(s.decls, decl{name: name, value: call("service", append([]arg{pos(quoted(name)), kw("command", command(script, []string{"bash", "-c"}))}, s.environment(".")...)...)})
		s.found("devenv.nix: the process %s", name)
		any = true
	}
	return any
}
