package remote

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"testing"

	"orrery/runtime/cache"
)

// backends runs a test over both protocols, and over a real server where one is named.
func backends(t *testing.T, test func(t *testing.T, f *fake, url string)) {
	for _, protocol := range []string{"http", "grpc"} {
		t.Run(protocol, func(t *testing.T) {
			f := newFake(t)
			test(t, f, f.serve(t, protocol))
		})
	}
}

func connected(t *testing.T, o Options) backend {
	t.Helper()
	if o.Timeout == 0 {
		o.Timeout = DefaultTimeout
	}
	b, _, err := connect(o)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func sources(all []content) (out []source) {
	for _, c := range all {
		out = append(out, source{c.blob, func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(c.data)), nil }})
	}
	return out
}

func blobsOf(all []content) (out []cache.Blob) {
	for _, c := range all {
		out = append(out, c.blob)
	}
	return out
}

// collect reads blobs and checks them.
func collect(ctx context.Context, b backend, blobs []cache.Blob) error {
	return b.read(ctx, blobs, func(b cache.Blob, r io.Reader) error {
		data, err := io.ReadAll(r)
		if got := contentOf(data).blob; err == nil && got != b {
			err = &badBlobError{b, got}
		}
		return err
	})
}

// corpus has blobs of every size that is treated in its own way.
func corpus() (all []content) {
	for _, n := range []int{1, 100, chunk, chunk + 1, 1<<21 + 5, 4 << 20, 5<<20 + 1} {
		all = append(all, contentOf(bytes.Repeat([]byte{byte(n), 'x', byte(n >> 8)}, n/3+1)[:n]))
	}
	for i := range 200 {
		all = append(all, contentOf(bytes.Repeat([]byte{byte(i), byte(i >> 8)}, 5000)))
	}
	return all
}

func backendSuite(t *testing.T, b backend) {
	ctx := t.Context()
	if err := b.check(ctx, true); err != nil {
		t.Fatal(err)
	}
	a, result, all := sample(t)
	all = append(all, corpus()...)
	if _, err := b.result(ctx, a.digest); !errors.Is(err, cache.ErrMiss) {
		t.Errorf("got %v, want a miss", err)
	}
	for _, absent := range []content{contentOf([]byte("absent")), contentOf(bytes.Repeat([]byte("absent"), 1<<20))} {
		if err := collect(ctx, b, []cache.Blob{absent.blob}); !errors.Is(err, cache.ErrMiss) {
			t.Errorf("got %v, want a miss", err)
		}
	}
	lacks, err := b.missing(ctx, blobsOf(all))
	if err != nil || len(lacks) == 0 {
		t.Fatalf("got %d missing, %v", len(lacks), err)
	}
	for range 2 { // the second time they are there already
		if err := b.write(ctx, sources(all)); err != nil {
			t.Fatal(err)
		}
	}
	if lacks, err := b.missing(ctx, blobsOf(all)); err != nil || len(lacks) != 0 {
		t.Fatalf("got %d missing, %v", len(lacks), err)
	}
	if err := collect(ctx, b, blobsOf(all)); err != nil {
		t.Fatal(err)
	}
	if err := b.publish(ctx, a.digest, result); err != nil {
		t.Fatal(err)
	}
	got, err := b.result(ctx, a.digest)
	if err != nil {
		t.Fatal(err)
	}
	if at, err := readResult(got); err != nil || at.blob.Size == 0 {
		t.Errorf("got %+v, %v", at, err)
	}
}

func TestBackends(t *testing.T) {
	backends(t, func(t *testing.T, _ *fake, url string) { backendSuite(t, connected(t, Options{URL: url})) })
}

// TestReal runs the suite against servers that are named by ORRERY_TEST_REAPI (host:port, or URLs with commas between).
func TestReal(t *testing.T) {
	if os.Getenv("ORRERY_TEST_REAPI") == "" {
		t.Skip("ORRERY_TEST_REAPI names no server")
	}
	for url := range strings.SplitSeq(os.Getenv("ORRERY_TEST_REAPI"), ",") {
		if !strings.Contains(url, "://") {
			url = "grpc://" + url
		}
		t.Run(url, func(t *testing.T) {
			backendSuite(t, connected(t, Options{URL: url}))
			s := pair(t, Options{URL: url, Write: true})
			s.a.shares(t, s.b)
		})
	}
}

func TestAuth(t *testing.T) {
	backends(t, func(t *testing.T, f *fake, url string) {
		f.token = "Bearer secret"
		err := connected(t, Options{URL: url}).check(t.Context(), false)
		if !final(err) || strings.Contains(err.Error(), "secret") {
			t.Errorf("got %v, want a refusal", err)
		}
		if err := connected(t, Options{URL: url, Headers: []string{"authorization:  Bearer secret"}}).check(t.Context(), false); err != nil {
			t.Error(err)
		}
		f.set(func() { f.token = "Basic dTpw" })
		if err := connected(t, Options{URL: strings.Replace(url, "://", "://u:p@", 1)}).check(t.Context(), false); err != nil {
			t.Error(err)
		}
	})
}

func TestUnfit(t *testing.T) {
	f := newFake(t)
	f.foreign = true
	url := f.serve(t, "grpc")
	if err := connected(t, Options{URL: url}).check(t.Context(), false); !errors.Is(err, errUnfit) {
		t.Errorf("got %v", err)
	}
	f.set(func() { f.foreign, f.readOnly = false, true })
	b := connected(t, Options{URL: url})
	if err := b.check(t.Context(), false); err != nil {
		t.Error(err)
	}
	if err := b.check(t.Context(), true); !errors.Is(err, errUnfit) {
		t.Errorf("got %v", err)
	}
	plain := newFake(t).serve(t, "http")
	if err := connected(t, Options{URL: strings.Replace(plain, "http", "grpc", 1)}).check(t.Context(), false); err == nil {
		t.Error("gRPC to a server of HTTP/1: got no error")
	}
}

func TestOptions(t *testing.T) {
	for url, want := range map[string]string{
		"": "no address", "localhost:80": "none", "ftp://h": "got the address ftp://h, want grpc", "grpc://": "none",
		"http://u:hush@h/%zz": "none", "http://h?x": "none",
	} {
		_, _, err := connect(Options{URL: url})
		if err == nil || want != "no address" && !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hush") {
			t.Errorf("%s: got %v, want %s", url, err, want)
		}
	}
	for _, o := range []Options{
		{URL: "http://h", CA: "x"}, {URL: "https://h", CA: "/does/not/exist"}, {URL: "https://h", CA: os.Args[0]},
		{URL: "grpcs://h", Cert: "/does/not/exist"}, {URL: "http://h", Headers: []string{"hush"}}, {URL: "http://h", Headers: []string{"a b: hush"}},
	} {
		_, _, err := connect(o)
		if err == nil || strings.Contains(err.Error(), "hush") {
			t.Errorf("%+v: got %v", o, err)
		}
	}
	if _, name, err := connect(Options{URL: "https://u:hush@h/x"}); err != nil || name != "https://h/x" {
		t.Errorf("got %s, %v", name, err)
	}
}
