package main

import (
	"context"
	"errors"
	"time"

	"orrery/lang"
	"orrery/runtime/control"
	"orrery/runtime/control/api"
)

// connectOrStart reaches the engine, or starts one: o is what it is told, but
// for the project.
func (a *app) connectOrStart(ctx context.Context, p *lang.Project, place control.Place, o orders) (c *control.Client, started bool, err error) {
	c, err = control.Dial(ctx, place)
	var none *control.ErrNoEngine
	if err == nil || !errors.As(err, &none) || none.Cause != nil {
		return c, false, err
	}
	o.File = p.File
	if o.Params, err = a.settings(); err != nil {
		return nil, false, err
	}
	if err := startEngine(ctx, place, o); err != nil {
		return nil, false, err
	}
	c, err = control.Dial(ctx, place)
	return c, true, err
}

// persist asks an engine, and when it was killed meanwhile its successor, from
// the start. It returns the client that was asked last; the others are closed.
func persist(ctx context.Context, place control.Place, c **control.Client, ask func(*control.Client) error) error {
	for {
		err := ask(*c)
		var none *control.ErrNoEngine
		var refused *control.Error
		if !errors.As(err, &none) || errors.As(err, &refused) {
			return err // answered, if only by a refusal
		}
		next := successor(ctx, place)
		if next == nil {
			return err
		}
		(*c).Close()
		*c = next
	}
}

// successor waits for the engine that follows a killed one: there is going to be
// one as long as the keeper has the lock. Nil: there is none.
func successor(ctx context.Context, place control.Place) *control.Client {
	for try := 0; try < 250 && ctx.Err() == nil; try++ {
		if _, kept, err := place.Running(); err != nil || !kept {
			return nil
		}
		if c, err := control.Dial(ctx, place); err == nil {
			return c
		}
		time.Sleep(20 * time.Millisecond)
	}
	return nil
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
