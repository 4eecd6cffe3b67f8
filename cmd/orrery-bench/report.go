package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

// report is what a run found; it is the JSON too. Version 1.
type report struct {
	Version int      `json:"version"`
	Machine facts    `json:"machine"`
	Rounds  int      `json:"rounds"`
	Quick   bool     `json:"quick"`
	Tasks   bool     `json:"tasks,omitempty"` // of build tools, not of managers
	Peers   []named  `json:"peers"`
	Results []result `json:"results"`
}

// facts say what kind of machine it was.
type facts struct {
	Date   string `json:"date"`
	Cores  int    `json:"cores"`
	Kernel string `json:"kernel"`
	Memory string `json:"memory"`
	Load   string `json:"load"` // of the last minute, when the run began
	Go     string `json:"go"`
}

// named is a manager and its version.
type named struct {
	Name    string `json:"name"`
	Version string `json:"version"`
}

// result is one measure of one manager. Without values, Notes says why.
type result struct {
	Measure string    `json:"measure"`
	Title   string    `json:"title"`
	Unit    string    `json:"unit"`
	Peer    string    `json:"peer"`
	Values  []float64 `json:"values"`
	Median  float64   `json:"median"`
	Min     float64   `json:"min"`
	Max     float64   `json:"max"`
	Ratio   float64   `json:"ratio,omitempty"` // of the medians, to orrery's; 0: there is none
	Notes   []string  `json:"notes,omitempty"`
}

func machine() facts {
	f := facts{Date: time.Now().Format(time.DateOnly), Cores: runtime.NumCPU(), Kernel: kernel(), Go: runtime.Version()}
	if b, err := os.ReadFile("/proc/loadavg"); err == nil {
		f.Load, _, _ = strings.Cut(string(b), " ")
	}
	if b, err := os.ReadFile("/proc/meminfo"); err == nil {
		first, _, _ := strings.Cut(string(b), "\n")
		if w := strings.Fields(first); len(w) > 1 {
			kib, _ := strconv.ParseFloat(w[1], 64)
			f.Memory = fmt.Sprintf("%.0f GiB", kib/(1<<20))
		}
	}
	return f
}

// results computes the rows: measures in their order, managers in theirs.
func results(order []measure, list []*found, cells map[key]*cell) []result {
	var all []result
	for _, m := range order {
		base := 0.0
		if c := cells[key{m.id, "orrery"}]; c != nil && len(c.values) > 0 {
			base = median(c.values)
		}
		for _, f := range list {
			c := cells[key{m.id, f.name}]
			if c == nil {
				continue
			}
			r := result{Measure: m.id, Title: m.title, Unit: m.unit, Peer: f.name, Values: c.values, Notes: c.notes}
			if len(c.values) > 0 {
				r.Median, r.Min, r.Max = median(c.values), slices.Min(c.values), slices.Max(c.values)
				if base > 0 {
					r.Ratio = r.Median / base
				}
			}
			all = append(all, r)
		}
	}
	return all
}

// median of an even number of values is the mean of the two in the middle.
func median(values []float64) float64 {
	v := slices.Sorted(slices.Values(values))
	n := len(v)
	if n == 0 {
		return 0
	}
	return (v[(n-1)/2] + v[n/2]) / 2
}

func (r *report) write(w io.Writer, o options) error {
	r.Version = 1
	switch {
	case o.json:
		enc := json.NewEncoder(w)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		return enc.Encode(r)
	case o.markdown && r.Tasks:
		_, err := io.WriteString(w, r.tables())
		return err
	case o.markdown:
		_, err := io.WriteString(w, r.markdown())
		return err
	}
	_, err := io.WriteString(w, r.text())
	return err
}

func (r *report) head() string {
	var v []string
	for _, p := range r.Peers {
		v = append(v, p.Name+" "+p.Version)
	}
	m := r.Machine
	return fmt.Sprintf("%s, %d cores, %s, %s, load %s at the start; rounds: %d\n%s\n", m.Date, m.Cores, m.Memory, m.Kernel, m.Load, r.Rounds, strings.Join(v, ", "))
}

// text is a block for each measure, the best first.
func (r *report) text() string {
	t := r.head()
	for _, block := range r.blocks() {
		t += fmt.Sprintf("\n%s: %s [%s]\n", block[0].Measure, block[0].Title, block[0].Unit)
		for _, x := range ranked(block) {
			if len(x.Values) == 0 {
				t += fmt.Sprintf("  %-16s %10s  %s\n", x.Peer, "-", strings.Join(x.Notes, "; "))
				continue
			}
			ratio := ""
			if x.Ratio > 0 {
				ratio = fmt.Sprintf("x%.2f", x.Ratio)
			}
			line := fmt.Sprintf("  %-16s %10s  %-22s %8s  %s", x.Peer, number(x.Median), "("+number(x.Min)+" - "+number(x.Max)+")", ratio, strings.Join(x.Notes, "; "))
			t += strings.TrimRight(line, " ") + "\n"
		}
	}
	return t
}

func ranked(block []result) []result {
	return slices.SortedStableFunc(slices.Values(block), func(a, b result) int {
		switch {
		case len(a.Values) == 0 || len(b.Values) == 0:
			return len(b.Values) - len(a.Values)
		case a.Median < b.Median:
			return -1
		case a.Median > b.Median:
			return 1
		}
		return 0
	})
}

// blocks are the results of each measure.
func (r *report) blocks() [][]result {
	var all [][]result
	for _, x := range r.Results {
		if n := len(all); n > 0 && all[n-1][0].Measure == x.Measure {
			all[n-1] = append(all[n-1], x)
		} else {
			all = append(all, []result{x})
		}
	}
	return all
}

// markdown is one table: a row a measure, a column a manager, and the notes below.
func (r *report) markdown() string {
	t := r.head() + "\n| measure | unit |"
	for _, p := range r.Peers {
		t += " " + p.Name + " |"
	}
	t += "\n|---|---|" + strings.Repeat("---|", len(r.Peers)) + "\n"
	var notes string
	for _, block := range r.blocks() {
		t += "| " + block[0].Measure + " | " + block[0].Unit + " |"
		for _, p := range r.Peers {
			i := slices.IndexFunc(block, func(x result) bool { return x.Peer == p.Name })
			text := "-"
			if i >= 0 {
				text = mark(block[i])
				for _, n := range block[i].Notes {
					notes += fmt.Sprintf("- %s, %s: %s\n", block[i].Measure, p.Name, n)
				}
			}
			t += " " + text + " |"
		}
		t += "\n"
	}
	if notes != "" {
		t += "\n" + notes
	}
	return t
}

// mark is one cell: median, range, ratio.
func mark(x result) string {
	if len(x.Values) == 0 {
		return "failed"
	}
	text := number(x.Median)
	if x.Min != x.Max {
		text += fmt.Sprintf(" (%s-%s)", number(x.Min), number(x.Max))
	}
	if x.Ratio > 0 && x.Peer != "orrery" {
		text += fmt.Sprintf(" x%.2f", x.Ratio)
	}
	return text
}

// number has three digits or so.
func number(v float64) string {
	switch {
	case v == 0:
		return "0"
	case v >= 100:
		return strconv.FormatFloat(v, 'f', 0, 64)
	case v >= 10:
		return strconv.FormatFloat(v, 'f', 1, 64)
	}
	return strconv.FormatFloat(v, 'f', 2, 64)
}
