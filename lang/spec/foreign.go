package spec

import (
	"slices"

	"orrery/lang/graph"
)

// foreign are names that fields have in other tools (docker compose, process-compose, Tilt, systemd, turbo, go-task), and ours.
func foreign() map[string][]string {
	return map[string][]string{
		"args":              {"command"},
		"build":             {"after"},
		"cmd":               {"command"},
		"cmds":              {"command"},
		"cron":              {"schedule"},
		"depends":           {"after"},
		"depends_on":        {"after"},
		"dependencies":      {"after"},
		"deps":              {"after"},
		"dir":               {"cwd"},
		"directory":         {"cwd"},
		"entrypoint":        {"command"},
		"environment":       {"env"},
		"exec":              {"command"},
		"exec_start":        {"command"},
		"expose":            {"ports"},
		"generates":         {"outputs"},
		"health_check":      {"live", "ready"},
		"healthcheck":       {"ready"},
		"liveness":          {"live"},
		"liveness_probe":    {"live"},
		"needs":             {"after"},
		"outs":              {"outputs"},
		"port":              {"ports"},
		"readiness":         {"ready"},
		"readiness_probe":   {"ready"},
		"requires":          {"after"},
		"restart_policy":    {"restart"},
		"run":               {"command"},
		"script":            {"command"},
		"sources":           {"inputs"},
		"srcs":              {"inputs"},
		"sockets":           {"listen"},
		"working_dir":       {"cwd"},
		"working_directory": {"cwd"},
		"workdir":           {"cwd"},
	}
}

// meantBy is the name that was meant by an unknown one: as it is called elsewhere, or misspelt; "" if none comes near.
func meantBy(name string, names []string) string {
	for _, ours := range foreign()[name] {
		if slices.Contains(names, ours) {
			return ours
		}
	}
	return graph.Suggest(name, names)
}
