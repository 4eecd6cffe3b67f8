package engine

import (
	"io"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"orrery/lang/graph"
)

// jobserver shares the jobs of -j with the makes below us (and ninja, cargo, gcc
// -flto=jobserver: whatever knows GNU make's protocol), or with the make that we
// were started by. A token, one byte in a pipe, is the right to run one job more;
// the first job of each process is free. The tasks that run are our jobs: each
// beyond the first costs a token, and each has a free job to pass on. So all that
// runs below us is never more than -j.
//
// Only the loop touches held, asking and lent; all else never changes. A nil one
// is of a system that has none: the tasks are counted, and nothing is shared.
type jobserver struct {
	jobs   int         // in all; 0: the make above has not said
	served bool        // the pipe is ours
	give   *os.File    // to write tokens to
	get    *os.File    // to read tokens from, without blocking the loop
	pass   [2]*os.File // what the tasks are given: to read, to write; nil of a fifo, which they open
	auth   string      // what the tasks are told of it

	held   []byte // tokens that we have; which byte is whose matters to some makes
	asking bool   // answer is waited for
	answer chan []byte
	lent   bool // tasks have run since the tokens were last counted
}

const (
	// tokenFD and the next one are the descriptors of the pipe in the tasks: such as no script uses for its own redirections.
	tokenFD = 60
	// mostTokens is what surely fits into a pipe: giving one back must not block.
	mostTokens = 4096
	token      = '+'
)

// newJobserver joins the jobserver of the make above, or opens one; nil: there
// can be none.
func newJobserver(o Scheduling) *jobserver {
	if _, _, auth, jobs := cutMakeFlags(o.MakeFlags); auth != "" {
		if j := joinJobserver(auth); j != nil {
			j.jobs = jobs
			return j
		}
	}
	jobs := o.Jobs
	if jobs <= 0 {
		jobs = runtime.NumCPU()
	}
	if jobs > mostTokens {
		return nil
	}
	j := openJobserver()
	if j == nil {
		return nil
	}
	j.jobs, j.served, j.auth = jobs, true, passedAuth()
	j.put(slices.Repeat([]byte{token}, jobs-1))
	return j
}

func passedAuth() string { return strconv.Itoa(tokenFD) + "," + strconv.Itoa(tokenFD+1) }

// outer is the number of jobs that the make above us shares; 0: there is none,
// or it has not said.
func (j *jobserver) outer() int {
	if j == nil || j.served {
		return 0
	}
	return j.jobs
}

// take reports whether one more task may start beside those that run. If not,
// the loop is woken when a token is there.
func (j *jobserver) take(running int, post func(func())) bool {
	if j == nil {
		return true
	}
	if len(j.held) < running {
		if b, ok := readToken(j.get); ok {
			j.held = append(j.held, b)
		}
	}
	if len(j.held) >= running {
		j.lent = true
		return true
	}
	if !j.asking {
		j.asking = true
		j.get.SetReadDeadline(time.Time{})
		answer := make(chan []byte, 1)
		j.answer = answer
		go func() {
			b := make([]byte, 1)
			n, _ := j.get.Read(b)
			answer <- b[:n]
			post(j.answered)
		}()
	}
	return false
}

// answered takes what came of asking.
func (j *jobserver) answered() {
	j.held = append(j.held, <-j.answer...)
	j.asking = false
}

// balance gives back what the running tasks do not need. When none runs, tokens
// are made up for that a killed make has taken with it; those of the make above
// are its own matter.
func (j *jobserver) balance(running int) {
	if j == nil {
		return
	}
	if need := max(running-1, 0); len(j.held) > need {
		j.put(j.held[need:])
		j.held = j.held[:need]
	}
	switch {
	case running > 0 || !j.lent:
	case j.asking:
		j.get.SetReadDeadline(time.Unix(1, 0)) // and once more when it has given up
	default:
		j.lent = false
		if j.served {
			j.recount()
		}
	}
}

// recount has the pipe hold all tokens.
func (j *jobserver) recount() {
	lacks := j.jobs - 1 - tokensIn(j.get)
	for ; lacks < 0; lacks++ {
		readToken(j.get)
	}
	j.put(slices.Repeat([]byte{token}, lacks))
}

func (j *jobserver) put(tokens []byte) {
	if len(tokens) > 0 {
		j.give.Write(tokens) // fails only when nobody is left to read them
	}
}

func (j *jobserver) close() {
	if j == nil {
		return
	}
	if j.asking {
		j.get.SetReadDeadline(time.Unix(1, 0))
		j.answered() // a token that is just being taken must not be lost to the make above
	}
	j.put(j.held)
	for _, f := range []io.Closer{j.get, j.give, j.pass[0], j.pass[1]} {
		f.Close() // of a nil *os.File: an error
	}
}

// files are the descriptors that a task is given, from tokenFD on.
func (j *jobserver) files() []*os.File {
	if j == nil || j.pass[0] == nil {
		return nil
	}
	return j.pass[:]
}

// environ adds the jobserver to the MAKEFLAGS of a task; not where the
// declaration removes them.
func (j *jobserver) environ(env []string, declared graph.Dict[graph.Text]) []string {
	const name = "MAKEFLAGS="
	if j == nil || slices.ContainsFunc(declared, func(v graph.Entry[graph.Text]) bool { return v.Key+"=" == name && v.Value == nil }) {
		return env
	}
	at := slices.IndexFunc(env, func(kv string) bool { return strings.HasPrefix(kv, name) })
	if at < 0 {
		return append(env, name+makeFlags("", j.auth, j.jobs))
	}
	env = slices.Clone(env)
	env[at] = name + makeFlags(strings.TrimPrefix(env[at], name), j.auth, j.jobs)
	return env
}

var (
	authFlag = regexp.MustCompile(`^--jobserver-(?:auth|fds)=(.*)$`)
	tailFlag = regexp.MustCompile(`(?:^|\s)--(?:\s|$)`)
	jobsFlag = regexp.MustCompile(`^(?:-?j|--jobs=?)(\d*)$`)
)

// blanks are what separates words of MAKEFLAGS: those of \s.
const blanks = " \t\n\f\r"

// cutMakeFlags takes the jobserver and the number of jobs out of a MAKEFLAGS:
// flags are the other words, tail the variables behind them, which may hold
// anything.
func cutMakeFlags(s string) (flags []string, tail, auth string, jobs int) {
	head := s
	if at := tailFlag.FindStringIndex(s); at != nil {
		head, tail = s[:at[0]], strings.TrimLeft(s[at[0]:], blanks)
	}
	for i, word := range strings.FieldsFunc(head, func(r rune) bool { return strings.ContainsRune(blanks, r) }) {
		if m := authFlag.FindStringSubmatch(word); m != nil {
			auth = m[1]
			continue
		}
		if m := jobsFlag.FindStringSubmatch(word); m != nil && (i == 0 || word[0] == '-') {
			jobs, _ = strconv.Atoi(m[1])
			continue
		}
		flags = append(flags, word)
	}
	return flags, tail, auth, jobs
}

// makeFlags is a MAKEFLAGS with another jobserver. The first word is that of the
// flags of one letter, if there are any, as makefiles expect it.
func makeFlags(s, auth string, jobs int) string {
	flags, tail, _, _ := cutMakeFlags(s)
	first := ""
	if len(flags) > 0 && flags[0][0] != '-' {
		first, flags = flags[0], flags[1:]
	}
	j := "-j"
	if jobs > 0 {
		j += strconv.Itoa(jobs)
	}
	flags = append(flags, j, "--jobserver-auth="+auth)
	if tail != "" {
		flags = append(flags, tail)
	}
	return first + " " + strings.Join(flags, " ")
}
