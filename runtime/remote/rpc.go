package remote

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// rpc speaks gRPC over the HTTP/2 of the standard library: a POST, messages with a head of five bytes, the status in the trailer. Without
// compression and without bidirectional streams, that is all of it.
type rpc struct {
	client *http.Client
	base   string
}

// frame is a message with its head.
func frame(msg []byte) []byte {
	b := make([]byte, 5, 5+len(msg))
	binary.BigEndian.PutUint32(b[1:], uint32(len(msg)))
	return append(b, msg...)
}

// reply is the answer to a call: messages, then the status.
type reply struct{ resp *http.Response }

// start sends a call, and gives its answer once that begins.
func (c *rpc) start(ctx context.Context, method string, body io.Reader) (*reply, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base+"/"+method, body)
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", "application/grpc")
	r.Header.Set("Te", "trailers")
	r.Header.Set("User-Agent", "orrery")
	if at, ok := ctx.Deadline(); ok {
		r.Header.Set("Grpc-Timeout", strconv.FormatInt(max(1, min(time.Until(at).Milliseconds(), 99999999)), 10)+"m")
	}
	resp, err := c.client.Do(r)
	if err != nil {
		return nil, err
	}
	kind := resp.Header.Get("Content-Type")
	if resp.StatusCode != http.StatusOK || !strings.HasPrefix(kind, "application/grpc") {
		resp.Body.Close()
		if resp.StatusCode == http.StatusOK || resp.StatusCode == http.StatusNotFound {
			return nil, fmt.Errorf("%w: it does not speak gRPC (HTTP %d, %s)", errUnfit, resp.StatusCode, plain(kind))
		}
		return nil, httpError(resp.StatusCode, "")
	}
	return &reply{resp}, nil
}

func (r *reply) close() { r.resp.Body.Close() }

// next gives the next message; io.EOF after the last one of a call that went well.
func (r *reply) next() ([]byte, error) {
	var head [5]byte
	if _, err := io.ReadFull(r.resp.Body, head[:]); err != nil {
		if err == io.EOF {
			return nil, r.status()
		}
		return nil, err
	}
	size := binary.BigEndian.Uint32(head[1:])
	if head[0] != 0 || size > maxMessage {
		return nil, errWire
	}
	msg := make([]byte, size)
	if _, err := io.ReadFull(r.resp.Body, msg); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	return msg, nil
}

// status is that of the whole call; io.EOF is OK.
func (r *reply) status() error {
	h := r.resp.Trailer
	if h.Get("Grpc-Status") == "" {
		h = r.resp.Header // a call without any message
	}
	n, err := strconv.ParseUint(h.Get("Grpc-Status"), 10, 32)
	if err != nil {
		return errors.New("the server ended the call without a status")
	}
	if n == 0 {
		return io.EOF
	}
	text, err := url.PathUnescape(h.Get("Grpc-Message"))
	if err != nil {
		text = h.Get("Grpc-Message")
	}
	return &statusError{code(n), plain(text)}
}

// only gives the message of a call that has one.
func (r *reply) only() ([]byte, error) {
	msg, err := r.next()
	if err == io.EOF {
		return nil, errWire
	}
	if err != nil {
		return nil, err
	}
	if _, err := r.next(); err != io.EOF {
		if err == nil {
			err = errWire
		}
		return nil, err
	}
	return msg, nil
}

// unary is a call of one message for one message.
func (c *rpc) unary(ctx context.Context, method string, req message) ([]byte, error) {
	r, err := c.start(ctx, method, bytes.NewReader(frame(req)))
	if err != nil {
		return nil, err
	}
	defer r.close()
	return r.only()
}
