package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"orrery/lang/graph"
)

func urlCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "url NAME[.LABEL]",
		Short: "Print where a service can be reached",
		Long: `Prints the URL of a service: its link, its export "url", or what its HTTP probe or
its only port says. With a label, or an export's name, that one.

Ports are those of the running engine; when none runs, those of the last run,
else those declared. With --json it prints {"node", "label", "url"}.`,
		Example: `  curl "$(orrery url web)"
  psql "$(orrery url db)"`,
		Args: oneName("url"),
		RunE: func(c *cobra.Command, args []string) error {
			u, err := a.urlOf(c.Context(), args[0])
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(u)
			}
			_, err = fmt.Println(u.URL)
			return err
		},
	}
}

func openCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "open NAME[.LABEL]",
		Short: "Open a service's link in the browser",
		Long: `Opens what "orrery url" prints with xdg-open or open. Where there is no browser, or
no screen, it prints the URL.`,
		Example: "  orrery open web",
		Args:    oneName("open"),
		RunE: func(c *cobra.Command, args []string) error {
			u, err := a.urlOf(c.Context(), args[0])
			if err != nil {
				return err
			}
			opener := browser()
			if opener == "" || a.json {
				if a.json {
					return a.printJSON(u)
				}
				_, err = fmt.Println(u.URL)
				return err
			}
			a.say("opening %s", u.URL)
			out, err := exec.CommandContext(c.Context(), opener, u.URL).CombinedOutput()
			if err != nil {
				fmt.Println(u.URL)
				return fmt.Errorf("cannot open it: %s: %w %s", opener, err, strings.TrimSpace(string(out)))
			}
			return nil
		},
	}
}

func oneName(verb string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) != 1 {
			return usageError{fmt.Errorf("%s takes the NAME of one service, got %d", verb, len(args))}
		}
		return nil
	}
}

// browser is the program that opens a URL here, or "".
func browser() string {
	if b := os.Getenv("BROWSER"); b != "" && !strings.ContainsAny(b, ": %") {
		return b
	}
	program := "xdg-open"
	if runtime.GOOS == "darwin" {
		program = "open"
	} else if os.Getenv("DISPLAY") == "" && os.Getenv("WAYLAND_DISPLAY") == "" {
		return ""
	}
	path, err := exec.LookPath(program)
	if err != nil {
		return ""
	}
	return path
}

// located is the JSON of url.
type located struct {
	Node  string `json:"node"`
	Label string `json:"label"` // the link or export that it is
	URL   string `json:"url"`
}

func (a *app) urlOf(ctx context.Context, arg string) (located, error) {
	p, err := a.load(ctx)
	if err != nil {
		return located{}, err
	}
	name, label, named := strings.Cut(arg, ".")
	n, err := oneNode(p.Graph, "url", name)
	if err != nil {
		return located{}, err
	}
	if n.Kind != graph.KindService {
		return located{}, usageError{fmt.Errorf("%s is a task: only services have URLs", name)}
	}
	look, err := a.lookOut(ctx, p, nil)
	if err != nil {
		return located{}, err
	}
	texts := urlTexts(n.Service)
	if !named {
		if len(texts) == 0 {
			return located{}, hinted{fmt.Errorf("%s has no URL", name), "declare links = {...}, or an export url"}
		}
		label = texts[0].Key
	}
	text, ok := texts.Get(label)
	if !ok {
		return located{}, unknown(arg, qualified(name, texts.Keys()))
	}
	url, err := look.binding.Fill(text, name)
	return located{name, label, url}, err
}

// urlTexts are the URLs of a service, the best first: links, exports that look
// like one, then what a probe or a single port says.
func urlTexts(s *graph.Service) graph.Dict[graph.Text] {
	var d graph.Dict[graph.Text]
	add := func(key string, t graph.Text) {
		if !slices.Contains(d.Keys(), key) && t != nil {
			d = append(d, graph.Entry[graph.Text]{Key: key, Value: t})
		}
	}
	for _, l := range s.Links {
		add(l.Key, l.Value)
	}
	if t, ok := s.Exports.Get("url"); ok {
		add("url", t)
	}
	for _, x := range s.Exports {
		if strings.HasSuffix(x.Key, "_url") {
			add(x.Key, x.Value)
		}
	}
	names := s.PortNames()
	if len(names) == 1 {
		scheme := "tcp://"
		if s.Ready != nil && s.Ready.Kind == "http" {
			scheme = s.Ready.Scheme + "://"
		}
		ref := graph.RefText(graph.Ref{Name: s.Name, Attr: "ports." + names[0]})
		add(names[0], append(graph.Lit(scheme+net.JoinHostPort("127.0.0.1", "")), ref...))
	}
	return d
}
