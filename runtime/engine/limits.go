package engine

import (
	"fmt"
	"strconv"
	"strings"

	"orrery/lang/graph"
	"orrery/runtime/proc"
)

// limitsOf is what a service may use and do.
func limitsOf(s *graph.Service) proc.Limits {
	var l proc.Limits
	if h := s.Harden; h != nil {
		l.NoNewPrivs = h.NoNewPrivileges
		if len(h.Capabilities) > 0 {
			l.Capabilities = h.Capabilities
		}
	}
	d := s.Limits
	if d == nil {
		return l
	}
	if d.Memory != nil {
		l.Memory = uint64(*d.Memory)
	}
	if d.Tasks != nil {
		l.Tasks = uint64(*d.Tasks)
	}
	if d.Nofile != nil {
		l.Nofile = uint64(*d.Nofile)
	}
	if d.Core != nil {
		core := uint64(*d.Core)
		l.Core = &core
	}
	if d.Umask != nil {
		mask := uint32(*d.Umask)
		l.Umask = &mask
	}
	l.CPU = percent(d.CPU)
	l.Nice, l.OOMScoreAdj = d.Nice, d.OOMScoreAdj
	return l
}

// percent reads a share of the processors, "150%"; lang has checked it. 0: none.
func percent(s string) uint64 {
	n, err := strconv.ParseUint(strings.TrimSuffix(s, "%"), 10, 32)
	if err != nil {
		return 0
	}
	return n
}

// exitText says how a process of a service ended.
func exitText(s *graph.Service, exit proc.Exit) string {
	if exit.OOM && s.Limits != nil && s.Limits.Memory != nil {
		return fmt.Sprintf("%s (limit %s)", exit, sizeText(uint64(*s.Limits.Memory)))
	}
	return exit.String()
}

// sizeText writes a size as it is declared.
func sizeText(n uint64) string {
	for _, unit := range []struct {
		size uint64
		name string
	}{{1 << 40, "T"}, {1 << 30, "G"}, {1 << 20, "M"}, {1 << 10, "K"}} {
		if n >= unit.size && n%unit.size == 0 {
			return fmt.Sprintf("%d%s", n/unit.size, unit.name)
		}
	}
	return fmt.Sprint(n)
}

// unlimited says which limits of a service have no effect here; empty: none.
func unlimited(l proc.Limits) string {
	if l.CPU == 0 {
		return ""
	}
	if _, _, cpu := proc.LimitMeans(); cpu != "" {
		return ""
	}
	return "limits: cpu has no effect here: no cgroup with the controller cpu can be written (orrery doctor says more)"
}
