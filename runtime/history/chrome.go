package history

import (
	"bufio"
	"encoding/json"
	"io"
)

// traceEvent is one element of the Trace Event Format: ts and dur are microseconds.
type traceEvent struct {
	Name  string         `json:"name"`
	Cat   string         `json:"cat,omitempty"`
	Phase string         `json:"ph"`
	TS    int64          `json:"ts"`
	Dur   int64          `json:"dur,omitempty"`
	PID   int            `json:"pid"`
	TID   int            `json:"tid"`
	Color string         `json:"cname,omitempty"`
	Args  map[string]any `json:"args,omitempty"`
}

// chrome writes the JSON array form. Two nodes that work at the same time are in different lanes; waits are not drawn, they
// are arguments.
func chrome(w io.Writer, t *Trace, _ TextOptions) error {
	critical := t.critical()
	events := []traceEvent{{Name: "process_name", Phase: "M", PID: 1, Args: map[string]any{"name": "orrery " + t.title()}}}
	var lanes []int64 // until when each is taken
	for i := range t.Run.Nodes {
		n := &t.Run.Nodes[i]
		if n.Started == 0 {
			continue
		}
		end := n.settled()
		if end == 0 {
			end = t.Until
		}
		lane := 0
		for lane < len(lanes) && lanes[lane] > n.Started {
			lane++
		}
		if lane == len(lanes) {
			lanes = append(lanes, 0)
		}
		lanes[lane] = max(end, n.Started)
		e := traceEvent{Name: n.Name, Cat: n.Kind, Phase: "X", TS: n.Started, Dur: max(end-n.Started, 1), PID: 1, TID: lane + 1, Args: chromeArgs(n)}
		if critical[n.Name] {
			e.Color, e.Cat = "terrible", n.Kind+",critical"
			e.Args["critical"] = true
		}
		events = append(events, e)
	}
	b := bufio.NewWriter(w)
	b.WriteString("[\n")
	for i, e := range events {
		raw, err := json.Marshal(e)
		if err != nil {
			return err
		}
		b.Write(raw)
		if i < len(events)-1 {
			b.WriteByte(',')
		}
		b.WriteByte('\n')
	}
	b.WriteString("]\n")
	return b.Flush()
}

func chromeArgs(n *Node) map[string]any {
	a := map[string]any{"state": n.State}
	if n.Waiting > 0 {
		a["waited_us"] = max(n.Started-n.Waiting, 0)
	}
	if n.Cached {
		a["cached"] = true
	}
	if n.Reason != "" {
		a["reason"] = n.Reason
	}
	if len(n.Why) > 0 {
		a["why"] = n.Why
	}
	return a
}
