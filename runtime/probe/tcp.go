package probe

import (
	"context"
	"fmt"
	"time"

	"orrery/lang/graph"
)

// tcpProbe: somebody accepts connections on the port.
type tcpProbe struct{ *dialer }

func newTCP(p *graph.Probe, t Target) (Probe, error) {
	d, err := t.dialer(p)
	if err != nil {
		return nil, err
	}
	return &tcpProbe{d}, nil
}

// Check connects and closes.
func (p *tcpProbe) Check(ctx context.Context) error {
	start := time.Now()
	conn, err := p.dial(ctx)
	if err != nil {
		return fmt.Errorf("connect %s: %s", p.addresses[0], reason(ctx, start, err))
	}
	p.good(conn.RemoteAddr().String())
	conn.Close()
	return nil
}
