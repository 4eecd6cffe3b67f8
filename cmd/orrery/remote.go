package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"orrery/runtime/cache"
	"orrery/runtime/remote"
)

// The environment of the remote cache. The project file says nothing of it: whom to believe, and with which password, is the matter of a
// machine.
const (
	remoteVar        = "ORRERY_REMOTE_CACHE"
	remoteModeVar    = remoteVar + "_MODE"
	remoteHeadersVar = remoteVar + "_HEADERS"
	remoteCAVar      = remoteVar + "_CA"
	remoteCertVar    = remoteVar + "_CERT"
	remoteKeyVar     = remoteVar + "_KEY"
	remoteTimeoutVar = remoteVar + "_TIMEOUT"
)

// remoteRetry is how long an engine leaves a remote cache alone that is dead.
const remoteRetry = time.Minute

// remoteFlags say which remote cache to use, before the environment.
type remoteFlags struct {
	url string
	no  bool
}

func (f *remoteFlags) add(fl *pflag.FlagSet) {
	fl.StringVar(&f.url, "remote-cache", "", "ask the remote cache at `URL`, too (default: $"+remoteVar+")")
	fl.BoolVar(&f.no, "no-remote-cache", false, "ask no remote cache")
}

// options reads flags and environment; nil: there is no remote cache.
func (f remoteFlags) options() (*remote.Options, error) {
	o := &remote.Options{
		URL: f.url, CA: os.Getenv(remoteCAVar), Cert: os.Getenv(remoteCertVar), Key: os.Getenv(remoteKeyVar),
	}
	if o.URL == "" {
		o.URL = os.Getenv(remoteVar)
	}
	if o.URL == "" || f.no {
		return nil, nil
	}
	switch mode := os.Getenv(remoteModeVar); mode {
	case "", "read":
	case "readwrite":
		o.Write = true
	default:
		return nil, fmt.Errorf("%s: got %q, want read or readwrite", remoteModeVar, mode)
	}
	for line := range strings.Lines(os.Getenv(remoteHeadersVar)) {
		if line = strings.TrimSpace(line); line != "" {
			o.Headers = append(o.Headers, line)
		}
	}
	if text := os.Getenv(remoteTimeoutVar); text != "" {
		d, err := time.ParseDuration(text)
		if err != nil || d <= 0 {
			return nil, fmt.Errorf("%s: got %q, want a duration such as 2s", remoteTimeoutVar, text)
		}
		o.Timeout = d
	}
	return o, nil
}

// behind puts the remote cache, if there is one, behind the local one. What is
// wrong with it is said, and never fails a build.
func (a *app) behind(local *cache.Store, f remoteFlags, retry time.Duration) *remote.Store {
	o, err := f.options()
	if o == nil && err == nil {
		return nil
	}
	var s *remote.Store
	if err == nil {
		o.Retry = retry
		o.Warn = func(text string) { a.say("%s", text) }
		s, err = remote.Open(local, *o)
	}
	if err != nil {
		a.say("the remote cache is not used: %v", err)
	}
	return s
}

// remoteRun is what a run did with the remote cache.
type remoteRun struct {
	remote.Stats
	When time.Time `json:"when"`
}

// remoteFile keeps that of the last run, in the user's cache.
const remoteFile = "remote.json"

// endRemote waits for uploads, unless the run was interrupted, and keeps what
// was done.
func endRemote(ctx context.Context, s *remote.Store, dir string) {
	ctx, cancel := context.WithTimeout(ctx, s.Timeout())
	defer cancel()
	s.Finish(ctx)
	st := s.Stats()
	if st.Hits+st.Misses+st.Uploads+st.Unsent == 0 && st.Trouble == "" {
		return
	}
	text, err := json.Marshal(remoteRun{st, time.Now().UTC()})
	if err != nil {
		return
	}
	tmp := filepath.Join(dir, fmt.Sprintf("%s.%d", remoteFile, os.Getpid()))
	if os.WriteFile(tmp, text, 0o600) == nil && os.Rename(tmp, filepath.Join(dir, remoteFile)) != nil {
		os.Remove(tmp)
	}
}

// remoteStats is what cache stats says of the remote cache.
type remoteStats struct {
	URL    string     `json:"url,omitempty"`    // empty: none is set
	Mode   string     `json:"mode,omitempty"`   // read, readwrite
	OK     bool       `json:"ok"`               // it answers and can be used
	Millis float64    `json:"millis,omitempty"` // how long the answer took
	Error  string     `json:"error,omitempty"`
	Last   *remoteRun `json:"last_run,omitempty"`
}

// remoteStatsOf asks the remote cache; nil: there is none, and never was.
func remoteStatsOf(ctx context.Context, local *cache.Store, dir string) *remoteStats {
	r := &remoteStats{}
	if text, err := os.ReadFile(filepath.Join(dir, remoteFile)); err == nil {
		last := &remoteRun{}
		if json.Unmarshal(text, last) == nil {
			r.Last = last
		}
	}
	o, err := remoteFlags{}.options()
	if o == nil && err == nil {
		if r.Last == nil {
			return nil
		}
		return r
	}
	var s *remote.Store
	if err == nil {
		s, err = remote.Open(local, *o)
	}
	if err == nil {
		st := s.Stats()
		r.URL, r.Mode = st.URL, st.Mode
		began := time.Now()
		err = s.Check(ctx)
		r.Millis = float64(time.Since(began).Microseconds()) / 1000
	}
	if r.OK = err == nil; !r.OK {
		r.Error = err.Error()
		if errors.Is(err, context.DeadlineExceeded) {
			r.Error = "no answer in time"
		}
	}
	return r
}

func (r *remoteStats) show() {
	if r == nil {
		return
	}
	switch {
	case r.OK:
		fmt.Printf("remote cache %s (%s): answers in %.1f ms\n", r.URL, r.Mode, r.Millis)
	case r.Error != "":
		fmt.Println(join("remote cache "+r.URL, r.Error))
	}
	if l := r.Last; l != nil {
		fmt.Printf("last asked %s, %s: %d hits, %d misses, %d uploaded, %d not; %s received, %s sent\n", l.URL, l.When.Local().Format(time.DateTime),
			l.Hits, l.Misses, l.Uploads, l.Unsent, bytesText(l.Received), bytesText(l.Sent))
		if l.Trouble != "" {
			fmt.Printf("  %s\n", l.Trouble)
		}
	}
}
