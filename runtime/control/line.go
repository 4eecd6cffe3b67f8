package control

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// protocol is the number that both sides must say. It grows when an old peer would misread a line.
const protocol = 1

// helloLine bounds the first line of a peer that we do not know yet, in bytes.
const helloLine = 4096

// hello is the first line from each side.
type hello struct {
	Orrery  int    `json:"orrery"`
	Version string `json:"version"`
}

// request is a line from a client.
type request struct {
	ID     uint64          `json:"id"`
	Method string          `json:"method,omitempty"`
	Params json.RawMessage `json:"params,omitempty"`
	Cancel bool            `json:"cancel,omitempty"`
}

// reply is a line from a server, after its hello.
type reply struct {
	ID     uint64          `json:"id,omitempty"`
	Event  json.RawMessage `json:"event,omitempty"`
	Result json.RawMessage `json:"result,omitempty"`
	Done   bool            `json:"done,omitempty"`
	Error  *Error          `json:"error,omitempty"`
}

// last tells whether nothing more follows for this id.
func (r reply) last() bool { return r.Done || r.Error != nil || r.Event == nil }

// errLineTooLong is what readLine gives for a line over its bound.
var errLineTooLong = errors.New("line too long")

// readLine gives the next line without its newline; the bytes are the caller's. At most max bytes are kept in memory. A
// last line without a newline is io.ErrUnexpectedEOF: its sender was cut off.
func readLine(r *bufio.Reader, max int) ([]byte, error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		if len(line)+len(bytes.TrimSuffix(part, []byte{'\n'})) > max {
			return nil, errLineTooLong
		}
		line = append(line, part...)
		switch {
		case err == nil:
			return line[:len(line)-1], nil
		case errors.Is(err, bufio.ErrBufferFull):
		case err == io.EOF && len(line) > 0:
			return nil, io.ErrUnexpectedEOF
		default:
			return nil, err
		}
	}
}

// parseHello reads a first line. Unknown fields are allowed: a later protocol must be able to say its number.
func parseHello(line []byte) (hello, error) {
	var h hello
	if err := json.Unmarshal(line, &h); err != nil || h.Orrery <= 0 {
		return hello{}, fmt.Errorf("got first line %s, want {\"orrery\":%d,\"version\":...}", shorten(line), protocol)
	}
	return h, nil
}

// parseRequest reads a line from a client and checks its shape.
func parseRequest(line []byte) (request, error) {
	var q request
	d := json.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields()
	if err := d.Decode(&q); err != nil {
		return request{}, fmt.Errorf("cannot read request %s: %w", shorten(line), err)
	}
	if _, err := d.Token(); err != io.EOF {
		return request{}, fmt.Errorf("got more than one value in line %s, want one request", shorten(line))
	}
	switch {
	case q.ID == 0:
		return request{}, fmt.Errorf("got request %s without an id, want an id above 0", shorten(line))
	case q.Cancel && (q.Method != "" || q.Params != nil):
		return request{}, fmt.Errorf("got request %s with cancel and a method, want one of them", shorten(line))
	case !q.Cancel && q.Method == "":
		return request{}, fmt.Errorf("got request %s without a method, want one", shorten(line))
	}
	return q, nil
}

// encode gives v as one line with its newline.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// raw gives v as JSON to be put inside another line.
func raw(v any) (json.RawMessage, error) {
	line, err := encode(v)
	return bytes.TrimSuffix(line, []byte{'\n'}), err
}

// shorten quotes the start of a line for a message.
func shorten(line []byte) string {
	if len(line) > 60 {
		return fmt.Sprintf("%q...", line[:60])
	}
	return fmt.Sprintf("%q", line)
}
