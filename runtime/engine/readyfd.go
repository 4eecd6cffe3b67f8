package engine

import (
	"fmt"

	"orrery/runtime/machine"
)

// keptReady is the key of the readiness descriptor of an instance, whose key
// follows: an engine that comes after this one is to see the newline.
const keptReady = "readyfd/"

// keepReady waits for the newline on the readiness descriptor of an instance.
func (e *Engine) keepReady(n *node, in *instance) error {
	f, err := duplicate(in.launch.readyR)
	if err != nil {
		return err
	}
	e.keep.put(readyKey(n, in), nil, func() { f.Close() }, f)
	e.awaitReady(n, in)
	return nil
}

func (e *Engine) awaitReady(n *node, in *instance) {
	r := in.launch.readyR
	go awaitNewline(r, func() {
		kept := closed()
		e.call(func() {
			e.step(n, machine.Event{Kind: machine.EventReady, Instance: in.id})
			e.save(n)
			e.keep.drop(readyKey(n, in))
			kept = e.keep.flushed()
		})
		<-kept
	})
}

// adoptReady goes on with that of an engine before this one.
func (e *Engine) adoptReady(n *node, in *instance, r Restored) {
	item, ok := r.Items[readyKey(n, in)]
	if !ok || len(item.Files) != 1 {
		return
	}
	in.launch.readyR = item.Files[0]
	e.keep.know(readyKey(n, in), item.Blob)
	e.awaitReady(n, in)
}

// closeReady lets go of it at the end of an instance.
func (e *Engine) closeReady(n *node, in *instance) {
	if in.launch.readyR != nil {
		e.keep.drop(readyKey(n, in))
	}
}

func readyKey(n *node, in *instance) string {
	return fmt.Sprintf("%s%s#%d", keptReady, n.name(), in.id)
}
