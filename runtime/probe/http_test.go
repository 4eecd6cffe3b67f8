package probe

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"orrery/lang/graph"
)

func serverPort(t *testing.T, s *httptest.Server) int {
	t.Helper()
	t.Cleanup(s.Close)
	return portOf(s.Listener)
}

func httpProbeOf(t *testing.T, port int, p graph.Probe) Probe {
	t.Helper()
	p.Kind = "http"
	return makeProbe(t, p, Target{Port: port})
}

func TestHTTP(t *testing.T) {
	var status atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			<-r.Context().Done()
		}
		w.WriteHeader(int(status.Load()))
		fmt.Fprintln(w, "hello")
	}))
	port := serverPort(t, s)
	for _, test := range []struct {
		status int
		want   string
		good   bool
	}{
		{200, "2xx", true}, {204, "", true}, {503, "2xx", false}, {404, "2xx", false},
		{200, "200", true}, {201, "200", false}, {304, "200-399", true}, {400, "200-399", false},
		{401, "2xx, 401", true}, {403, "2xx,401", false}, {500, "5XX", true},
	} {
		status.Store(int64(test.status))
		p := httpProbeOf(t, port, graph.Probe{Path: graph.Lit("/healthz"), Status: test.want})
		err := check(t, p, long)
		if test.good {
			want(t, err)
			continue
		}
		want(t, err, fmt.Sprintf("GET http://127.0.0.1:%d/healthz: got %d, want %s", port, test.status, test.want))
	}
	slow := httpProbeOf(t, port, graph.Probe{Path: graph.Lit("slow")})
	want(t, check(t, slow, 50*time.Millisecond), fmt.Sprintf("GET http://127.0.0.1:%d/slow: got no answer in ", port))
	s.Close()
	want(t, check(t, slow, long), "/slow: connection refused")
}

func TestHTTPUnix(t *testing.T) {
	dir, err := os.MkdirTemp("", "o")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	p := makeProbe(t, graph.Probe{Kind: "http", Path: graph.Lit("/up"), Socket: graph.Lit("s")}, Target{Dir: dir})
	want(t, check(t, p, long), "GET http://localhost/up at "+filepath.Join(dir, "s")+": no such file")
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/up" {
			w.WriteHeader(http.StatusNotFound)
		}
	})}
	l := listen(t, "unix", filepath.Join(dir, "s"))
	go s.Serve(l)
	defer s.Close()
	want(t, check(t, p, long))
}

func TestParseStatuses(t *testing.T) {
	for _, bad := range []string{"ok", "xx", "20x", "9xx", "0", "600", "300-200", "200,", "200-", "-1"} {
		if w, err := parseStatuses(bad); err == nil {
			t.Errorf("%q: got %v, want an error", bad, w.ranges)
		}
	}
}

func FuzzParseStatuses(f *testing.F) {
	for _, s := range []string{"2xx", "200", "200-399", "200, 3xx,404", "", "x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		w, err := parseStatuses(s)
		for _, r := range w.ranges {
			if err == nil && (r[0] < 100 || r[1] > 599 || r[0] > r[1] || !w.hold(r[0]) || !w.hold(r[1])) {
				t.Errorf("%q: got range %v", s, r)
			}
		}
		if err == nil && len(w.ranges) == 0 {
			t.Errorf("%q: nothing holds", s)
		}
	})
}

func TestHTTPRequest(t *testing.T) {
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1")
	t.Setenv("http_proxy", "http://127.0.0.1:1")
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got := fmt.Sprint(r.Method, r.Host, r.URL, r.Header.Get("X-Key"), r.Close)
		if got != "GETexample.test/a?b=cvtrue" {
			t.Errorf("got %s", got)
		}
	}))
	p := httpProbeOf(t, serverPort(t, s), graph.Probe{
		Path:    graph.Lit("/a?b=c"),
		Headers: graph.Dict[graph.Text]{{Key: "host", Value: graph.Lit("example.test")}, {Key: "x-key", Value: graph.Lit("v")}},
	})
	want(t, check(t, p, long))
}

func TestHTTPS(t *testing.T) {
	s := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	s.Config.ErrorLog = nil
	port := serverPort(t, s)
	want(t, check(t, httpProbeOf(t, port, graph.Probe{Scheme: "https"}), long))
}

func TestHTTPRedirects(t *testing.T) {
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		t.Error("the probe went to another server")
	}))
	defer other.Close()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/here":
			http.Redirect(w, r, "/end", http.StatusFound)
		case "/away":
			http.Redirect(w, r, other.URL+"/", http.StatusFound)
		case "/loop":
			http.Redirect(w, r, "/loop", http.StatusFound)
		}
	}))
	port := serverPort(t, s)
	get := func(path, status string) error {
		return check(t, httpProbeOf(t, port, graph.Probe{Path: graph.Lit(path), Status: status}), long)
	}
	want(t, get("/here", "2xx"))
	want(t, get("/here", "302"))
	want(t, get("/away", "2xx"), "got 302 to "+other.URL+"/, want 2xx")
	want(t, get("/away", "200-399"))
	want(t, get("/loop", "2xx"), "got 302")
}

// An answer of any length costs little: the status decides.
func TestHTTPBody(t *testing.T) {
	var sent atomic.Int64
	ended := make(chan bool, 2)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() { ended <- true }()
		if r.URL.Path == "/stream" {
			w.(http.Flusher).Flush()
			<-r.Context().Done()
			return
		}
		chunk := make([]byte, 1<<20)
		for range 1 << 10 {
			n, err := w.Write(chunk)
			sent.Add(int64(n))
			if err != nil {
				return
			}
		}
	}))
	port := serverPort(t, s)
	want(t, check(t, httpProbeOf(t, port, graph.Probe{Path: graph.Lit("/huge")}), long))
	<-ended
	if n := sent.Load(); n > 64<<20 {
		t.Errorf("the server could send %d bytes, want it cut off early", n)
	}
	start := time.Now()
	want(t, check(t, httpProbeOf(t, port, graph.Probe{Path: graph.Lit("/stream")}), time.Minute))
	<-ended
	if d := time.Since(start); d > long {
		t.Errorf("a stream without end took %v", d)
	}
}

func TestHTTPOnIPv6Only(t *testing.T) {
	l := listen(t, "tcp", "[::1]:0")
	s := &httptest.Server{Listener: l, Config: &http.Server{Handler: http.NotFoundHandler()}}
	s.Start()
	port := serverPort(t, s)
	warnings := 0
	p := makeProbe(t, graph.Probe{Kind: "http", Status: "404"}, Target{Port: port, Warn: func(string) { warnings++ }})
	want(t, check(t, p, long))
	want(t, check(t, p, long))
	if warnings != 1 {
		t.Errorf("got %d warnings, want 1", warnings)
	}
	p = makeProbe(t, graph.Probe{Kind: "http"}, Target{Port: port, Warn: func(s string) { t.Errorf("got warning %q for a bad answer", s) }})
	want(t, check(t, p, long), "got 404")
}

// Servers that accept and then do something else than answer.
func TestHTTPOddServers(t *testing.T) {
	for _, test := range []struct{ name, say, want string }{
		{"closes", "", "got the end of the connection"},
		{"not HTTP", "+PONG\r\n\r\n", "malformed HTTP"},
		{"endless header", "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 300<<10), "exceeded"},
	} {
		l := listen(t, "tcp", "127.0.0.1:0")
		go func() {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.Read(make([]byte, 4096))
			io.WriteString(c, test.say)
			c.Close()
		}()
		p := httpProbeOf(t, portOf(l), graph.Probe{})
		want(t, check(t, p, long), test.want)
	}
	silent := listen(t, "tcp", "127.0.0.1:0")
	p := httpProbeOf(t, portOf(silent), graph.Probe{})
	want(t, check(t, p, 30*time.Millisecond), "GET http://"+silent.Addr().String()+"/: got no answer in ")
}
