package remote

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/textproto"
	"net/url"
	"os"
	"strings"
	"time"
)

// Options say where the remote cache is, and how to use it.
type Options struct {
	// URL is grpc://host:port/instance or grpcs:// (the remote execution protocol), or http:// or https:// with a path (the plain one). A
	// user and password in it are sent as HTTP does; they are never shown.
	URL string
	// Write sends results there too; otherwise it is only read.
	Write bool
	// Headers go with every request, each as "Name: value". They are never shown.
	Headers []string
	// CA is a file with the certificates (PEM) that the server's must be signed by; empty: those of the system. Cert and Key are the files
	// of our own certificate.
	CA, Cert, Key string
	// Timeout is what the cache may cost at most: how long a call waits for its answer, and how much time all failures and slow misses
	// together may take before the cache is left alone; 0: DefaultTimeout.
	Timeout time.Duration
	// Retry is how long it is left alone; 0: for good.
	Retry time.Duration
	// Warn is told of trouble, once. It may be called from any goroutine.
	Warn func(text string)
}

// DefaultTimeout is Options.Timeout where it is 0.
const DefaultTimeout = 2 * time.Second

// connect makes the client of a URL. It does not use the network.
func connect(o Options) (b backend, name string, err error) {
	u, err := url.Parse(o.URL)
	if err != nil || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
		return nil, "", errors.New("got an address that is none, want grpc://, grpcs://, http:// or https:// with a host") // it may hold a password
	}
	headers, err := headersOf(o.Headers, u.User)
	if err != nil {
		return nil, "", err
	}
	u.User = nil
	name = u.String()
	secure := u.Scheme == "grpcs" || u.Scheme == "https"
	t := &http.Transport{
		DialContext:         (&net.Dialer{Timeout: o.Timeout}).DialContext,
		TLSHandshakeTimeout: o.Timeout, MaxIdleConnsPerHost: 2 * streams, IdleConnTimeout: time.Minute,
		Protocols: &http.Protocols{},
	}
	if secure {
		if t.TLSClientConfig, err = tlsConfig(o); err != nil {
			return nil, "", err
		}
	} else if o.CA != "" || o.Cert != "" || o.Key != "" {
		return nil, "", fmt.Errorf("got certificates for %s, want grpcs:// or https://", name)
	}
	client := &http.Client{Transport: &sender{t, headers}, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse // our headers are for this server alone
	}}
	base := "http://" + u.Host
	if secure {
		base = "https://" + u.Host
	}
	instance := strings.Trim(u.Path, "/")
	switch u.Scheme {
	case "grpc", "grpcs":
		t.Protocols.SetHTTP2(secure)
		t.Protocols.SetUnencryptedHTTP2(!secure)
		return &reapi{rpc: rpc{client, base}, instance: instance}, name, nil
	case "http", "https":
		t.Protocols.SetHTTP1(true)
		t.Protocols.SetHTTP2(secure)
		t.Proxy = http.ProxyFromEnvironment
		return &plainHTTP{client, strings.TrimSuffix(base+"/"+instance, "/")}, name, nil
	}
	return nil, "", fmt.Errorf("got the address %s, want grpc://, grpcs://, http:// or https://", name)
}

// headersOf reads headers. Errors show no values.
func headersOf(list []string, user *url.Userinfo) (http.Header, error) {
	h := http.Header{}
	for i, line := range list {
		name, value, ok := strings.Cut(line, ":")
		name, value = strings.TrimSpace(name), strings.TrimSpace(value)
		if !ok || name == "" || strings.ContainsAny(name, " \t") || strings.ContainsAny(value, "\r\n\x00") {
			return nil, fmt.Errorf("got header %d that is none, want Name: value", i+1)
		}
		h.Add(textproto.CanonicalMIMEHeaderKey(name), value)
	}
	if user != nil && h.Get("Authorization") == "" {
		h.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(user.Username()+":"+password(user))))
	}
	return h, nil
}

func password(u *url.Userinfo) string {
	p, _ := u.Password()
	return p
}

func tlsConfig(o Options) (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if o.CA != "" {
		text, err := os.ReadFile(o.CA)
		if err != nil {
			return nil, fmt.Errorf("cannot read the certificates of the server: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("cannot read the certificates of the server: %s holds none in PEM", o.CA)
		}
	}
	if o.Cert != "" || o.Key != "" {
		pair, err := tls.LoadX509KeyPair(o.Cert, o.Key)
		if err != nil {
			return nil, fmt.Errorf("cannot read our certificate: %w", err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}

// sender adds our headers to every request.
type sender struct {
	to      http.RoundTripper
	headers http.Header
}

// RoundTrip sends.
func (s *sender) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	for k, v := range s.headers {
		r.Header[k] = v
	}
	resp, err := s.to.RoundTrip(r)
	if tick, ok := r.Context().Value(progress{}).(func()); ok && err == nil {
		resp.Body = &ticking{resp.Body, tick}
	}
	return resp, err
}

// progress is the key of a func() in a context, which is called whenever bytes of an answer arrive.
type progress struct{}

type ticking struct {
	io.ReadCloser
	tick func()
}

// Read reads.
func (t *ticking) Read(p []byte) (int, error) {
	n, err := t.ReadCloser.Read(p)
	if n > 0 {
		t.tick()
	}
	return n, err
}
