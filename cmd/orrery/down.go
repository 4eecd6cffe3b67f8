package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"orrery/cmd/orrery/term"
	"orrery/runtime/control"
	"orrery/runtime/control/api"
)

func downCommand(a *app) *cobra.Command {
	var now bool
	c := &cobra.Command{
		Use: "down", Short: "Stop everything, in order", Args: noArgs,
		Long: `Stops everything that the engine of this checkout runs, dependents first, and
says who it waits for. With nothing running it says so and is no error. ^C while
it waits kills what is left.`,
		Example: `  orrery down
  orrery down --now    kill, without each service's grace`,
		RunE: func(c *cobra.Command, _ []string) error { return a.down(c.Context(), now) },
	}
	c.Flags().BoolVar(&now, "now", false, "kill instead of asking")
	return c
}

func (a *app) down(ctx context.Context, now bool) error {
	place, err := a.barePlace()
	if err != nil {
		return err
	}
	c, err := control.Dial(ctx, place)
	var none *control.ErrNoEngine
	if errors.As(err, &none) && none.Cause == nil {
		a.say("nothing runs here")
		return nil
	}
	if err != nil {
		return err
	}
	sigs := make(chan os.Signal, 4)
	signal.Notify(sigs, syscall.SIGINT, syscall.SIGTERM)
	defer signal.Stop(sigs)
	done := make(chan error, 2)
	stop := func(c *control.Client, now bool) {
		err := persist(ctx, place, &c, func(c *control.Client) error {
			err := a.stopAll(ctx, c, now)
			if err == nil {
				a.awaitEnd(ctx, c)
			}
			return err
		})
		c.Close()
		done <- err
	}
	go stop(c, now)
	for {
		select {
		case err := <-done:
			var refused *control.Error
			if errors.As(err, &none) && !errors.As(err, &refused) {
				err = nil // it has ended, which is what was asked
			}
			if err == nil {
				a.say("everything is down")
			}
			return err
		case <-sigs:
			a.say("killing what is left")
			go func() {
				c, err := control.Dial(ctx, place)
				if err != nil {
					done <- err
					return
				}
				stop(c, true)
			}()
		}
	}
}

// awaitEnd waits for the end of an engine that has stopped everything, unless
// somebody has it hold something again.
func (a *app) awaitEnd(ctx context.Context, c *control.Client) {
	for {
		select {
		case <-c.Done():
			return
		case <-time.After(100 * time.Millisecond):
		}
		st, err := statusOf(ctx, c, nil)
		if err != nil {
			continue
		}
		for _, n := range st.Nodes {
			if n.Holders > 0 {
				a.say("%s was started by somebody else meanwhile", n.Name)
				return
			}
		}
	}
}

// stopBoard is the board of a stop that waits for nodes.
func stopBoard(waiting []string, began time.Time) *term.Board {
	if len(waiting) == 0 {
		return nil
	}
	b := &term.Board{Title: "stopping", Began: began, Counts: count(nil, len(waiting), "left"), Hint: "^C kills"}
	for i, name := range waiting {
		if i == mostRows {
			b.More = len(waiting) - i
			break
		}
		b.Rows = append(b.Rows, term.Row{Name: name, Color: nameColor(name), State: "stopping"})
	}
	return b
}

// stopAll asks for a down and shows whom it waits for.
func (a *app) stopAll(ctx context.Context, c *control.Client, now bool) error {
	last, said := "", time.Time{}
	began := time.Now()
	var waiting atomic.Pointer[[]string]
	waiting.Store(new([]string))
	l := a.follow(liveOptions{}, func() *term.Board { return stopBoard(*waiting.Load(), began) })
	defer l.end()
	return c.Stream(ctx, api.MethodDown, api.Down{Now: now}, func(raw json.RawMessage) error {
		var p api.Progress
		if err := json.Unmarshal(raw, &p); err != nil {
			return err
		}
		if a.json {
			return json.NewEncoder(a.stdout()).Encode(p)
		}
		waiting.Store(&p.Waiting)
		if l.changed(); l.footed() {
			return nil
		}
		n := len(p.Waiting)
		line := strings.Join(p.Waiting[:min(n, 8)], ", ")
		if n > 8 {
			line += fmt.Sprintf(" and %d more", n-8)
		}
		if n > 0 && line != last && (n <= 8 || time.Since(said) > time.Second) {
			last, said = line, time.Now()
			a.say("stopping %s", line)
		}
		return nil
	})
}

// act is what start, stop, restart and reload have in common.
func act(a *app, name, short, long, example string) *cobra.Command {
	var only bool
	c := &cobra.Command{
		Use: name + " NAME...", Short: short, Long: long, Example: example,
		Args: minArgs(1, "the name of a service, group or subtree"),
		RunE: func(c *cobra.Command, args []string) error {
			place, err := a.barePlace()
			if err != nil {
				return err
			}
			client, err := control.Dial(c.Context(), place)
			if err != nil {
				return err
			}
			defer func() { client.Close() }() // of the engine that answered
			var st api.Status
			_, end := a.work(name + " " + strings.Join(args, " "))
			defer end()
			err = persist(c.Context(), place, &client, func(now *control.Client) error {
				return now.Call(c.Context(), name, api.Act{Names: args, Only: only}, &st)
			})
			if err != nil {
				return ending(err, place)
			}
			if a.json {
				return a.printJSON(st)
			}
			for _, n := range st.Nodes {
				a.say("%s %s", n.Name, n.State)
			}
			return nil
		},
	}
	if name == "start" {
		c.Flags().BoolVar(&only, "only", false, "the named ones alone, not what they need")
	}
	return c
}

func startCommand(a *app) *cobra.Command {
	return act(a, "start", "Start nodes on the running engine",
		"Starts nodes, and what they need, on the engine that runs; they stay until down.",
		"  orrery start worker\n  orrery start debug --only")
}

func stopCommand(a *app) *cobra.Command {
	return act(a, "stop", "Stop services on the running engine",
		"Stops services; they stay listed and can be started again.",
		"  orrery stop worker")
}

func restartCommand(a *app) *cobra.Command {
	c := act(a, "restart", "Restart services on the running engine",
		`Restarts services; one that had given up gets a new budget of restarts. With
--engine the engine itself is replaced by this binary, and nothing else restarts.`,
		"  orrery restart web\n  orrery restart --engine    after an upgrade of orrery")
	var replace bool
	c.Flags().BoolVar(&replace, "engine", false, "replace the engine by this binary; services go on")
	named, run := c.Args, c.RunE
	c.Args = func(c *cobra.Command, args []string) error {
		if replace {
			return noArgs(c, args)
		}
		return named(c, args)
	}
	c.RunE = func(c *cobra.Command, args []string) error {
		if !replace {
			return run(c, args)
		}
		return a.replaceEngine(c.Context())
	}
	return c
}

// replaceEngine has the engine follow from the binary that we are, and waits
// for it.
func (a *app) replaceEngine(ctx context.Context) error {
	place, err := a.barePlace()
	if err != nil {
		return err
	}
	c, err := control.Dial(ctx, place)
	if err != nil {
		return err
	}
	defer c.Close()
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	if err := c.Call(ctx, api.MethodReplace, api.Replace{Program: exe}, nil); err != nil {
		return err
	}
	<-c.Done()
	next, err := follow(ctx, place)
	if err != nil {
		return err
	}
	defer next.Close()
	st, err := statusOf(ctx, next, nil)
	if err != nil {
		return err
	}
	if a.json {
		return a.printJSON(st)
	}
	a.say("the engine is now %s, pid %d; nothing else was restarted", next.Version(), next.PID())
	return nil
}

func reloadCommand(a *app) *cobra.Command {
	return act(a, "reload", "Have services reread their configuration",
		"Sends the declared reload signal, or runs the declared command.",
		"  orrery reload proxy")
}

func waitCommand(a *app) *cobra.Command {
	limit := "120s"
	c := &cobra.Command{
		Use: "wait [TARGET...]", Short: "Wait until targets are ready or have succeeded",
		Long:    "Waits until targets, or all that is held, are ready or have succeeded; fails at\nonce when one of them has failed or given up.",
		Example: "  orrery wait\n  orrery wait web --timeout=30s",
		RunE: func(c *cobra.Command, args []string) error {
			d, err := waitTime(limit)
			if err != nil {
				return fmt.Errorf("--timeout: %w", err)
			}
			place, err := a.barePlace()
			if err != nil {
				return err
			}
			client, err := control.Dial(c.Context(), place)
			if err != nil {
				return err
			}
			defer client.Close()
			var st api.Status
			end := a.watchNodes(c.Context(), client, args)
			err = client.Call(c.Context(), api.MethodWait, api.Wait{Targets: args, TimeoutMS: d.Milliseconds()}, &st)
			end()
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(st)
			}
			return nil
		},
	}
	c.Flags().StringVar(&limit, "timeout", limit, "`TIME` to wait at most")
	return c
}
