package control

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
)

func TestReadLine(t *testing.T) {
	r := bufio.NewReaderSize(strings.NewReader("\nab\n"+strings.Repeat("x", 40)+"\n"+strings.Repeat("y", 41)+"\n"), 16)
	for _, want := range []string{"", "ab", strings.Repeat("x", 40)} {
		got, err := readLine(r, 40)
		if err != nil || string(got) != want {
			t.Fatalf("got %q, %v, want %q", got, err, want)
		}
	}
	if _, err := readLine(r, 40); !errors.Is(err, errLineTooLong) {
		t.Errorf("got %v, want %v", err, errLineTooLong)
	}
	if _, err := readLine(bufio.NewReader(strings.NewReader("cut")), 40); err != io.ErrUnexpectedEOF {
		t.Errorf("got %v, want %v", err, io.ErrUnexpectedEOF)
	}
}

func TestParseRequest(t *testing.T) {
	for line, want := range map[string]string{
		`{"id":1,"method":"status"}`:                  "",
		`{"id":1,"method":"status","params":{"a":1}}`: "",
		`{"id":1,"cancel":true}`:                      "",
		``:                                            "cannot read request",
		`null`:                                        "without an id",
		`7`:                                           "cannot read request",
		`{"id":0,"method":"x"}`:                       "without an id",
		`{"id":-1,"method":"x"}`:                      "cannot read request",
		`{"id":1}`:                                    "without a method",
		`{"id":1,"method":"x","cancel":true}`:         "cancel and a method",
		`{"id":1,"method":"x","more":1}`:              "unknown field",
		`{"id":1,"method":"x"}{}`:                     "more than one value",
		`{"id":1,"method":"x"`:                        "cannot read request",
		strings.Repeat("[", 100_000):                  "cannot read request",
	} {
		_, err := parseRequest([]byte(line))
		if want == "" {
			check(t, err)
		} else {
			wantError(t, err, want)
		}
	}
}

func TestDecode(t *testing.T) {
	var p struct{ N int }
	check(t, Decode(nil, &p))
	check(t, Decode(json.RawMessage(`{"n":3}`), &p))
	if p.N != 3 {
		t.Errorf("got %d, want 3", p.N)
	}
	for _, bad := range []string{`{"m":3}`, `{"n":"3"}`, `[]`, `{} {}`} {
		var e *Error
		if err := Decode(json.RawMessage(bad), &p); !errors.As(err, &e) || e.Code != CodeBadRequest {
			t.Errorf("%s: got %v, want %s", bad, err, CodeBadRequest)
		}
	}
	wantError(t, Decode(nil, &picky{}), "too picky")
}

type picky struct{}

func (*picky) Check() error { return errors.New("too picky") }

// Whatever comes, a line is bounded, and the lines together with their newlines are the input again.
func FuzzReadLine(f *testing.F) {
	f.Add([]byte("{\"orrery\":1}\n{\"id\":1}\n"), uint8(30))
	f.Add([]byte("\n\n\x00\xff\n"), uint8(0))
	f.Fuzz(func(t *testing.T, in []byte, max uint8) {
		r := bufio.NewReaderSize(bytes.NewReader(in), 16)
		var out []byte
		for {
			line, err := readLine(r, int(max))
			if err != nil {
				rest, _, _ := bytes.Cut(in[len(out):], []byte{'\n'})
				switch {
				case err == errLineTooLong && len(rest) > int(max):
				case err == io.EOF && len(out) == len(in):
				case err == io.ErrUnexpectedEOF && len(out)+len(rest) == len(in):
				default:
					t.Fatalf("got %v after %q of %q", err, out, in)
				}
				return
			}
			if len(line) > int(max) {
				t.Fatalf("got a line of %d bytes, want at most %d", len(line), max)
			}
			out = append(append(out, line...), '\n')
			if !bytes.HasPrefix(in, out) {
				t.Fatalf("got %q of %q", out, in)
			}
		}
	})
}

// What is accepted has the shape of a request, and means the same when it is written again.
func FuzzParseRequest(f *testing.F) {
	f.Add([]byte(`{"id":1,"method":"status","params":{"a":[1,2,"\n"]}}`))
	f.Add([]byte(`{"id":18446744073709551615,"cancel":true}`))
	f.Add([]byte(`{"id":1,"method":"x","params":null}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		parseHello(line)
		q, err := parseRequest(line)
		if err != nil {
			return
		}
		if q.ID == 0 || q.Cancel == (q.Method != "") {
			t.Fatalf("got %+v", q)
		}
		again, err := encode(q)
		check(t, err)
		if bytes.IndexByte(again, '\n') != len(again)-1 {
			t.Fatalf("got newlines in %q", again)
		}
		p, err := parseRequest(again)
		check(t, err)
		p.Params, q.Params = compact(t, p.Params), compact(t, q.Params)
		if !reflect.DeepEqual(p, q) {
			t.Fatalf("got %+v, want %+v", p, q)
		}
	})
}

func compact(t *testing.T, m json.RawMessage) json.RawMessage {
	if m == nil {
		return nil
	}
	var b bytes.Buffer
	check(t, json.Compact(&b, m))
	return b.Bytes()
}
