// Package control is how the processes of one checkout find each other and talk: where the project's things lie
// (Place), the lock that lets one engine run a checkout (Lock), and a line protocol over a unix socket (Serve, Dial).
//
// It promises that at most one engine holds a checkout, that a crash leaves nothing to clean up by hand, that only the
// same user and root are served, that a client which stops reading is dropped instead of stalling the engine, and that
// a client's end is noticed at once. What the messages mean is left to the engine; their types are in control/api.
//
// # The protocol, version 1
//
// JSON objects, one a line, at most 16 MiB each, over SOCK_STREAM. Each side first sends
//
//	{"orrery":1,"version":"0.3.0"}
//
// and goes on only when both numbers are equal. Then the client asks, with ids of its own choice above 0:
//
//	{"id":7,"method":"status","params":{}}     a request
//	{"id":7,"cancel":true}                     it no longer wants the answer
//
// and the server answers, in any order between ids:
//
//	{"id":7,"event":{...}}                     any number of these, in order
//	{"id":7,"result":{...}}                    the end of a request that had no events
//	{"id":7,"done":true,"result":{...}}        the end of one that had; the result is absent when there is none
//	{"id":7,"error":{"code":"failed","message":"...","hint":"..."}}
//
// An error without an id speaks of the connection, which the server then closes. End of file from the client means that
// it has gone: its requests are cancelled and what it held can be released.
package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"time"
)

// The codes of an Error. cmd maps them to exit codes; they are part of the protocol.
const (
	// CodeUnknownTarget: no node has that name.
	CodeUnknownTarget = "unknown_target"
	// CodeFailed: a target failed.
	CodeFailed = "failed"
	// CodeTimeout: the time given by the request ran out.
	CodeTimeout = "timeout"
	// CodeGaveUp: a target reached its limit of restarts.
	CodeGaveUp = "gave_up"
	// CodeConflict: a port, a lock or another graph stands in the way.
	CodeConflict = "conflict"
	// CodeInternal: a defect of the engine; also every error of a Handler that is of no other kind.
	CodeInternal = "internal"
	// CodeLoad: services.star does not load.
	CodeLoad = "load"
	// CodeBadRequest: the line or its params are not what the protocol says.
	CodeBadRequest = "bad_request"
	// CodeUnknownMethod: the engine has no such method. A Handler need not fill in message and hint: the server does.
	CodeUnknownMethod = "unknown_method"
	// CodeCancelled: the client took the request back, or the engine is shutting down.
	CodeCancelled = "cancelled"
)

// codeRefused answers a client whose user or protocol number is not ours. Dial turns it into an ErrNoEngine.
const codeRefused = "refused"

// Error is a failure that crosses the socket unchanged: a Handler returns one, Client.Call gives it back.
type Error struct {
	// Code is one of the Code constants.
	Code string `json:"code"`
	// Message says what could not be done, in one line.
	Message string `json:"message"`
	// Hint says what to do about it; may be empty.
	Hint string `json:"hint,omitempty"`
}

// Error gives the message, or the code where there is none.
func (e *Error) Error() string {
	if e.Message == "" {
		return e.Code
	}
	return e.Message
}

// Decode reads a request's params into v, a pointer to a struct, and calls v's Check() error if it has one. A field that
// v does not have is an error: nothing is parsed and ignored. Absent params leave v as it is. The error is an *Error with
// CodeBadRequest.
func Decode(params json.RawMessage, v any) error {
	if len(params) > 0 {
		d := json.NewDecoder(bytes.NewReader(params))
		d.DisallowUnknownFields()
		if err := d.Decode(v); err != nil {
			return &Error{Code: CodeBadRequest, Message: fmt.Sprintf("cannot read params: %v", err)}
		}
		if _, err := d.Token(); err != io.EOF {
			return &Error{Code: CodeBadRequest, Message: "cannot read params: got more than one value"}
		}
	}
	if c, ok := v.(interface{ Check() error }); ok {
		if err := c.Check(); err != nil {
			return &Error{Code: CodeBadRequest, Message: err.Error()}
		}
	}
	return nil
}

// asError is the form in which a Handler's error crosses the socket.
func asError(err error, method, version string) *Error {
	var e *Error
	switch {
	case errors.As(err, &e):
		if e.Code != CodeUnknownMethod || e.Message != "" {
			return e
		}
		return &Error{
			Code:    CodeUnknownMethod,
			Message: fmt.Sprintf("unknown method %q", method),
			Hint:    fmt.Sprintf("the running engine is version %s; `orrery down` and start it again with this version", version),
		}
	case errors.Is(err, context.Canceled):
		return &Error{Code: CodeCancelled, Message: method + ": cancelled"}
	case errors.Is(err, context.DeadlineExceeded):
		return &Error{Code: CodeTimeout, Message: method + ": timed out"}
	}
	return &Error{Code: CodeInternal, Message: err.Error()}
}

// buildVersion is the version that the Go linker knows of this program.
func buildVersion() string {
	if b, ok := debug.ReadBuildInfo(); ok && b.Main.Version != "" {
		return b.Main.Version
	}
	return "unknown"
}

// limits are the bounds of a server or a client; tests make them small.
type limits struct {
	line  int           // bytes of one line, either way
	queue int           // bytes that wait for a reader who does not read
	calls int           // requests of one connection that run at once
	hello time.Duration // until the other side has said hello
	flush time.Duration // for the last lines to leave when a connection ends
	dial  time.Duration // until an engine that holds the lock accepts
}

func defaultLimits() limits {
	return limits{
		line:  16 << 20,
		queue: 4 << 20,
		calls: 1024,
		hello: 5 * time.Second,
		flush: time.Second,
		dial:  10 * time.Second,
	}
}
