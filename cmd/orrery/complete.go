package main

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"orrery/lang"
	"orrery/lang/graph"
	"orrery/lang/spec"
	"orrery/runtime/control"
	"orrery/runtime/control/api"
	"orrery/runtime/fresh"
	"orrery/runtime/libs"
	"orrery/runtime/logs"
)

// completer offers words to the shell: each is a word, or a word, a tab and
// what it is.
type completer func(a *app, ctx context.Context, typed string) []string

// argument is what a verb takes as arguments.
type argument struct {
	most  int // 0: any number
	offer []completer
}

// arguments are the arguments of the verbs that take words which we know.
func arguments() map[string]argument {
	return map[string]argument{
		"up":      {0, []completer{targetWords}},
		"run":     {0, []completer{targetWords}},
		"start":   {0, []completer{stoppedWords}},
		"stop":    {0, []completer{runningWords}},
		"restart": {0, []completer{runningWords}},
		"reload":  {0, []completer{runningWords}},
		"wait":    {0, []completer{targetWords}},
		"attach":  {1, []completer{runningServiceWords}},
		"status":  {0, []completer{targetWords}},
		"logs":    {0, []completer{targetWords, loggedWords}},
		"list":    {0, []completer{targetWords}},
		"graph":   {0, []completer{targetWords}},
		"plan":    {0, []completer{targetWords}},
		"why":     {2, []completer{nodeWords, portWords}},
		"env":     {1, []completer{nodeWords}},
		"exec":    {1, []completer{nodeWords}},
		"port":    {1, []completer{portOrServiceWords}},
		"url":     {1, []completer{serviceWords}},
		"open":    {1, []completer{serviceWords}},
		"trace":   {1, []completer{runWords}},
		"doc":     {1, []completer{libraryWords}},
		"help":    {1, []completer{helpWords}},
	}
}

// completions has the command tree offer what is known of the project.
func (a *app) completions(root, help *cobra.Command) {
	table := arguments()
	for _, c := range append(root.Commands(), help) {
		if what, ok := table[c.Name()]; ok && c.ValidArgsFunction == nil {
			c.ValidArgsFunction = a.offer(what)
		}
		for _, sub := range c.Commands() {
			if c.Name() == "lib" && strings.Contains(sub.Use, "[NAME") || sub.Name() == "remove" {
				sub.ValidArgsFunction = a.offer(argument{0, []completer{pinnedWords}})
			}
		}
		a.flagCompletions(c)
	}
	a.flagCompletions(root)
}

// flagCompletions are those of flags that several verbs have.
func (a *app) flagCompletions(c *cobra.Command) {
	for name, what := range map[string]completer{"set": paramWords, "run": runWords} {
		if c.LocalNonPersistentFlags().Lookup(name) != nil || c.PersistentFlags().Lookup(name) != nil {
			c.RegisterFlagCompletionFunc(name, a.offer(argument{0, []completer{what}}))
		}
	}
	for name, words := range map[string][]string{
		"color": {"auto", "always", "never"}, "format": nil, "ui": nil, "stream": {"out", "err"}, "output": {asPrefixed, asGrouped, asFailed, asNone},
	} {
		f := c.Flag(name)
		if f == nil || f.Value.Type() == "bool" {
			continue
		}
		if words == nil {
			words = wordsOf(f.Usage)
		}
		c.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp))
	}
	if c.PersistentFlags().Lookup("dir") != nil {
		c.MarkPersistentFlagDirname("dir")
		c.MarkPersistentFlagFilename("file", "star")
	}
	for _, sub := range c.Commands() {
		a.flagCompletions(sub)
	}
}

// wordsOf are the words in the usage of a flag: "`FORMAT` is shell, dotenv or json".
func wordsOf(usage string) []string {
	_, list, _ := strings.Cut(usage, " is ")
	list, _, _ = strings.Cut(list, " (")
	return strings.FieldsFunc(strings.ReplaceAll(list, " or ", ", "), func(r rune) bool { return r == ',' || r == ' ' })
}

// offer is the completion of arguments; words that were given already are not
// offered again, and nothing after a --.
func (a *app) offer(what argument) cobra.CompletionFunc {
	return func(c *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
		if len(os.Args) > 3 && slices.Contains(os.Args[2:len(os.Args)-1], "--") { // cobra adds one of its own to what it has parsed
			return nil, cobra.ShellCompDirectiveDefault
		}
		if what.most > 0 && len(args) >= what.most {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		a.quiet = true
		ctx := c.Context()
		if ctx == nil {
			ctx = context.Background()
		}
		var all []string
		for _, f := range what.offer {
			for _, w := range f(a, ctx, typed) {
				word, _, _ := strings.Cut(w, "\t")
				if strings.HasPrefix(word, typed) && !slices.Contains(args, word) && !slices.Contains(all, w) {
					all = append(all, w)
				}
			}
		}
		directive := cobra.ShellCompDirectiveNoFileComp
		if len(all) > 0 && !slices.ContainsFunc(all, func(w string) bool { return !strings.HasSuffix(word(w), "=") }) {
			directive |= cobra.ShellCompDirectiveNoSpace // a value is to follow
		}
		return all, directive
	}
}

func word(w string) string {
	w, _, _ = strings.Cut(w, "\t")
	return w
}

// vocabulary is what a project declares, as the shell is told of it: each is a
// word, a tab and what it is.
type vocabulary struct {
	Services []string `json:"services"`
	Tasks    []string `json:"tasks"`
	Groups   []string `json:"groups"`
	Ports    []string `json:"ports"`
	Params   []string `json:"params"` // NAME=, or NAME=CHOICE
}

// words gives the vocabulary without an evaluation where one is kept and all
// that it rests on is as it was.
func (a *app) words(ctx context.Context) vocabulary {
	var v vocabulary
	place, err := a.barePlace()
	if err != nil {
		return v
	}
	path := filepath.Join(place.Dir, "fresh", "words")
	if b, err := fresh.Open(path); err == nil && b.Stamp() == a.stamp(place, &bookFacts{}) && b.Holds() && json.Unmarshal(b.Facts(), &v) == nil {
		return v
	}
	began := time.Now()
	p, err := a.load(ctx)
	if err != nil {
		return v
	}
	v = vocabularyOf(p.Graph)
	if st, err := os.Stat(place.Dir); err == nil && st.IsDir() {
		_ = a.keepWords(ctx, path, p, began) // only makes the next one slower
	}
	return v
}

// keepWords writes the vocabulary of a project down.
func (a *app) keepWords(ctx context.Context, path string, p *lang.Project, began time.Time) error {
	place, err := a.barePlace()
	if err != nil {
		return err
	}
	facts, err := json.Marshal(vocabularyOf(p.Graph))
	if err != nil {
		return err
	}
	seen, err := evaluationSights(p, began)
	if err != nil {
		return err
	}
	return fresh.New(path, fresh.Contents{Stamp: a.stamp(place, &bookFacts{}), Facts: facts, Seen: seen}).Write(ctx)
}

func vocabularyOf(g *graph.Graph) vocabulary {
	var v vocabulary
	for _, n := range g.Nodes {
		about := firstLine(n.Common().Description)
		if about == "" {
			about = string(n.Kind)
		}
		w := n.Name() + "\t" + about
		if n.Kind == graph.KindTask {
			v.Tasks = append(v.Tasks, w)
			continue
		}
		v.Services = append(v.Services, w)
		for _, port := range qualified(n.Name(), n.Service.PortNames()) {
			v.Ports = append(v.Ports, port+"\tport")
		}
	}
	for _, gr := range g.Groups {
		v.Groups = append(v.Groups, gr.Name+"\tgroup")
	}
	for _, p := range g.Params {
		v.Params = append(v.Params, p.Name+"=\t"+firstLine(p.Help))
		for _, c := range p.Choices {
			v.Params = append(v.Params, p.Name+"="+valueText(c))
		}
	}
	return v
}

func targetWords(a *app, ctx context.Context, _ string) []string {
	v := a.words(ctx)
	return slices.Concat(v.Services, v.Tasks, v.Groups)
}

func nodeWords(a *app, ctx context.Context, _ string) []string {
	v := a.words(ctx)
	return slices.Concat(v.Services, v.Tasks)
}

func serviceWords(a *app, ctx context.Context, _ string) []string { return a.words(ctx).Services }

// portWords are offered once a dot is typed: before that a name is enough.
func portWords(a *app, ctx context.Context, typed string) []string {
	if !strings.Contains(typed, ".") {
		return nil
	}
	return a.words(ctx).Ports
}

// portOrServiceWords are the services that have ports, each by its port.
func portOrServiceWords(a *app, ctx context.Context, _ string) []string { return a.words(ctx).Ports }

// paramWords are NAME= of the parameters, and of the one that is typed its choices.
func paramWords(a *app, ctx context.Context, typed string) []string {
	name, _, valued := strings.Cut(typed, "=")
	var all []string
	for _, w := range a.words(ctx).Params {
		choice := !strings.HasSuffix(word(w), "=")
		if choice == (valued && strings.HasPrefix(w, name+"=")) {
			all = append(all, w)
		}
	}
	return all
}

// completionTime is how long an engine may take to say what runs.
const completionTime = 500 * time.Millisecond

// live are the nodes of the running engine; false when none answers.
func (a *app) live(ctx context.Context) ([]api.NodeStatus, bool) {
	place, err := a.barePlace()
	if err != nil {
		return nil, false
	}
	ctx, cancel := context.WithTimeout(ctx, completionTime)
	defer cancel()
	c, err := control.Dial(ctx, place)
	if err != nil {
		return nil, false
	}
	defer c.Close()
	st, err := statusOf(ctx, c, nil)
	return st.Nodes, err == nil
}

// liveWords are the nodes of the engine that want takes; without an engine
// there is nothing to stop or to attach to.
func (a *app) liveWords(ctx context.Context, want func(api.NodeStatus) bool) []string {
	nodes, _ := a.live(ctx)
	var all []string
	for _, n := range nodes {
		if want(n) {
			all = append(all, n.Name+"\t"+strings.ReplaceAll(n.State, "-", " "))
		}
	}
	return all
}

// atRest tells whether nothing of a node is there to be stopped.
func atRest(n api.NodeStatus) bool { return n.State == "down" && n.Holders == 0 }

func runningWords(a *app, ctx context.Context, _ string) []string {
	return a.liveWords(ctx, func(n api.NodeStatus) bool { return n.Kind == "service" && !atRest(n) })
}

func runningServiceWords(a *app, ctx context.Context, _ string) []string {
	return a.liveWords(ctx, func(n api.NodeStatus) bool { return n.Kind == "service" && n.PID != 0 })
}

func stoppedWords(a *app, ctx context.Context, _ string) []string {
	return a.liveWords(ctx, func(n api.NodeStatus) bool { return n.PID == 0 })
}

// loggedWords are the nodes that have printed something, declared or not.
func loggedWords(a *app, _ context.Context, _ string) []string {
	place, err := a.barePlace()
	if err != nil {
		return nil
	}
	if _, err := os.Stat(place.Logs); err != nil {
		return nil
	}
	store, err := logs.Open(place.Logs)
	if err != nil {
		return nil
	}
	names, _ := store.Nodes()
	return names
}

// runWords are the ids of the kept runs.
func runWords(a *app, _ context.Context, _ string) []string {
	place, err := a.barePlace()
	if err != nil {
		return nil
	}
	list, _ := historyOf(place).List()
	names := []string{"last\tthe last run or up", "up\tthe last up"}
	for _, r := range list {
		names = append(names, r.ID+"\t"+commandOf(r))
	}
	return names
}

func libraryWords(*app, context.Context, string) []string {
	return append(shortNames(), libraries()...)
}

// pinnedWords are the libraries of services.lock.
func pinnedWords(a *app, _ context.Context, _ string) []string {
	file, err := a.projectFile()
	if err != nil {
		return nil
	}
	lock, err := libs.ReadLock(filepath.Dir(file))
	if err != nil {
		return nil
	}
	return lock.Names()
}

// helpWords are the verbs and the words of the language.
func helpWords(a *app, _ context.Context, typed string) []string {
	fields := strings.Contains(typed, ".")
	words := slices.DeleteFunc(spec.Topics(), func(t string) bool { return strings.Contains(t, ".") != fields })
	return slices.Concat(verbNames(a.root()), guideNames(), words)
}
