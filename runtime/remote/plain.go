package remote

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"

	"orrery/runtime/cache"
)

// plainHTTP is the protocol of Bazel's --remote_cache=http and of bazel-remote: GET, HEAD and PUT of /ac/HASH and /cas/HASH.
type plainHTTP struct {
	client *http.Client
	base   string
}

// maxMessage bounds an ActionResult or any other message, in bytes.
const maxMessage = 8 << 20

func (p *plainHTTP) do(ctx context.Context, method, what string, blob cache.Blob, body io.ReadCloser) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, method, p.base+"/"+what+"/"+blob.Hash, nil)
	if err != nil {
		return nil, err
	}
	if body != nil {
		r.Body, r.ContentLength = body, blob.Size
		r.Header.Set("Content-Type", "application/octet-stream")
	}
	resp, err := p.client.Do(r)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode/100 == 2 {
		return resp, nil
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 4*maxSaid)) // what it says beside is for people
	return nil, httpError(resp.StatusCode, string(text))
}

// httpError is a status of HTTP in the words of gRPC.
func httpError(status int, text string) error {
	e := &statusError{codeUnknown, plain(fmt.Sprintf("HTTP %d %s", status, text))}
	switch status {
	case http.StatusNotFound:
		e.code = codeNotFound
	case http.StatusUnauthorized, http.StatusProxyAuthRequired:
		e.code = codeUnauthorized
	case http.StatusForbidden:
		e.code = codeDenied
	case http.StatusMethodNotAllowed, http.StatusNotImplemented:
		e.code = codeUnimplemented
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout, http.StatusTooManyRequests:
		e.code = codeUnavailable
	}
	return e
}

// check asks for a result that there is none of.
func (p *plainHTTP) check(ctx context.Context, _ bool) error {
	_, err := p.result(ctx, contentOf(nil).blob)
	if errors.Is(err, cache.ErrMiss) {
		return nil
	}
	return err
}

func (p *plainHTTP) result(ctx context.Context, action cache.Blob) ([]byte, error) {
	resp, err := p.do(ctx, http.MethodGet, "ac", action, nil)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxMessage+1))
	if err == nil && len(text) > maxMessage {
		err = errWire
	}
	return text, err
}

func (p *plainHTTP) publish(ctx context.Context, action cache.Blob, result []byte) error {
	return p.put(ctx, "ac", cache.Blob{Hash: action.Hash, Size: int64(len(result))}, io.NopCloser(bytes.NewReader(result)))
}

func (p *plainHTTP) put(ctx context.Context, what string, b cache.Blob, body io.ReadCloser) error {
	resp, err := p.do(ctx, http.MethodPut, what, b, body)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

func (p *plainHTTP) missing(ctx context.Context, blobs []cache.Blob) ([]cache.Blob, error) {
	var mu sync.Mutex
	var lacks []cache.Blob
	err := each(ctx, blobs, func(ctx context.Context, b cache.Blob) error {
		resp, err := p.do(ctx, http.MethodHead, "cas", b, nil)
		if err == nil {
			return resp.Body.Close()
		}
		var s *statusError
		if errors.As(err, &s) && (s.code == codeNotFound || s.code == codeUnimplemented) {
			mu.Lock()
			defer mu.Unlock()
			lacks = append(lacks, b)
			return nil
		}
		return err
	})
	return lacks, err
}

func (p *plainHTTP) read(ctx context.Context, blobs []cache.Blob, to sink) error {
	return each(ctx, blobs, func(ctx context.Context, b cache.Blob) error {
		resp, err := p.do(ctx, http.MethodGet, "cas", b, nil)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		return to(b, resp.Body)
	})
}

func (p *plainHTTP) write(ctx context.Context, blobs []source) error {
	return each(ctx, blobs, func(ctx context.Context, s source) error {
		f, err := s.open()
		if err != nil {
			return err
		}
		return p.put(ctx, "cas", s.Blob, f)
	})
}
