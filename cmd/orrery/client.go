package main

import (
	"context"
	"errors"
	"time"

	"orrery/lang"
	"orrery/runtime/control"
	"orrery/runtime/control/api"
)

// starting is what an engine is started with.
type starting struct {
	project *lang.Project
	place   control.Place
	orders  orders // but for the project
}

// followTime bounds the wait for an engine that ends, and for the one that follows.
const followTime = 10 * time.Second

// errLost says that the connection to the engine broke.
var errLost = errors.New("the engine has ended; see .orrery/engine.log")

// engage reaches the engine, or starts one, and has it carry out what is asked.
// An engine ends by itself once nobody holds anything, which the end of another
// client or a down brings about at any time: one that ends before it has carried
// it out is waited for, and another one is reached or started.
func (a *app) engage(ctx context.Context, s starting, ask func(*control.Client) error) (c *control.Client, started bool, err error) {
	for deadline := time.Now().Add(followTime); ; {
		var began bool
		c, began, err = a.connectOrStart(ctx, s)
		started = started || began
		over := absent(err)
		if err == nil {
			if err = ask(c); err == nil {
				return c, started, nil
			}
			over = cutOff(err)
			c.Close()
		}
		if !over || time.Now().After(deadline) {
			return nil, started, err
		}
		// No event tells that it has let go of the checkout.
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
			return nil, started, ctx.Err()
		}
	}
}

// connectOrStart reaches the engine, or starts one.
func (a *app) connectOrStart(ctx context.Context, s starting) (c *control.Client, started bool, err error) {
	if c, err = control.Dial(ctx, s.place); !absent(err) {
		return c, false, err
	}
	o := s.orders
	if o.source, err = a.source(); err != nil {
		return nil, false, err
	}
	o.File = s.project.File
	if err := startEngine(ctx, s.place, o); err != nil {
		return nil, false, err
	}
	c, err = control.Dial(ctx, s.place)
	return c, true, err
}

// absent tells whether an error of Dial says that simply no engine runs.
func absent(err error) bool {
	var none *control.ErrNoEngine
	return errors.As(err, &none) && none.Cause == nil
}

// cutOff tells whether an error of a request says that its engine has ended, or
// is about to, and has not answered it.
func cutOff(err error) bool {
	var none *control.ErrNoEngine
	var refused *control.Error
	if errors.As(err, &refused) {
		return refused.Code == control.CodeCancelled
	}
	return errors.As(err, &none)
}

// follow reaches the engine that follows a killed one. There is going to be one
// as long as the keeper has the checkout; else the error is errLost.
func follow(ctx context.Context, place control.Place) (*control.Client, error) {
	ctx, cancel := context.WithTimeout(ctx, followTime)
	defer cancel()
	for {
		c, err := control.Dial(ctx, place)
		switch {
		case err == nil:
			return c, nil
		case absent(err):
			return nil, errLost
		}
		select {
		case <-ctx.Done():
			return nil, errLost
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// persist asks an engine, and when it was killed meanwhile its successor, from
// the start. It returns the client that was asked last; the others are closed.
func persist(ctx context.Context, place control.Place, c **control.Client, ask func(*control.Client) error) error {
	for {
		err := ask(*c)
		var refused *control.Error
		if !cutOff(err) || errors.As(err, &refused) {
			return err // answered, if only by a refusal
		}
		next, lost := follow(ctx, place)
		if lost != nil {
			return err
		}
		(*c).Close()
		*c = next
	}
}

// hold takes targets on the engine and returns the nodes that are held.
func hold(ctx context.Context, c *control.Client, h api.Hold) ([]string, error) {
	var held api.Hold
	err := c.Call(ctx, api.MethodHold, h, &held)
	return held.Targets, err
}

// statusOf asks for the state of nodes.
func statusOf(ctx context.Context, c *control.Client, names []string) (api.Status, error) {
	var s api.Status
	err := c.Call(ctx, api.MethodStatus, api.Names{Names: names}, &s)
	return s, err
}
