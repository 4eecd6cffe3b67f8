package machine

// Step decides: it returns the state after e and what to do about it. It may be
// called from any goroutine; p and s are only read. An event that means nothing in
// this state (a stale instance or timer, a stop of what is down) changes nothing.
func Step(p *Policy, s State, e Event) (State, []Action) {
	return s, nil
}
