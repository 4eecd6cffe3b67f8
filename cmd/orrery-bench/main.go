// Command orrery-bench measures orrery side by side with the other process managers that are installed here and, with
// -tasks, with build tools.
//
// It measures from outside: every manager, orrery too, is a program that is started in a private directory, told by its
// own configuration file to run the same tiny servers, and watched through what those servers report. The servers are this
// binary itself (see helper.go). One adapter describes a peer (peer_*.go); one scenario makes one or more measures
// (scenario_*.go); the rounds are interleaved and the report gives medians with the least and the greatest value. The build
// tools are given one tree of tasks (task_tree.go), each by its adapter (task_native.go, task_node.go).
//
// It promises to use only loopback and its own temporary directory, to be bounded in time, and to end every process that
// came from it, by pid. It changes nothing outside of that unless -install is given. docs/bench.md says how each measure
// is made.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

func main() {
	if len(os.Args) > 1 && strings.HasPrefix(os.Args[1], helperPrefix) {
		os.Exit(helper(os.Args[1], os.Args[2:]))
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	err := bench(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "orrery-bench:", err)
		os.Exit(1)
	}
}

// options are the command line.
type options struct {
	orrery   string
	cache    string
	only     []string
	peers    []string
	rounds   int
	quick    bool
	install  bool
	list     bool
	tasks    bool
	stack    bool
	app      string
	sizes    []int
	json     bool
	markdown bool
}

func parse(args []string, stderr io.Writer) (options, error) {
	var o options
	var only, peers, sizes string
	f := flag.NewFlagSet("orrery-bench", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.StringVar(&o.orrery, "orrery", "", "the `program` to measure (default: orrery beside this one, else on PATH)")
	f.StringVar(&o.cache, "cache", "", "`folder` of the peers that -install fetched (default: orrery-bench in the user's cache)")
	f.StringVar(&only, "only", "", "`measures`: some of "+strings.Join(groups(), ",")+"; with -tasks "+strings.Join(taskGroups(), ",")+"; with -stack "+strings.Join(distinct(stackMeasures()), ","))
	f.StringVar(&peers, "peers", "", "`names` of the managers, such as orrery,s6 (default: all that are installed)")
	f.IntVar(&o.rounds, "rounds", 5, "`number` of interleaved rounds")
	f.BoolVar(&o.quick, "quick", false, "one round of small sizes, within a minute or so")
	f.BoolVar(&o.install, "install", false, "fetch the peers first: npm and go ones into the cache, Debian's with apt-get when root")
	f.BoolVar(&o.tasks, "tasks", false, "measure tasks beside build tools, not services beside process managers")
	f.BoolVar(&o.stack, "stack", false, "measure how long a database, a cache, a migration and a web service take to be there")
	f.StringVar(&o.app, "app", "examples/shop", "`folder` of the application, with -stack")
	f.StringVar(&sizes, "sizes", "100,1000,10000", "`numbers` of tasks, with -tasks")
	f.BoolVar(&o.list, "list", false, "only say which peers are here")
	f.BoolVar(&o.json, "json", false, "write JSON")
	f.BoolVar(&o.markdown, "markdown", false, "write a Markdown table")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if f.NArg() > 0 {
		return o, fmt.Errorf("got argument %q, want only flags", f.Arg(0))
	}
	if o.rounds < 1 {
		return o, fmt.Errorf("got -rounds %d, want 1 or more", o.rounds)
	}
	if o.quick {
		o.rounds, sizes = 1, "100"
	}
	for _, w := range words(sizes) {
		n, err := strconv.Atoi(w)
		if err != nil || n < 10 {
			return o, fmt.Errorf("got -sizes %s, want numbers from 10", w)
		}
		o.sizes = append(o.sizes, n)
	}
	o.only, o.peers = words(only), words(peers)
	known := groups()
	switch {
	case o.tasks && o.stack:
		return o, errors.New("got -tasks and -stack, want one of them")
	case o.tasks:
		known = taskGroups()
	case o.stack:
		known = distinct(stackMeasures())
	}
	for _, w := range o.only {
		if !slices.Contains(known, w) {
			return o, fmt.Errorf("got -only %s, want some of %s", w, strings.Join(known, ","))
		}
	}
	if o.cache == "" {
		dir, err := os.UserCacheDir()
		if err != nil {
			return o, fmt.Errorf("cannot find the cache folder; give -cache: %w", err)
		}
		o.cache = filepath.Join(dir, "orrery-bench")
	}
	return o, nil
}

func words(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ' ' })
}

func bench(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	o, err := parse(args, stderr)
	if err != nil {
		return err
	}
	if err := supported(); err != nil {
		return err
	}
	if o.install {
		install(ctx, o.known(), o.cache, stderr)
	}
	found, err := find(o, stderr)
	if err != nil {
		return err
	}
	if o.list {
		for _, p := range found {
			fmt.Fprintf(stdout, "%-16s %s\n", p.name, p.version)
		}
		return nil
	}
	b, err := newRunner(o, stderr)
	if err != nil {
		return err
	}
	defer b.close()
	rep := report{Machine: machine(), Rounds: o.rounds, Quick: o.quick, Peers: versions(found)}
	rep.Tasks = o.tasks
	switch {
	case o.tasks:
		rep.Results, err = b.tasks(ctx, found)
	case o.stack:
		rep.Results, err = b.stack(ctx, found)
	default:
		rep.Results, err = b.run(ctx, found)
	}
	if werr := rep.write(stdout, o); werr != nil {
		return werr
	}
	return err
}

// known are the managers, or the build tools with -tasks.
func (o options) known() []peer {
	switch {
	case o.tasks:
		return tools()
	case o.stack:
		return stackPeers()
	}
	return peers()
}

// find looks for the wished peers; orrery comes first, for the ratios.
func find(o options, stderr io.Writer) ([]*found, error) {
	all := o.known()
	for _, name := range o.peers {
		if !slices.ContainsFunc(all, func(p peer) bool { return p.name == name }) {
			return nil, fmt.Errorf("got -peers %s, which is unknown", name)
		}
	}
	var list []*found
	for _, p := range all {
		if len(o.peers) > 0 && !slices.Contains(o.peers, p.name) {
			continue
		}
		f, err := detect(p, o)
		switch {
		case err == nil:
			list = append(list, f)
		case slices.Contains(o.peers, p.name), p.name == "orrery" && len(o.peers) == 0:
			return nil, err
		default:
			fmt.Fprintln(stderr, "not here:", p.name)
		}
	}
	return list, nil
}
