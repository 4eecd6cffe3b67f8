package remote

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"orrery/runtime/cache"
	"orrery/runtime/task/storetest"
)

// user is one machine: a local cache with the remote one behind it.
type user struct {
	*Store
	mu       sync.Mutex
	warnings []string
}

func newUser(t *testing.T, o Options) *user {
	t.Helper()
	local, err := cache.Open(filepath.Join(t.TempDir(), "cache"), cache.Options{})
	if err != nil {
		t.Fatal(err)
	}
	u := &user{}
	o.Warn = func(text string) {
		u.mu.Lock()
		defer u.mu.Unlock()
		u.warnings = append(u.warnings, text)
	}
	if u.Store, err = Open(local, o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		u.Finish(ctx)
		local.Close()
	})
	return u
}

func (u *user) warned() []string {
	u.mu.Lock()
	defer u.mu.Unlock()
	return append([]string{}, u.warnings...)
}

// one checks that there is exactly one warning, and what it says.
func (u *user) one(t *testing.T, want string) {
	t.Helper()
	if w := u.warned(); len(w) != 1 || !strings.Contains(w[0], want) || strings.ContainsAny(w[0], "\x1b\n") {
		t.Errorf("got the warnings %q, want one that says %q", w, want)
	}
}

func (u *user) add(t *testing.T, text string) cache.Blob {
	t.Helper()
	b, err := u.Add(t.Context(), strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// results are what shares sends: the record, and the texts of its blobs.
func (u *user) make(t *testing.T, n int) (lines []string, r *cache.Record, texts []string) {
	t.Helper()
	lines = keyLines(fmt.Sprint("cache_key 1 ", n))
	texts = []string{strings.Join(lines, "\n") + "\n", "o\x05said\n", fmt.Sprint("one ", n), "", strings.Repeat("large", 400<<10)}
	r = &cache.Record{
		Key: keyOf(lines), Task: "t", Lines: u.add(t, texts[0]), Log: u.add(t, texts[1]), Values: map[string]string{"v": "\xff\n"}, Duration: time.Second,
		Created: time.Unix(1, 5).UTC(), Host: "h", OS: "o", Arch: "a",
		Outputs: []cache.Entry{
			{Path: "dist", Kind: cache.Dir, Mode: 0o750},
			{Path: "dist/a\xff", Kind: cache.File, Mode: 0o751, Blob: u.add(t, texts[2])},
			{Path: "dist/e", Kind: cache.File, Mode: 0o444, Blob: u.add(t, texts[3])},
			{Path: "dist/empty", Kind: cache.Dir, Mode: 0o700},
			{Path: "dist/l", Kind: cache.Link, Target: "a\xff"},
			{Path: "large", Kind: cache.File, Mode: 0o600, Blob: u.add(t, texts[4])},
		},
	}
	return lines, r, texts
}

func (u *user) finish(t *testing.T, timeout time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	u.Finish(ctx)
}

// upload makes a result and sends it.
func (u *user) upload(t *testing.T, n int) (lines []string, r *cache.Record, texts []string) {
	t.Helper()
	lines, r, texts = u.make(t, n)
	if err := u.Put(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	return lines, r, texts
}

// shares checks that what one makes the other one has, byte by byte.
func (u *user) shares(t *testing.T, v *user) {
	t.Helper()
	ctx := t.Context()
	lines, r, texts := u.upload(t, int(time.Now().UnixNano())) // a real server may know former ones
	u.finish(t, time.Minute)
	if st := u.Stats(); st.Uploads != 1 || st.Unsent != 0 || len(u.warned()) > 0 {
		t.Fatalf("got %+v, %q", st, u.warned())
	}
	if _, err := v.Get(ctx, r.Key); !errors.Is(err, cache.ErrMiss) {
		t.Fatalf("got %v: Get asks the local cache alone", err)
	}
	if err := v.Pull(ctx, r.Key, lines); err != nil {
		t.Fatal(err, v.warned())
	}
	got, err := v.Get(ctx, r.Key)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(r, got); d != "" {
		t.Error(d)
	}
	if err := v.Fetch(ctx, r.Blobs()); err != nil {
		t.Error(err)
	}
	for i, b := range r.Blobs() {
		f, err := v.Open(ctx, b)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(f)
		if err = errors.Join(err, f.Close()); err != nil || string(text) != texts[i] {
			t.Errorf("blob %d: got %d bytes, %v", i, len(text), err)
		}
	}
	if st := v.Stats(); st.Hits != 1 || st.Received == 0 {
		t.Errorf("got %+v", st)
	}
}

type two struct{ a, b *user }

func pair(t *testing.T, o Options) two { return two{newUser(t, o), newUser(t, Options{URL: o.URL})} }

// TestConformance: with any server behind it, the store is one.
func TestConformance(t *testing.T) {
	backends(t, func(t *testing.T, _ *fake, url string) {
		storetest.Run(t, func() storetest.Store { return newUser(t, Options{URL: url, Write: true}) })
	})
	t.Run("dead", func(t *testing.T) {
		storetest.Run(t, func() storetest.Store { return newUser(t, Options{URL: "grpc://127.0.0.1:1", Write: true}) })
	})
}

func TestShare(t *testing.T) {
	backends(t, func(t *testing.T, _ *fake, url string) {
		p := pair(t, Options{URL: url, Write: true})
		p.a.shares(t, p.b)
	})
	t.Run("inline", func(t *testing.T) {
		f := newFake(t)
		f.inline = true
		p := pair(t, Options{URL: f.serve(t, "grpc"), Write: true})
		p.a.shares(t, p.b)
	})
	t.Run("no HEAD", func(t *testing.T) {
		f := newFake(t)
		f.noHead = true
		p := pair(t, Options{URL: f.serve(t, "http"), Write: true})
		p.a.shares(t, p.b)
	})
	t.Run("both protocols", func(t *testing.T) {
		f := newFake(t)
		p := two{newUser(t, Options{URL: f.serve(t, "http"), Write: true}), newUser(t, Options{URL: f.serve(t, "grpc")})}
		p.a.shares(t, p.b)
	})
}

// TestTLS: the server's certificate is checked, only ours are believed, and ours is shown.
func TestTLS(t *testing.T) {
	f := newFake(t)
	s := httptest.NewUnstartedServer(f)
	s.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert}
	s.StartTLS()
	defer s.Close()
	pair := s.TLS.Certificates[0]
	key, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	write := func(kind string, der []byte) string {
		name := filepath.Join(t.TempDir(), "pem")
		if err := os.WriteFile(name, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	o := Options{CA: write("CERTIFICATE", s.Certificate().Raw), Cert: write("CERTIFICATE", pair.Certificate[0]), Key: write("PRIVATE KEY", key), Timeout: 20 * time.Second}
	secure := credentials.NewTLS(&tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAnyClientCert, NextProtos: []string{"h2"}})
	for _, url := range []string{s.URL + "/some/cache", strings.Replace(f.serve(t, "grpc", grpc.Creds(secure)), "grpc:", "grpcs:", 1)} {
		o.URL = url
		reader, writer := newUser(t, o), o
		writer.Write = true
		newUser(t, writer).shares(t, reader)
		for what, wrong := range map[string]Options{
			"certificate signed by unknown authority": {URL: url, Cert: o.Cert, Key: o.Key}, "certificate required": {URL: url, CA: o.CA},
		} {
			u := newUser(t, wrong)
			if err := u.Pull(t.Context(), keyOf(keyLines()), keyLines()); !errors.Is(err, cache.ErrMiss) {
				t.Errorf("got %v", err)
			}
			if w := u.warned(); strings.Contains(what, "required") && len(w) == 1 && strings.Contains(w[0], "client conn could not be established") {
				continue // HTTP/2 tells of the server's refusal, or of the end of the connection that comes with it: whichever it meets first
			}
			u.one(t, what)
		}
	}
}

// TestReadOnly: without Write nothing is sent, and what is for this machine never is.
func TestReadOnly(t *testing.T) {
	backends(t, func(t *testing.T, f *fake, url string) {
		u := newUser(t, Options{URL: url})
		u.upload(t, 1)
		u.finish(t, time.Minute)
		w := newUser(t, Options{URL: url, Write: true})
		for n := range 2 {
			_, r, _ := w.make(t, n)
			if r.Local = true; n == 1 {
				r.Local, r.Key = false, keyOf(nil) // of a checkout
			}
			if err := w.Put(t.Context(), r); err != nil {
				t.Fatal(err)
			}
		}
		w.finish(t, time.Minute)
		if len(f.ac) > 0 || len(f.cas) > 1 || len(u.warned()) > 0 {
			t.Errorf("got %d results, %d blobs, %q", len(f.ac), len(f.cas), u.warned())
		}
	})
}

// TestRefused: a server that takes nothing is told of once, asked no more for that, and read on.
func TestRefused(t *testing.T) {
	backends(t, func(t *testing.T, f *fake, url string) {
		w := newUser(t, Options{URL: url, Write: true})
		lines, r, _ := w.upload(t, 1)
		w.finish(t, time.Minute)
		f.set(func() { f.readOnly = true })
		u := newUser(t, Options{URL: url, Write: true})
		for n := 2; n < 6; n++ {
			u.upload(t, n)
		}
		u.finish(t, time.Minute)
		u.one(t, "permission denied")
		if st := u.Stats(); st.Unsent != 4 || st.Uploads != 0 {
			t.Errorf("got %+v", st)
		}
		if err := u.Pull(t.Context(), r.Key, lines); err != nil {
			t.Errorf("cannot read any more: %v", err)
		}
	})
}

// TestPoison: whatever the server does to a result, it is a miss and never a result.
func TestPoison(t *testing.T) {
	for name, poison := range map[string]struct {
		do   func(f *fake)
		warn string
	}{
		"lies":     {func(f *fake) { f.lie = true }, "they were not used"},
		"truncate": {func(f *fake) { f.truncate = true }, ""},
		"large blob gone": {func(f *fake) {
			for h, data := range f.cas {
				if len(data) > 1<<20 {
					delete(f.cas, h)
				}
			}
		}, "-"},
		"small blob gone": {func(f *fake) { delete(f.cas, contentOf([]byte("one 1")).blob.Hash) }, "-"},
		"all blobs gone":  {func(f *fake) { clear(f.cas) }, "-"},
		"no message": {func(f *fake) {
			for h := range f.ac {
				f.ac[h] = []byte("\x12\x03\x0a\x01x")
			}
		}, "did not write"},
	} {
		t.Run(name, func(t *testing.T) {
			backends(t, func(t *testing.T, f *fake, url string) {
				p := pair(t, Options{URL: url, Write: true})
				lines, r, _ := p.a.upload(t, 1)
				p.a.finish(t, time.Minute)
				f.set(func() { poison.do(f) })
				if err := p.b.Pull(t.Context(), r.Key, lines); !errors.Is(err, cache.ErrMiss) {
					t.Errorf("got %v, want a miss", err)
				}
				if _, err := p.b.Get(t.Context(), r.Key); !errors.Is(err, cache.ErrMiss) {
					t.Errorf("got %v, want a miss", err)
				}
				if poison.warn == "-" {
					if w := p.b.warned(); len(w) > 0 {
						t.Errorf("got %q, want no warning: servers drop blobs", w)
					}
				} else {
					p.b.one(t, poison.warn)
				}
			})
		})
	}
}

// TestWrongRecord: a record that is right, but of another key, is a miss.
func TestWrongRecord(t *testing.T) {
	backends(t, func(t *testing.T, f *fake, url string) {
		p := pair(t, Options{URL: url, Write: true})
		_, r1, _ := p.a.upload(t, 1)
		lines2, r2, _ := p.a.upload(t, 2)
		p.a.finish(t, time.Minute)
		a2, err := newAction(r2.Key, lines2)
		if err != nil {
			t.Fatal(err)
		}
		result1, _, err := newResult(r1)
		if err != nil {
			t.Fatal(err)
		}
		f.set(func() { f.ac[a2.digest.Hash] = result1 })
		if err := p.b.Pull(t.Context(), r2.Key, lines2); !errors.Is(err, cache.ErrMiss) {
			t.Errorf("got %v, want a miss", err)
		}
		p.b.one(t, "bad record")
	})
}

// TestDead: servers that are not there, refuse or never answer cost at most their time, and one warning.
func TestDead(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0") // accepts by the kernel, says nothing
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { silent.Close() })
	slow := func(protocol string) string {
		f := newFake(t)
		f.slow = true
		return f.serve(t, protocol)
	}
	for name, url := range map[string]string{
		"refused http": "http://127.0.0.1:1", "refused grpc": "grpc://127.0.0.1:1", "silent http": "http://" + silent.Addr().String(),
		"silent grpc": "grpc://" + silent.Addr().String(), "silent tls": "grpcs://" + silent.Addr().String(), "slow http": slow("http"), "slow grpc": slow("grpc"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			u := newUser(t, Options{URL: url, Write: true, Timeout: 300 * time.Millisecond})
			began := time.Now()
			var wg sync.WaitGroup
			for n := range 20 {
				wg.Go(func() {
					lines := keyLines(fmt.Sprint("x ", n%10))
					if err := u.Pull(t.Context(), keyOf(lines), lines); !errors.Is(err, cache.ErrMiss) {
						t.Errorf("got %v", err)
					}
				})
			}
			wg.Wait()
			u.upload(t, 1)
			u.upload(t, 2)
			u.finish(t, 300*time.Millisecond)
			if took := time.Since(began); took > 10*time.Second {
				t.Errorf("took %v", took)
			}
			u.one(t, "the remote cache "+url)
			if u.live.on() {
				t.Error("it is still asked")
			}
		})
	}
}

// TestStall: a server that stops in the middle costs the timeout, however long the task took.
func TestStall(t *testing.T) {
	backends(t, func(t *testing.T, f *fake, url string) {
		p := pair(t, Options{URL: url, Write: true})
		p.b = newUser(t, Options{URL: url, Timeout: 300 * time.Millisecond})
		lines, r, _ := p.a.make(t, 1)
		r.Duration = time.Hour
		if err := p.a.Put(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		p.a.finish(t, time.Minute)
		f.set(func() { f.stall = true })
		began := time.Now()
		if err := p.b.Pull(t.Context(), r.Key, lines); !errors.Is(err, cache.ErrMiss) {
			t.Errorf("got %v", err)
		}
		if took := time.Since(began); took > 20*time.Second {
			t.Errorf("took %v", took)
		}
		p.b.one(t, "no answer in time")
	})
}

// TestCancel: a run that is interrupted is no trouble of the server.
func TestCancel(t *testing.T) {
	backends(t, func(t *testing.T, f *fake, url string) {
		f.slow = true
		u := newUser(t, Options{URL: url, Timeout: time.Minute})
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			<-f.called
			cancel()
		}()
		if err := u.Pull(ctx, keyOf(keyLines()), keyLines()); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		if len(u.warned()) > 0 || !u.live.on() {
			t.Errorf("got %q", u.warned())
		}
	})
}

// TestBreaker walks the breaker through time.
func TestBreaker(t *testing.T) {
	now := time.Unix(1000, 0)
	b := &breaker{budget: time.Second, retry: time.Minute, now: func() time.Time { return now }}
	after := func(d time.Duration, how outcome) bool {
		began := now
		now = now.Add(d)
		return b.record(began, how)
	}
	if after(time.Hour, useful) || after(normal, missed) || after(600*time.Millisecond, missed) || b.left() != 500*time.Millisecond {
		t.Errorf("got %v", b.left())
	}
	if b.record(now.Add(-time.Hour), missed); b.left() != 500*time.Millisecond {
		t.Errorf("what was at the same time counts twice: got %v", b.left())
	}
	if !after(500*time.Millisecond, failed) || b.on() {
		t.Error("the budget is used up")
	}
	now = now.Add(time.Minute)
	if !b.on() || b.left() != time.Second {
		t.Error("it is not tried again")
	}
	if after(0, failed) || after(0, sent) || after(0, failed) || after(0, unsent) || !after(0, failed) {
		t.Error("three failures in a row")
	}
	b.retry, now = 0, now.Add(time.Hour)
	if b.on() {
		t.Error("it is tried again")
	}
	if c := (&breaker{budget: 1, now: b.now}); !c.record(now, refused) {
		t.Error("a refusal is final")
	}
}

// TestFinishUnsent: what cannot be sent in time is said.
func TestFinishUnsent(t *testing.T) {
	backends(t, func(t *testing.T, f *fake, url string) {
		f.slow = true
		u := newUser(t, Options{URL: url, Write: true, Timeout: time.Minute})
		u.upload(t, 1)
		u.finish(t, 50*time.Millisecond)
		u.one(t, "1 results were not uploaded")
		u.upload(t, 2) // after the end
		if st := u.Stats(); st.Unsent != 2 {
			t.Errorf("got %+v", st)
		}
	})
}

// TestLocalGone: that the local cache cannot be written is not the server's fault.
func TestLocalGone(t *testing.T) {
	f := newFake(t)
	url := f.serve(t, "grpc")
	p := pair(t, Options{URL: url, Write: true})
	lines, r, _ := p.a.upload(t, 1)
	p.a.finish(t, time.Minute)
	p.b.Store.Store.Close()
	var off *cache.UnavailableError
	if err := p.b.Pull(t.Context(), r.Key, lines); !errors.As(err, &off) {
		t.Errorf("got %v", err)
	}
	if len(p.b.warned()) > 0 {
		t.Errorf("got %q", p.b.warned())
	}
}

// TestSplit: a batch keeps below the limit, and nothing is lost.
func TestSplit(t *testing.T) {
	all := corpus()
	batches, large := split(all, maxBatch, func(c content) int64 { return c.blob.Size })
	n := len(large)
	for _, b := range batches {
		var m message
		for _, c := range b {
			var one message
			one.digest(1, c.blob)
			one.bytes(2, c.data)
			m.sub(2, one)
		}
		if n += len(b); len(m) > maxBatch {
			t.Errorf("got %d bytes", len(m))
		}
	}
	if n != len(all) {
		t.Errorf("got %d blobs, want %d", n, len(all))
	}
	if !bytes.Equal(frame([]byte("ab")), []byte("\x00\x00\x00\x00\x02ab")) {
		t.Error("the head of a message is wrong")
	}
}
