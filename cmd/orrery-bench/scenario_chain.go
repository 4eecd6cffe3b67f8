package main

import (
	"context"
	"fmt"
	"slices"
)

// chain starts n servers that each wait until the one before is ready, which the manager learns by kind.
func chain(kind string, n int) scenario {
	m := measure{fmt.Sprintf("chain.%s.%d", kind, n), "chain", "ms", fmt.Sprintf("a chain of %d, each ready by %s before the next starts", n, kind)}
	run := func(ctx context.Context, r *runner, f *found) ([]sample, error) {
		var list []sample
		err := r.in(f, func(s *session) error {
			var err error
			if s.services, err = links(s, kind, n); err != nil {
				return err
			}
			_, took, err := s.up(ctx)
			if err != nil {
				return err
			}
			list = append(list, sample{id: m.id, value: ms(took)})
			return s.settled(ctx, 0)
		})
		return list, err
	}
	return scenario{[]measure{m}, func(p peer) bool { return slices.Contains(p.waits, kind) }, run}
}

func links(s *session, kind string, n int) ([]service, error) {
	list := servers(n, s.file("run"))
	numbers, err := ports(n)
	if err != nil {
		return nil, err
	}
	for i := range list {
		v := &list[i]
		v.ready = kind
		if i > 0 {
			v.after = list[i-1].name
		}
		switch kind {
		case "tcp", "http":
			v.port, v.path, v.args = numbers[i], "", []string{"listen=tcp:{port}"}
		case "exec":
			v.check = s.file("run", v.name+".ready")
			v.args = append(v.args, "notify=file:"+v.check)
		case "notify":
			how := "env"
			if s.name == "s6" {
				how = "fd:3"
			}
			v.args = append(v.args, "notify="+how)
		}
	}
	return list, nil
}
