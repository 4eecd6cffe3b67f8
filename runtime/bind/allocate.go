package bind

import (
	"errors"
	"fmt"
)

// want is a port that shall be allocated.
type want struct {
	key  key
	spec portSpec
	idle bool // a number is enough: its service does not run
}

// allocation is one run of Prepare.
type allocation struct {
	t     *Table
	fresh []key // made in this run
	errs  []error
}

// run allocates what is not there yet, in passes: strict ports first, which can take nothing else; then bases, again and
// again while giving up an old lease frees another's base; then old leases; then what is next.
func (a *allocation) run(ws []want) error {
	var open, rest []want
	for _, w := range ws {
		if !a.keep(w) {
			open = append(open, w)
		}
	}
	for _, w := range open {
		if w.spec.strict {
			a.strict(w)
		} else {
			rest = append(rest, w)
		}
	}
	rest = a.bases(rest)
	rest = a.each(rest, func(w want) bool {
		l, ok := a.t.leases.byPort[w.key]
		return ok && l.Base == w.spec.base && l.Proto == w.spec.proto && a.free(w, l.Number) && a.try(w, l.Number) == nil
	})
	avoid := map[int]bool{}
	for _, w := range ws {
		avoid[w.spec.base] = true
	}
	for _, w := range rest {
		a.next(w, avoid)
	}
	return errors.Join(a.errs...)
}

// keep tells whether w is there already; one that was only referred to is opened now at its number.
func (a *allocation) keep(w want) bool {
	e := a.t.ports.get(w.key)
	if e == nil {
		return false
	}
	if e.spec.same(w.spec) && (w.idle || !e.idle) && (!w.spec.strict || e.number == w.spec.base) {
		return true
	}
	e.close()
	a.t.dropPort(w.key)
	return false
}

// each drops the wants that f could satisfy.
func (a *allocation) each(ws []want, f func(want) bool) []want {
	var left []want
	for _, w := range ws {
		if !f(w) {
			left = append(left, w)
		}
	}
	return left
}

func (a *allocation) bases(ws []want) []want {
	busy := map[key]bool{}
	for {
		n := len(ws)
		ws = a.each(ws, func(w want) bool {
			if busy[w.key] || !a.free(w, w.spec.base) {
				return false
			}
			if a.try(w, w.spec.base) != nil {
				busy[w.key] = true
				return false
			}
			return true
		})
		if len(ws) == n {
			return ws
		}
	}
}

// free tells whether no other port of the checkout has the number or a lease of it.
func (a *allocation) free(w want, number int) bool {
	if _, held := a.t.holder(w, number); held {
		return false
	}
	other, leased := a.t.leases.holder(w.spec.proto, number)
	return !leased || other == w.key
}

// holder is the other port that has the number now.
func (t *Table) holder(w want, number int) (key, bool) {
	for _, k := range t.numbers[portNumber{w.spec.proto, number}] {
		e := t.ports.get(k)
		if phantom := e.idle && len(e.holds) == 0; k != w.key && !phantom {
			return k, true
		}
	}
	return key{}, false
}

// strict takes the base or nothing: also from the lease of a service that does not run.
func (a *allocation) strict(w want) {
	conflict := &ConflictError{Node: w.key.node, Port: w.key.name, Number: w.spec.base}
	k, held := a.t.holder(w, w.spec.base)
	err := errBusy
	if !held {
		err = a.try(w, w.spec.base)
	}
	switch {
	case err == nil:
		return
	case w.idle:
		// It can have no other number, and whether it gets this one matters when its service starts.
		a.t.setPort(w.key, &entry{spec: w.spec, number: w.spec.base, idle: true})
		a.fresh = append(a.fresh, w.key)
		return
	case held:
		conflict.Owner = fmt.Sprintf("the port %s of %s", k.name, k.node)
		a.errs = append(a.errs, conflict)
		return
	case errors.Is(err, errBusy):
		conflict.Owner = PortOwner(w.spec.proto, w.spec.base)
		a.errs = append(a.errs, conflict)
		return
	}
	a.errs = append(a.errs, fmt.Errorf("cannot give %s its port %s: %w", w.key.node, w.key.name, err))
}

// next takes the first number above the base that is free and nobody's base.
func (a *allocation) next(w want, avoid map[int]bool) {
	var last error
	for i := 1; i < 64*1024; i++ {
		number := w.spec.base + i
		if number > 65535 {
			number -= 65535 - 1023
		}
		if number > 65535 || number < 1024 && w.spec.base >= 1024 || avoid[number] || !a.free(w, number) {
			continue
		}
		if last = a.try(w, number); last == nil {
			return
		}
		if !errors.Is(last, errBusy) && !errors.Is(last, errPrivileged) {
			break
		}
	}
	if last == nil {
		last = errors.New("no number is free")
	}
	a.errs = append(a.errs, fmt.Errorf("cannot give %s its port %s (base %d): %w", w.key.node, w.key.name, w.spec.base, last))
}

// try opens or reserves the number for w.
func (a *allocation) try(w want, number int) error {
	e := &entry{spec: w.spec, number: number, idle: w.idle}
	var err error
	if e.claim, err = claim(w.spec.proto, number); err != nil {
		return err
	}
	if w.spec.listen && !w.idle {
		e.listen, e.holds, err = listen(w.spec, number)
	} else {
		e.holds, err = reserve(w.spec, number)
	}
	if err != nil {
		e.close()
		return err
	}
	a.t.setPort(w.key, e)
	a.t.leases.evict(w.key, w.spec.proto, number)
	a.t.leases.set(w.key, w.spec, number)
	a.fresh = append(a.fresh, w.key)
	return nil
}
