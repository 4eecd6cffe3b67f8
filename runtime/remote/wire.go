package remote

import (
	"errors"
	"fmt"
	"strconv"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"

	"orrery/runtime/cache"
)

// message is a protobuf message under construction, its fields in the order of their numbers: the form that digests are taken of. The few
// messages of the protocol are written and read by hand, because the generated ones cost every start of the program more than a
// millisecond; the tests compare with them.
type message []byte

func (m *message) text(n protowire.Number, s string) {
	if s != "" {
		*m = protowire.AppendTag(*m, n, protowire.BytesType)
		*m = protowire.AppendString(*m, wireText(s))
	}
}

func (m *message) bytes(n protowire.Number, b []byte) {
	if len(b) > 0 {
		*m = protowire.AppendTag(*m, n, protowire.BytesType)
		*m = protowire.AppendBytes(*m, b)
	}
}

func (m *message) num(n protowire.Number, v int64) {
	if v != 0 {
		*m = protowire.AppendTag(*m, n, protowire.VarintType)
		*m = protowire.AppendVarint(*m, uint64(v))
	}
}

func (m *message) flag(n protowire.Number, v bool) {
	if v {
		m.num(n, 1)
	}
}

func (m *message) sub(n protowire.Number, sub message) {
	*m = protowire.AppendTag(*m, n, protowire.BytesType)
	*m = protowire.AppendBytes(*m, sub)
}

func (m *message) digest(n protowire.Number, b cache.Blob) {
	var d message
	d.text(1, b.Hash)
	d.num(2, b.Size)
	m.sub(n, d)
}

// wireText is a text as protobuf can hold it: what is no UTF-8 is quoted.
func wireText(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	return strconv.QuoteToASCII(s)
}

// field is one field of a message that was read: data of a text, bytes or message, v of a number.
type field struct {
	n    protowire.Number
	data []byte
	v    uint64
}

// errWire says that what a server sent is no message.
var errWire = errors.New("got an answer that is no message of the protocol")

// fields calls visit for every field.
func fields(b []byte, visit func(field) error) error {
	for len(b) > 0 {
		n, kind, size := protowire.ConsumeTag(b)
		if size < 0 {
			return errWire
		}
		b = b[size:]
		f := field{n: n}
		switch kind {
		case protowire.BytesType:
			f.data, size = protowire.ConsumeBytes(b)
		case protowire.VarintType:
			f.v, size = protowire.ConsumeVarint(b)
		default:
			size = protowire.ConsumeFieldValue(n, kind, b)
		}
		if size < 0 {
			return errWire
		}
		b = b[size:]
		if err := visit(f); err != nil {
			return err
		}
	}
	return nil
}

// readDigest reads a Digest.
func readDigest(b []byte) (d cache.Blob, err error) {
	err = fields(b, func(f field) error {
		switch f.n {
		case 1:
			d.Hash = string(f.data)
		case 2:
			d.Size = int64(f.v)
		}
		return nil
	})
	if err == nil && (len(d.Hash) != 64 || d.Size < 0) {
		err = fmt.Errorf("got the digest %.80q of %d bytes, want one of SHA-256", d.Hash, d.Size)
	}
	return d, err
}

// readStatus reads a google.rpc.Status.
func readStatus(b []byte) (s *statusError, err error) {
	s = &statusError{}
	err = fields(b, func(f field) error {
		switch f.n {
		case 1:
			s.code = code(f.v)
		case 2:
			s.text = plain(string(f.data))
		}
		return nil
	})
	return s, err
}

// answered is one blob of an answer to a batch.
type answered struct {
	blob   cache.Blob
	data   []byte
	status *statusError
}

// readBatch reads a BatchReadBlobsResponse (its status is field 3) or a BatchUpdateBlobsResponse (2).
func readBatch(b []byte, status protowire.Number) (all []answered, err error) {
	err = fields(b, func(f field) error {
		if f.n != 1 {
			return nil
		}
		a := answered{status: &statusError{}}
		err := fields(f.data, func(f field) (err error) {
			switch f.n {
			case 1:
				a.blob, err = readDigest(f.data)
			case status:
				a.status, err = readStatus(f.data)
			case 2:
				a.data = f.data
			}
			return err
		})
		all = append(all, a)
		return err
	})
	return all, err
}

// abilities are what a server says that it can do.
type abilities struct {
	sha256, update bool
	maxBatch       int64 // 0: not said
}

// readAbilities reads ServerCapabilities.
func readAbilities(b []byte) (a abilities, err error) {
	err = fields(b, func(f field) error {
		if f.n != 1 { // cache_capabilities
			return nil
		}
		return fields(f.data, func(f field) error {
			switch f.n {
			case 1: // packed, or one by one
				if f.data == nil {
					a.sha256 = a.sha256 || f.v == digestSHA256
				}
				for rest := f.data; len(rest) > 0; {
					v, n := protowire.ConsumeVarint(rest)
					if n < 0 {
						return errWire
					}
					a.sha256 = a.sha256 || v == digestSHA256
					rest = rest[n:]
				}
			case 2:
				return fields(f.data, func(f field) error {
					a.update = a.update || f.n == 1 && f.v != 0
					return nil
				})
			case 4:
				a.maxBatch = int64(f.v)
			}
			return nil
		})
	})
	return a, err
}

// digestSHA256 is DigestFunction.SHA256.
const digestSHA256 = 1

// item is an element of a repeated text: it is there even if it is empty.
func (m *message) item(n protowire.Number, s string) {
	*m = protowire.AppendTag(*m, n, protowire.BytesType)
	*m = protowire.AppendString(*m, wireText(s))
}
