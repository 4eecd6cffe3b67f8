package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// install fetches the peers that are not here: from npm and with go install into the cache folder, from Debian with
// apt-get when root. What cannot be had is said and left out.
func install(ctx context.Context, list []peer, cache string, log io.Writer) {
	if err := os.MkdirAll(filepath.Join(cache, "npm"), 0o755); err != nil {
		fmt.Fprintln(log, "cannot install:", err)
		return
	}
	var apt []string
	updated := false
	for _, p := range list {
		if _, err := detect(p, options{cache: cache}); err == nil {
			continue
		}
		kind, name, _ := strings.Cut(p.from, ":")
		switch kind {
		case "npm":
			fetch(ctx, log, nil, "npm", "install", "--no-audit", "--no-fund", "--prefix", filepath.Join(cache, "npm"), name)
		case "go":
			fetch(ctx, log, []string{"GOBIN=" + filepath.Join(cache, "bin"), "CGO_ENABLED=0"}, "go", "install", name)
		case "apt":
			apt = append(apt, name)
		}
	}
	if len(apt) == 0 {
		return
	}
	if os.Geteuid() != 0 {
		fmt.Fprintln(log, "to be installed by root: apt-get install", strings.Join(apt, " "))
		return
	}
	for _, name := range apt {
		if !updated {
			updated = true
			fetch(ctx, log, nil, "apt-get", "update", "-q")
		}
		fetch(ctx, log, []string{"DEBIAN_FRONTEND=noninteractive"}, "apt-get", "install", "-y", "-q", "--no-install-recommends", name)
	}
}

func fetch(ctx context.Context, log io.Writer, env []string, name string, args ...string) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	c := exec.CommandContext(ctx, name, args...)
	c.Env = append(os.Environ(), env...)
	out, err := c.CombinedOutput()
	what := name + " " + strings.Join(args, " ")
	if err != nil {
		fmt.Fprintf(log, "not to be had: %s: %v: %s\n", what, err, tail(string(out)))
		return
	}
	fmt.Fprintln(log, "done:", what)
}
