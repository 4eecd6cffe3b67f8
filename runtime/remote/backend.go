package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"unicode"

	"orrery/runtime/cache"
)

// backend is a server: one of the remote execution protocol, or of the plain HTTP one. Its methods may be called from any goroutine. That
// something is not there is cache.ErrMiss.
type backend interface {
	// check asks the server whether it is one that we can use, for writing too if asked.
	check(ctx context.Context, write bool) error
	// result gives the ActionResult of an action.
	result(ctx context.Context, action cache.Blob) ([]byte, error)
	// publish sets it; all blobs are there.
	publish(ctx context.Context, action cache.Blob, result []byte) error
	// missing are those of the blobs that the server lacks.
	missing(ctx context.Context, blobs []cache.Blob) ([]cache.Blob, error)
	// read hands every blob to sink, several at a time; what sink reads ends without an error only if it is whole. Nobody has verified it.
	read(ctx context.Context, blobs []cache.Blob, sink sink) error
	// write sends blobs.
	write(ctx context.Context, blobs []source) error
}

// sink takes the content of a blob.
type sink func(cache.Blob, io.Reader) error

// source is a blob and how to read it.
type source struct {
	cache.Blob
	open func() (io.ReadCloser, error)
}

// code is a status of gRPC.
type code uint32

const (
	codeOK            code = 0
	codeUnknown       code = 2
	codeNotFound      code = 5
	codeDenied        code = 7
	codeUnimplemented code = 12
	codeUnavailable   code = 14
	codeUnauthorized  code = 16
)

// statusError is a refusal of the server.
type statusError struct {
	code code
	text string
}

// Error says what the server said.
func (e *statusError) Error() string {
	name := fmt.Sprintf("status %d", e.code)
	switch e.code {
	case codeNotFound:
		name = "not found"
	case codeDenied:
		name = "permission denied"
	case codeUnimplemented:
		name = "not implemented"
	case codeUnavailable:
		name = "unavailable"
	case codeUnauthorized:
		name = "not authorized"
	}
	if e.text == "" {
		return "the server answers: " + name
	}
	return fmt.Sprintf("the server answers: %s (%s)", name, e.text)
}

// Is makes that something is not there a miss.
func (e *statusError) Is(target error) bool { return target == cache.ErrMiss && e.code == codeNotFound }

// err is nil for OK.
func (e *statusError) err() error {
	if e.code == codeOK {
		return nil
	}
	return e
}

// final tells whether asking again is of no use.
func final(err error) bool {
	var s *statusError
	return errors.As(err, &s) && (s.code == codeDenied || s.code == codeUnauthorized || s.code == codeUnimplemented) || errors.Is(err, errUnfit)
}

// errUnfit says that a server is none for us.
var errUnfit = errors.New("the server cannot be used")

// maxSaid bounds what is shown of the text of a server.
const maxSaid = 200

// plain is the text of a server, fit for a terminal.
func plain(s string) string {
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, s)
	s = strings.TrimSpace(s)
	if len(s) > maxSaid {
		s = strings.ToValidUTF8(s[:maxSaid], "") + "..."
	}
	return s
}

// badBlobError says that a server sent something else than what was asked for.
type badBlobError struct{ want, got cache.Blob }

// Error names the blob.
func (e *badBlobError) Error() string {
	return fmt.Sprintf("the server gave %d bytes with the digest %.12s for the blob %.12s of %d bytes; they were not used", e.got.Size, e.got.Hash, e.want.Hash, e.want.Size)
}

// streams is how many transfers there are at once, in one call.
const streams = 4

// each calls do for every element, some at a time, until one fails.
func each[T any](ctx context.Context, all []T, do func(context.Context, T) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	work := make(chan T)
	for range min(streams, len(all)) {
		wg.Go(func() {
			for x := range work {
				if err := do(ctx, x); err != nil {
					cancel(err)
				}
			}
		})
	}
	for _, x := range all {
		if ctx.Err() != nil {
			break
		}
		work <- x
	}
	close(work)
	wg.Wait()
	return context.Cause(ctx)
}
