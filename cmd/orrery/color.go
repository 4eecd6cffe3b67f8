package main

import (
	"hash/fnv"
	"net/url"
	"os"
	"strconv"
	"strings"

	"github.com/mattn/go-isatty"

	"orrery/cmd/orrery/term"
)

// The colours that are used, as SGR codes.
const (
	red    = "31"
	green  = "32"
	yellow = "33"
	dim    = "2"
	bold   = "1"
)

// palette are the colours of names; red is kept for failures.
var palette = [...]string{"36", "33", "32", "35", "34", "96", "93", "92", "95", "94"}

// nameColor is the colour of a node: the same in every verb, whatever is shown
// beside it.
func nameColor(name string) string {
	h := fnv.New32a()
	h.Write([]byte(name))
	return palette[h.Sum32()%uint32(len(palette))]
}

// inCI reports whether nobody watches, but somebody may read it later.
func inCI() bool { return ciSet(os.Getenv) }

func ciSet(getenv func(string) string) bool {
	v := getenv("CI")
	return v != "" && v != "false" && v != "0"
}

// forced is what a variable such as FORCE_COLOR says.
func forced(getenv func(string) string, names ...string) bool {
	for _, name := range names {
		if v := getenv(name); v != "" && v != "0" && v != "false" {
			return true
		}
	}
	return false
}

// dumb reports whether a terminal takes no sequences at all.
func dumb(getenv func(string) string) bool { return getenv("TERM") == "dumb" || getenv("TERM") == "" }

// colored decides on the colours of a stream: --color > NO_COLOR >
// FORCE_COLOR/CLICOLOR_FORCE > whether it is a terminal, where TERM=dumb and CI
// are plain.
func colored(when string, getenv func(string) string, terminal bool) bool {
	switch {
	case when == "always":
		return true
	case when == "never", getenv("NO_COLOR") != "":
		return false
	case forced(getenv, "FORCE_COLOR", "CLICOLOR_FORCE"):
		return true
	}
	return terminal && !dumb(getenv) && !ciSet(getenv)
}

// linked decides whether a terminal gets links (OSC 8): one of those that know
// them, or are known to show the text alone. FORCE_HYPERLINK=0 and 1 say
// otherwise.
func linked(getenv func(string) string, terminal bool) bool {
	if v := getenv("FORCE_HYPERLINK"); v != "" {
		return terminal && v != "0" && v != "false"
	}
	if !terminal || dumb(getenv) || ciSet(getenv) {
		return false
	}
	if v, err := strconv.Atoi(getenv("VTE_VERSION")); err == nil && v < 5000 { // 0.48 crashed
		return false
	}
	for _, kind := range []string{"xterm", "tmux", "alacritty", "foot", "ghostty", "wezterm", "contour", "konsole", "vte"} {
		if strings.HasPrefix(getenv("TERM"), kind) {
			return true
		}
	}
	return false
}

// colorOn decides on the colours of one of our streams.
func (a *app) colorOn(f *os.File) bool {
	return colored(a.colorBy, os.Getenv, isatty.IsTerminal(f.Fd()))
}

// color says whether what we say on stderr is coloured, outColor the same of
// data on stdout.
func (a *app) color() bool    { return a.colorOn(os.Stderr) }
func (a *app) outColor() bool { return a.colorOn(os.Stdout) }

// styleOf is what a stream takes.
func (a *app) styleOf(f *os.File) term.Style {
	return term.Style{Color: a.colorOn(f), Links: a.colorBy != "never" && linked(os.Getenv, isatty.IsTerminal(f.Fd()))}
}

func (a *app) paint(code, s string) string { return term.Style{Color: a.color()}.Paint(code, s) }

// tint is paint for what goes to stdout.
func (a *app) tint(code, s string) string { return term.Style{Color: a.outColor()}.Paint(code, s) }

// fileLink is the URL of a file on this machine.
func fileLink(path string) string {
	host, err := os.Hostname()
	if err != nil {
		return ""
	}
	return (&url.URL{Scheme: "file", Host: host, Path: path}).String()
}
