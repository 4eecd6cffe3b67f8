package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"orrery/lang/graph"
	"orrery/runtime/bind"
	"orrery/runtime/control"
	"orrery/runtime/control/api"
)

// detached is the holder of what outlives its client.
const detached = "detached"

// Handler answers the clients of an engine. It is a control.Handler.
type Handler struct {
	Engine *Engine
	// Self describes the engine process in every status.
	Self api.Engine
	// Replace has the engine follow from another binary; nil: it cannot.
	Replace func(program string) error
	// Fresh answers MethodFresh; nil: it is not known here.
	Fresh func(context.Context, api.Fresh) (api.Freshness, error)
}

// Call carries out one request of a client.
func (h *Handler) Call(ctx context.Context, conn *control.Conn, method string, params json.RawMessage, emit func(any) error) (any, error) {
	result, err := h.call(ctx, conn, method, params, emit)
	return result, wireError(err)
}

func (h *Handler) call(ctx context.Context, conn *control.Conn, method string, params json.RawMessage, emit func(any) error) (any, error) {
	switch method {
	case api.MethodStatus:
		var p api.Names
		if err := control.Decode(params, &p); err != nil {
			return nil, err
		}
		return h.status(p.Names)
	case api.MethodHold:
		return h.hold(ctx, conn, params)
	case api.MethodRelease:
		return nil, h.release(ctx, conn, params)
	case api.MethodGone:
		var p api.Names
		if err := control.Decode(params, &p); err != nil {
			return nil, err
		}
		return nil, over(h.Engine.Gone(ctx, p.Names))
	case api.MethodDown:
		return nil, h.down(ctx, params, emit)
	case api.MethodWait:
		return h.wait(ctx, params)
	case api.MethodEvents:
		return nil, h.events(ctx, params, emit)
	case api.MethodReplace:
		var p api.Replace
		if err := control.Decode(params, &p); err != nil {
			return nil, err
		}
		if h.Replace == nil {
			return nil, &control.Error{Code: control.CodeUnknownMethod}
		}
		return nil, h.Replace(p.Program)
	case api.MethodFresh:
		var p api.Fresh
		if err := control.Decode(params, &p); err != nil {
			return nil, err
		}
		if h.Fresh == nil {
			return nil, &control.Error{Code: control.CodeUnknownMethod}
		}
		return h.Fresh(ctx, p)
	case api.MethodBindings:
		var p api.Names
		if err := control.Decode(params, &p); err != nil {
			return nil, err
		}
		return h.bindings(p.Names)
	case api.MethodAttach:
		var p api.Attach
		if err := control.Decode(params, &p); err != nil {
			return nil, err
		}
		return h.Engine.attachTo(ctx, p)
	case "start", "stop", "restart", "reload":
		var p api.Act
		if err := control.Decode(params, &p); err != nil {
			return nil, err
		}
		if err := h.Engine.Act(ctx, method, p.Names, p.Only); err != nil {
			return nil, err
		}
		return h.status(p.Names)
	}
	return nil, &control.Error{Code: control.CodeUnknownMethod}
}

// wireError gives an error the code that the client's exit code depends on.
func wireError(err error) error {
	var unknown *graph.UnknownTarget
	var conflict *bind.ConflictError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &unknown):
		return &control.Error{Code: control.CodeUnknownTarget, Message: err.Error()}
	case errors.As(err, &conflict):
		return &control.Error{Code: control.CodeConflict, Message: err.Error()}
	case errors.Is(err, context.DeadlineExceeded):
		return &control.Error{Code: control.CodeTimeout, Message: err.Error()}
	case errors.Is(err, ErrEnded), errors.Is(err, context.Canceled):
		return &control.Error{Code: control.CodeCancelled, Message: err.Error()}
	}
	var wire *control.Error
	if !errors.As(err, &wire) {
		return &control.Error{Code: control.CodeFailed, Message: err.Error()}
	}
	return err
}

// holderOf is the name under which a client holds: its own, or its connection's.
func holderOf(conn *control.Conn, client string) string {
	if client != "" {
		return "client " + client
	}
	return fmt.Sprintf("connection %d", conn.ID())
}

func (h *Handler) status(names []string) (any, error) {
	s, err := h.Engine.Status(names)
	s.Engine = h.Self
	return s, err
}

func (h *Handler) hold(ctx context.Context, conn *control.Conn, params json.RawMessage) (any, error) {
	var p api.Hold
	if err := control.Decode(params, &p); err != nil {
		return nil, err
	}
	mode := graph.Selection(p.Mode)
	if mode == "" {
		mode = graph.SelectNeeds
	}
	holder := detached
	if !p.Detach {
		holder = holderOf(conn, p.Client)
	}
	if err := h.Engine.agree(ctx, p.Digest); err != nil {
		return nil, err
	}
	names, err := h.Engine.holdWanted(holder, want{Targets: p.Targets, Mode: mode, Watch: p.Watch})
	if err != nil {
		return nil, err
	}
	if !p.Detach {
		h.Engine.attach(holder)
		go func() {
			<-conn.Closed()
			h.Engine.detach(holder)
		}()
	}
	return api.Hold{Targets: names, Mode: p.Mode, Detach: p.Detach, Digest: p.Digest}, nil
}

// agree is an error when a client speaks of another graph than the engine, also
// when the engine has looked at the files again.
func (e *Engine) agree(ctx context.Context, digest string) error {
	for range 2 {
		var own string
		if err := e.call(func() { own = e.digest }); err != nil {
			return err
		}
		if digest == "" || digest == own {
			return nil
		}
		if err := e.Reload(ctx); err != nil {
			return &control.Error{Code: control.CodeConflict, Message: "the running engine cannot apply this services.star: " + err.Error(), Hint: "orrery down, then again"}
		}
	}
	return &control.Error{
		Code:    control.CodeConflict,
		Message: "the running engine has other parameters or another project file",
		Hint:    "orrery down, then again",
	}
}

func (h *Handler) release(ctx context.Context, conn *control.Conn, params json.RawMessage) error {
	var p api.Release
	if err := control.Decode(params, &p); err != nil {
		return err
	}
	freed, err := h.Engine.Release(holderOf(conn, p.Client), p.Names, p.Now)
	if err == nil {
		err = h.Engine.Gone(ctx, h.Engine.withCleanup(freed))
	}
	return over(err)
}

// over takes the end of the engine for what it is: everything is down.
func over(err error) error {
	if errors.Is(err, ErrEnded) {
		return nil
	}
	return err
}

func (h *Handler) down(ctx context.Context, params json.RawMessage, emit func(any) error) error {
	var p api.Down
	if err := control.Decode(params, &p); err != nil {
		return err
	}
	e := h.Engine
	var all []string
	err := e.call(func() {
		for _, n := range e.nodes {
			all = append(all, n.name())
		}
	})
	if err != nil {
		return over(err)
	}
	// Called by the loop. A look at every node for every event of every node would be a square: at thousands of services what is
	// told comes in steps of a share of them.
	told, every := 0, 1+len(all)/100
	tell := func(api.Event) {
		if told++; told%every == 0 {
			emit(e.progress())
		}
	}
	stop, err := e.Events(^uint64(0), tell)
	if err != nil {
		return over(err)
	}
	defer stop()
	if err := e.Down(p.Now); err != nil {
		return over(err)
	}
	// Who is held again meanwhile was started by somebody else, and stays.
	return over(e.wait(ctx, all, func(n *node) bool { return !n.live() || n.holders > 0 }))
}

func (h *Handler) wait(ctx context.Context, params json.RawMessage) (any, error) {
	var p api.Wait
	if err := control.Decode(params, &p); err != nil {
		return nil, err
	}
	names, err := h.Engine.waited(p.Targets)
	if err != nil {
		return nil, err
	}
	wctx := ctx
	if p.TimeoutMS > 0 {
		var cancel context.CancelFunc
		wctx, cancel = context.WithTimeout(ctx, time.Duration(p.TimeoutMS)*time.Millisecond)
		defer cancel()
	}
	failed, err := h.Engine.settleProven(wctx, names)
	switch {
	case err != nil && wctx.Err() != nil && ctx.Err() == nil:
		return nil, h.Engine.overdue(names)
	case err != nil:
		return nil, err
	case len(failed) > 0:
		return nil, FailureError(failed)
	}
	return h.status(names)
}

// waited are the nodes of targets, or all that are held.
func (e *Engine) waited(targets []string) (names []string, err error) {
	var unknown error
	err = e.call(func() {
		if len(targets) > 0 {
			names, unknown = e.graph.Expand(targets)
			return
		}
		for _, n := range e.nodes {
			if n.holders > 0 && (n.svc == nil || n.def.Service.Autostart || n.live()) {
				names = append(names, n.name())
			}
		}
	})
	return names, errors.Join(err, unknown)
}

// overdue says who a wait that ran out was waiting for.
func (e *Engine) overdue(names []string) error {
	late := &control.Error{Code: control.CodeTimeout, Message: "timed out"}
	e.call(func() {
		for _, name := range names {
			if n := e.byName[name]; !e.settled(n) {
				late.Message = fmt.Sprintf("timed out: %s is %s", name, n.show.State)
				if why := e.status(n).Reason; why != "" {
					late.Message += " (" + why + ")"
				}
				late.Hint = "orrery logs " + name
				return
			}
		}
	})
	return late
}

func (h *Handler) events(ctx context.Context, params json.RawMessage, emit func(any) error) error {
	var p api.Events
	if err := control.Decode(params, &p); err != nil {
		return err
	}
	stop, err := h.Engine.Events(p.Since, func(ev api.Event) { emit(ev) })
	if err != nil {
		return err
	}
	defer stop()
	select {
	case <-ctx.Done():
		return nil
	case <-h.Engine.ended:
		return nil
	}
}

func (h *Handler) bindings(names []string) (any, error) {
	e := h.Engine
	var bound *bind.Binding
	b := api.Bindings{Env: map[string]map[string]string{}}
	if err := e.call(func() { bound, b.Digest = e.bind, e.digest }); err != nil {
		return nil, err
	}
	b.Values = bound.Snapshot()
	for _, name := range names {
		env, err := bound.Env(name)
		if err != nil {
			return nil, err
		}
		m := make(map[string]string, len(env))
		for _, v := range env {
			m[v.Key] = v.Value
		}
		b.Env[name] = m
	}
	return b, nil
}
