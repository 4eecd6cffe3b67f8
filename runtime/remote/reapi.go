package remote

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"sync"

	"orrery/runtime/cache"
)

// The methods of the remote execution protocol, version 2.
const (
	services        = "build.bazel.remote.execution.v2."
	methodAbilities = services + "Capabilities/GetCapabilities"
	methodResult    = services + "ActionCache/GetActionResult"
	methodPublish   = services + "ActionCache/UpdateActionResult"
	methodMissing   = services + "ContentAddressableStorage/FindMissingBlobs"
	methodReadBatch = services + "ContentAddressableStorage/BatchReadBlobs"
	methodBatch     = services + "ContentAddressableStorage/BatchUpdateBlobs"
	methodRead      = "google.bytestream.ByteStream/Read"
	methodWrite     = "google.bytestream.ByteStream/Write"
)

// What a batch may hold: servers refuse messages of 4 MiB and more. chunk is one of ByteStream.
const (
	maxBatch  = 4<<20 - 64<<10
	maxAsked  = 10000 // digests in one question
	perDigest = 160   // bytes of a blob in a batch besides its content
	chunk     = 256 << 10
)

// reapi is a server of the remote execution protocol, of which we use the caches. Its digests are SHA-256.
type reapi struct {
	rpc
	instance string

	mu    sync.Mutex
	batch int64 // what the server takes in a batch; 0: not known yet
}

func (s *reapi) request() (m message) {
	m.text(1, s.instance)
	return m
}

// check asks for the capabilities.
func (s *reapi) check(ctx context.Context, write bool) error {
	b, err := s.unary(ctx, methodAbilities, s.request())
	var status *statusError
	if errors.As(err, &status) && status.code == codeUnimplemented {
		return nil // then the calls will tell
	}
	if err != nil {
		return err
	}
	a, err := readAbilities(b)
	switch {
	case err != nil:
		return err
	case !a.sha256:
		return fmt.Errorf("%w: it does not take digests of SHA-256", errUnfit)
	case write && !a.update:
		return fmt.Errorf("%w for writing: it takes no results from us", errUnfit)
	}
	if a.maxBatch > 0 {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.batch = min(a.maxBatch, maxBatch)
	}
	return nil
}

func (s *reapi) limit() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.batch == 0 {
		return maxBatch
	}
	return s.batch
}

func (s *reapi) result(ctx context.Context, action cache.Blob) ([]byte, error) {
	m := s.request()
	m.digest(2, action)
	m.item(5, extraRecord) // to be sent along, if the server does that
	m.num(6, digestSHA256)
	return s.unary(ctx, methodResult, m)
}

func (s *reapi) publish(ctx context.Context, action cache.Blob, result []byte) error {
	m := s.request()
	m.digest(2, action)
	m.sub(3, result)
	m.num(5, digestSHA256)
	_, err := s.unary(ctx, methodPublish, m)
	return err
}

func (s *reapi) missing(ctx context.Context, blobs []cache.Blob) (lacks []cache.Blob, err error) {
	for len(blobs) > 0 {
		part := blobs[:min(len(blobs), maxAsked)]
		blobs = blobs[len(part):]
		m := s.request()
		for _, b := range part {
			m.digest(2, b)
		}
		m.num(3, digestSHA256)
		b, err := s.unary(ctx, methodMissing, m)
		if err == nil {
			err = fields(b, func(f field) error {
				if f.n != 2 {
					return nil
				}
				d, err := readDigest(f.data)
				lacks = append(lacks, d)
				return err
			})
		}
		if err != nil {
			return nil, err
		}
	}
	return lacks, nil
}

// split makes batches of what is small enough; the rest is large.
func split[T any](all []T, limit int64, size func(T) int64) (batches [][]T, large []T) {
	var now []T
	var sum int64
	for _, x := range all {
		n := size(x) + perDigest
		if n > limit/2 {
			large = append(large, x)
			continue
		}
		if sum+n > limit {
			batches = append(batches, now)
			now, sum = nil, 0
		}
		now, sum = append(now, x), sum+n
	}
	if len(now) > 0 {
		batches = append(batches, now)
	}
	return batches, large
}

func (s *reapi) read(ctx context.Context, blobs []cache.Blob, to sink) error {
	batches, large := split(blobs, s.limit(), func(b cache.Blob) int64 { return b.Size })
	for _, b := range large {
		batches = append(batches, []cache.Blob{b})
	}
	return each(ctx, batches, func(ctx context.Context, part []cache.Blob) error {
		if len(part) == 1 && part[0].Size > chunk {
			return s.readStream(ctx, part[0], to)
		}
		return s.readBatch(ctx, part, to)
	})
}

func (s *reapi) readBatch(ctx context.Context, blobs []cache.Blob, to sink) error {
	m := s.request()
	want := map[cache.Blob]bool{}
	for _, b := range blobs {
		m.digest(2, b)
		want[b] = true
	}
	m.num(4, digestSHA256)
	b, err := s.unary(ctx, methodReadBatch, m)
	if err != nil {
		return err
	}
	all, err := readBatch(b, 3)
	if err != nil {
		return err
	}
	for _, a := range all {
		if !want[a.blob] {
			return errWire
		}
		delete(want, a.blob)
		if err := a.status.err(); err != nil {
			return err
		}
		if err := to(a.blob, bytes.NewReader(a.data)); err != nil {
			return err
		}
	}
	if len(want) > 0 {
		return errors.New("the server left blobs out of its answer")
	}
	return nil
}

// prefix begins the names of resources.
func (s *reapi) prefix() string {
	if s.instance == "" {
		return ""
	}
	return s.instance + "/"
}

func (s *reapi) readStream(ctx context.Context, b cache.Blob, to sink) error {
	var m message
	m.text(1, fmt.Sprintf("%sblobs/%s/%d", s.prefix(), b.Hash, b.Size))
	r, err := s.start(ctx, methodRead, bytes.NewReader(frame(m)))
	if err != nil {
		return err
	}
	defer r.close()
	return to(b, &download{reply: r})
}

// download reads the content of a stream.
type download struct {
	*reply
	rest []byte
}

// Read reads; it ends without an error only if the call did.
func (d *download) Read(p []byte) (int, error) {
	for len(d.rest) == 0 {
		msg, err := d.next()
		if err != nil {
			return 0, err
		}
		err = fields(msg, func(f field) error {
			if f.n == 10 {
				d.rest = f.data
			}
			return nil
		})
		if err != nil {
			return 0, err
		}
	}
	n := copy(p, d.rest)
	d.rest = d.rest[n:]
	return n, nil
}

func (s *reapi) write(ctx context.Context, blobs []source) error {
	batches, large := split(blobs, s.limit(), func(b source) int64 { return b.Size })
	for _, b := range large {
		batches = append(batches, []source{b})
	}
	return each(ctx, batches, func(ctx context.Context, part []source) error {
		if len(part) == 1 && part[0].Size > chunk {
			return s.writeStream(ctx, part[0])
		}
		return s.writeBatch(ctx, part)
	})
}

func (s *reapi) writeBatch(ctx context.Context, blobs []source) error {
	m := s.request()
	for _, b := range blobs {
		f, err := b.open()
		if err != nil {
			return err
		}
		data, err := io.ReadAll(io.LimitReader(f, b.Size+1))
		if err = errors.Join(err, f.Close()); err != nil {
			return err
		}
		var one message
		one.digest(1, b.Blob)
		one.bytes(2, data)
		m.sub(2, one)
	}
	m.num(5, digestSHA256)
	b, err := s.unary(ctx, methodBatch, m)
	if err != nil {
		return err
	}
	all, err := readBatch(b, 2)
	if err != nil {
		return err
	}
	for _, a := range all {
		if err := a.status.err(); err != nil {
			return err
		}
	}
	return nil
}

func (s *reapi) writeStream(ctx context.Context, b source) error {
	f, err := b.open()
	if err != nil {
		return err
	}
	defer f.Close()
	up := &upload{from: f, left: b.Size, name: fmt.Sprintf("%suploads/%s/blobs/%s/%d", s.prefix(), uuid(), b.Hash, b.Size)}
	r, err := s.start(ctx, methodWrite, up)
	if err != nil {
		return err
	}
	defer r.close()
	msg, err := r.only()
	if err != nil {
		return err
	}
	var got int64
	err = fields(msg, func(f field) error {
		if f.n == 1 {
			got = int64(f.v)
		}
		return nil
	})
	if err == nil && got != b.Size {
		err = fmt.Errorf("the server took %d bytes of a blob of %d", got, b.Size)
	}
	return err
}

// uuid is a random one, in the form that the protocol asks for.
func uuid() string {
	var b [16]byte
	rand.Read(b[:])
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// upload is the body of a ByteStream.Write.
type upload struct {
	from io.Reader
	name string // goes with the first message
	at   int64
	left int64
	out  []byte // of the message that is being sent
	end  bool
}

// Read gives the messages one after the other.
func (u *upload) Read(p []byte) (int, error) {
	if len(u.out) == 0 {
		if u.end {
			return 0, io.EOF
		}
		data := make([]byte, min(chunk, u.left))
		if _, err := io.ReadFull(u.from, data); err != nil {
			return 0, fmt.Errorf("cannot read the blob: %w", err)
		}
		var m message
		m.text(1, u.name)
		m.num(2, u.at)
		u.at, u.left = u.at+int64(len(data)), u.left-int64(len(data))
		u.end = u.left == 0
		m.flag(3, u.end)
		m.bytes(10, data)
		u.name, u.out = "", frame(m)
	}
	n := copy(p, u.out)
	u.out = u.out[n:]
	return n, nil
}
