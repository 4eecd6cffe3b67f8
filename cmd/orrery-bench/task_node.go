package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// The build tools from npm. turbo, moon and nx are given a package or project a task, which is what they are made for; the
// dependency on an output is one on the package that makes it.

// object is one of JSON.
type object map[string]any

func (s *site) json(name string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return s.session.write(name, string(b)+"\n")
}

// repository makes the tree one of git, with everything in it: turbo and moon ask git for the hashes of files.
func (s *site) repository() error {
	if err := s.session.write(".gitignore", "out\nnode_modules\n.turbo\n.moon/cache\n.nx\n.wireit\nhome\nrun\nr.sock\ndo\n/out\n"); err != nil {
		return err
	}
	for _, argv := range [][]string{
		{"git", "init", "-q"}, {"git", "add", "-A"},
		{"git", "-c", "user.name=bench", "-c", "user.email=bench@localhost", "commit", "-q", "-m", "all"},
	} {
		if _, err := s.do(argv); err != nil {
			return err
		}
	}
	return nil
}

// inPackage is the command of a task as it is said in its own folder.
func (j *job) inPackage() string {
	if len(j.argv) != 3 || j.argv[0] != "cp" {
		return "cd ../.. && " + j.line()
	}
	if len(j.deps) > 0 {
		return "cp ../" + j.deps[0].name + "/out out"
	}
	return "cp a out"
}

func turbo() builder {
	return builder{
		peer: peer{name: "turbo", programs: []string{"npm/node_modules/@turbo/linux-*/bin/turbo"}, from: "npm:turbo", version: []string{"--version"}},
		own:  []string{"TURBO_TELEMETRY_DISABLED=1", "DO_NOT_TRACK=1", "TURBO_NO_UPDATE_NOTIFIER=1", "TURBO_SCM_BASE=HEAD"},
		most: 100, keeps: true,
		write: func(s *site) error {
			lock := object{"": object{"name": "bench", "workspaces": []string{"p/*"}}}
			for _, j := range s.jobs {
				needs := object{}
				for _, d := range j.deps {
					needs[d.name] = "1.0.0"
				}
				if err := s.json(j.file("package.json"), object{"name": j.name, "version": "1.0.0", "scripts": object{"build": j.inPackage()}, "dependencies": needs}); err != nil {
					return err
				}
				lock["p/"+j.name] = object{"name": j.name, "version": "1.0.0", "dependencies": needs}
				lock["node_modules/"+j.name] = object{"resolved": "p/" + j.name, "link": true}
			}
			if err := s.json("package.json", object{"name": "bench", "private": true, "packageManager": "npm@10.8.2", "workspaces": []string{"p/*"}}); err != nil {
				return err
			}
			if err := s.json("package-lock.json", object{"name": "bench", "lockfileVersion": 3, "requires": true, "packages": lock}); err != nil {
				return err
			}
			if err := s.json("turbo.json", object{"tasks": object{"build": object{"inputs": []string{"a", "b"}, "outputs": []string{"out"}, "dependsOn": []string{"^build"}}}}); err != nil {
				return err
			}
			return s.repository()
		},
		run: func(s *site) []string {
			return []string{s.program(), "run", "build", "--concurrency=2", "--output-logs=errors-only", "--ui=stream"}
		},
	}
}

func moon() builder {
	return builder{
		peer: peer{name: "moon", programs: []string{"npm/node_modules/@moonrepo/core-linux-*-gnu/moon"}, from: "npm:@moonrepo/cli", version: []string{"--version"}},
		own:  []string{"MOON_TOOLCHAIN_FORCE_GLOBALS=true", "DO_NOT_TRACK=1"},
		most: 100, keeps: true,
		write: func(s *site) error {
			projects := object{}
			for _, j := range s.jobs {
				projects[j.name] = "p/" + j.name
				how := "command"
				if strings.Contains(j.inPackage(), "&&") {
					how = "script"
				}
				task := object{how: j.inPackage(), "inputs": []string{"a", "b"}, "outputs": []string{"out"}}
				if len(j.deps) > 0 {
					var deps []string
					for _, d := range j.deps {
						deps = append(deps, d.name+":build")
					}
					task["deps"] = deps
				}
				if err := s.json(j.file("moon.yml"), object{"tasks": object{"build": task}}); err != nil {
					return err
				}
			}
			if err := s.json(".moon/workspace.yml", object{"projects": projects, "telemetry": false, "vcs": object{"client": "git", "defaultBranch": "master"}}); err != nil {
				return err
			}
			return s.repository()
		},
		run: func(s *site) []string {
			return []string{s.program(), "run", ":build", "--concurrency", "2", "--log", "error", "--quiet"}
		},
	}
}

func nx() builder {
	return builder{
		peer: peer{name: "nx", programs: []string{"npm/node_modules/.bin/nx"}, from: "npm:nx"},
		own:  []string{"NX_DAEMON=false", "NX_TUI=false", "NX_NO_CLOUD=true", "DO_NOT_TRACK=1", "NX_SKIP_NX_CACHE=false"},
		most: 100, keeps: true,
		write: func(s *site) error {
			for _, j := range s.jobs {
				p := object{"name": j.name, "root": "p/" + j.name, "targets": object{"build": object{
					"executor": "nx:run-commands", "options": object{"command": j.inPackage(), "cwd": "p/" + j.name}, "cache": true,
					"inputs": []any{"{projectRoot}/a", "{projectRoot}/b", object{"dependentTasksOutputFiles": "**/out"}}, "outputs": []string{"{projectRoot}/out"}, "dependsOn": []string{"^build"},
				}}}
				if len(j.deps) > 0 {
					p["implicitDependencies"] = names(j.deps)
				}
				if err := s.json(j.file("project.json"), p); err != nil {
					return err
				}
			}
			if err := s.json("nx.json", object{"analytics": false, "neverConnectToCloud": true}); err != nil {
				return err
			}
			if err := s.json("package.json", object{"name": "bench", "private": true, "devDependencies": object{"nx": "*"}}); err != nil {
				return err
			}
			if err := s.modules(); err != nil {
				return err
			}
			return s.repository()
		},
		run: func(s *site) []string {
			return []string{s.program(), "run-many", "-t", "build", "--parallel=2", "--outputStyle=stream"}
		},
	}
}

// wireit runs scripts of one package.json, through npm, which it wants to be started by.
func wireit() builder {
	return builder{
		peer: peer{name: "wireit", programs: []string{"npm/node_modules/.bin/wireit"}, from: "npm:wireit"},
		own:  []string{"WIREIT_PARALLEL=2", "WIREIT_LOGGER=quiet", "npm_config_update_notifier=false"},
		most: 100, keeps: true,
		write: func(s *site) error {
			scripts, all := object{"all": "wireit"}, object{"all": object{"dependencies": names(roots(s.jobs))}}
			for _, j := range s.jobs {
				scripts[j.name] = "wireit"
				w := object{"command": j.line(), "files": []string{j.file("a"), j.file("b")}, "output": []string{j.file("out")}}
				if len(j.deps) > 0 {
					w["dependencies"] = names(j.deps)
				}
				all[j.name] = w
			}
			return s.json("package.json", object{"name": "bench", "private": true, "scripts": scripts, "wireit": all})
		},
		run: func(s *site) []string { return []string{"npm", "run", "--silent", "all"} },
	}
}

// modules links the folder of the fetched packages into the tree, where nx looks for itself.
func (s *site) modules() error {
	if err := os.Symlink(filepath.Dir(filepath.Dir(s.program())), s.session.file("node_modules")); err != nil {
		return fmt.Errorf("cannot link the packages: %w", err)
	}
	return nil
}
