package main

import (
	"fmt"
	"slices"
	"strings"
)

// tables are the report of the task part: a table a workload, a row a tool, a column a size. nK is the number of rounds.
func (r *report) tables() string {
	t := r.head()
	notes := ""
	for rest := r.blocks(); len(rest) > 0; {
		group, _, _ := strings.Cut(rest[0][0].Measure, ".")
		n := 1
		for n < len(rest) && strings.HasPrefix(rest[n][0].Measure, group+".") {
			n++
		}
		text, more := r.table(rest[:n])
		t += text
		notes += more
		rest = rest[n:]
	}
	if notes != "" {
		t += "\n" + notes
	}
	return t
}

// table is that of the measures of one workload, and what is to be said about them.
func (r *report) table(blocks [][]result) (text, notes string) {
	text = fmt.Sprintf("\n%s [%s]\n\n|", blocks[0][0].Title, blocks[0][0].Unit)
	for _, b := range blocks {
		text += " | " + b[0].Measure
	}
	text += " |\n|---|" + strings.Repeat("---|", len(blocks)) + "\n"
	for _, p := range r.Peers {
		row, any := "| "+p.Name+" |", false
		for _, b := range blocks {
			i := slices.IndexFunc(b, func(x result) bool { return x.Peer == p.Name })
			if i < 0 {
				row += " - |"
				continue
			}
			any = true
			row += " " + mark(b[i])
			if len(b[i].Values) > 0 {
				row += fmt.Sprintf(" n%d", len(b[i].Values))
			}
			row += " |"
			for _, n := range b[i].Notes {
				notes += fmt.Sprintf("- %s, %s: %s\n", b[0].Measure, p.Name, n)
			}
		}
		if any {
			text += row + "\n"
		}
	}
	return text, notes
}
