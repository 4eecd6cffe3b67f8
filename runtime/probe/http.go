package probe

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"orrery/lang/graph"
)

const (
	// maxBody is how much of an answer is read; the status decides.
	maxBody = 64 << 10
	// bodyTime is how long the rest of an answer is waited for, so that a
	// stream without end does not take the whole time of a try.
	bodyTime = 100 * time.Millisecond
	// maxRedirects within the host are followed.
	maxRedirects = 10
)

// httpProbe: a GET is answered with a good status.
type httpProbe struct {
	*dialer
	url    string
	name   string // of the URL in messages: with the path of a socket
	header http.Header
	host   string // the Host header; empty: of the URL
	want   statuses
	client *http.Client
}

func newHTTP(p *graph.Probe, t Target) (Probe, error) {
	d, err := t.httpDialer(p)
	if err != nil {
		return nil, err
	}
	path, err := t.fill("path", p.Path)
	if err != nil {
		return nil, err
	}
	want, err := parseStatuses(p.Status)
	if err != nil {
		return nil, fmt.Errorf("status: %w", err)
	}
	scheme := p.Scheme
	if scheme == "" {
		scheme = "http"
	}
	if scheme != "http" && scheme != "https" {
		return nil, fmt.Errorf("scheme: got %q, want http or https", scheme)
	}
	h := &httpProbe{dialer: d, want: want, header: http.Header{"User-Agent": {"orrery-probe"}}}
	host := d.addresses[0]
	if d.network == "unix" {
		host = "localhost"
	}
	h.url = scheme + "://" + host + "/" + strings.TrimPrefix(path, "/")
	h.name = h.url
	if d.network == "unix" {
		h.name += " at " + d.addresses[0]
	}
	if _, err := url.Parse(h.url); err != nil {
		return nil, fmt.Errorf("path: got %q, want a path of a URL", path)
	}
	for _, e := range p.Headers {
		value, err := t.fill("headers."+e.Key, e.Value)
		if err != nil {
			return nil, err
		}
		if strings.EqualFold(e.Key, "Host") {
			h.host = value
			continue
		}
		h.header.Set(e.Key, value)
	}
	h.client = h.newClient()
	return h, nil
}

// newClient makes a client that asks the service and nobody else: no proxy, no
// kept connection, no redirect to another host. Any certificate is good: the
// probe asks whether the service answers, not who it is.
func (p *httpProbe) newClient() *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return p.dial(ctx)
			},
			TLSClientConfig:        &tls.Config{InsecureSkipVerify: true},
			DisableKeepAlives:      true,
			DisableCompression:     true,
			MaxResponseHeaderBytes: maxBody,
		},
		CheckRedirect: func(to *http.Request, via []*http.Request) error {
			from := via[len(via)-1].URL
			same := to.URL.Host == from.Host && to.URL.Scheme == from.Scheme
			if !same || len(via) > maxRedirects || p.want.hold(to.Response.StatusCode) {
				return http.ErrUseLastResponse
			}
			return nil
		},
	}
}

// Check makes one GET.
func (p *httpProbe) Check(ctx context.Context) error {
	start := time.Now()
	inner, cancel := context.WithCancel(ctx)
	defer cancel()
	var remote atomic.Value
	inner = httptrace.WithClientTrace(inner, &httptrace.ClientTrace{GotConn: func(c httptrace.GotConnInfo) {
		remote.Store(c.Conn.RemoteAddr().String())
	}})
	request, err := http.NewRequestWithContext(inner, http.MethodGet, p.url, nil)
	if err != nil {
		return fmt.Errorf("GET %s: %w", p.name, err)
	}
	request.Header, request.Host = p.header.Clone(), p.host
	answer, err := p.client.Do(request)
	if err != nil {
		var outer *url.Error
		if errors.As(err, &outer) {
			err = outer.Err
		}
		return fmt.Errorf("GET %s: %s", p.name, reason(ctx, start, err))
	}
	defer answer.Body.Close()
	// Most servers complain in their log when an answer is not taken.
	end := time.AfterFunc(bodyTime, cancel)
	defer end.Stop()
	io.CopyN(io.Discard, answer.Body, maxBody)
	if !p.want.hold(answer.StatusCode) {
		return fmt.Errorf("GET %s: got %d%s, want %s", p.name, answer.StatusCode, location(answer), p.want.text)
	}
	if at, ok := remote.Load().(string); ok {
		p.good(at)
	}
	return nil
}

// location says where a redirect that was not followed would have led.
func location(answer *http.Response) string {
	to, err := answer.Location()
	if err != nil || answer.StatusCode/100 != 3 {
		return ""
	}
	return " to " + to.Redacted()
}

// statuses are the good ones.
type statuses struct {
	text   string
	ranges [][2]int
}

// parseStatuses reads "2xx", "200", "200-399" or a list of these with commas.
func parseStatuses(s string) (statuses, error) {
	if s == "" {
		s = "2xx"
	}
	w := statuses{text: s}
	for part := range strings.SplitSeq(s, ",") {
		part = strings.ToLower(strings.TrimSpace(part))
		low, high, isRange := strings.Cut(part, "-")
		if digit, ok := strings.CutSuffix(part, "xx"); ok {
			low, high, isRange = digit+"00", digit+"99", true
		}
		if !isRange {
			high = low
		}
		a, e1 := strconv.Atoi(strings.TrimSpace(low))
		b, e2 := strconv.Atoi(strings.TrimSpace(high))
		if e1 != nil || e2 != nil || a < 100 || b > 599 || a > b {
			return w, fmt.Errorf(`got %q, want "2xx", "200", "200-399" or a list of these with commas`, s)
		}
		w.ranges = append(w.ranges, [2]int{a, b})
	}
	return w, nil
}

func (w *statuses) hold(status int) bool {
	for _, r := range w.ranges {
		if r[0] <= status && status <= r[1] {
			return true
		}
	}
	return false
}
