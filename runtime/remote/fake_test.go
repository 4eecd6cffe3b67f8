package remote

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"google.golang.org/genproto/googleapis/bytestream"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// fake is a server of both protocols, on the generated messages, with faults. It refuses what a strict server refuses: blobs that are not
// what they are called, results whose blobs it lacks, batches of 4 MiB.
type fake struct {
	repb.UnimplementedCapabilitiesServer
	repb.UnimplementedActionCacheServer
	repb.UnimplementedContentAddressableStorageServer
	bytestream.UnimplementedByteStreamServer

	mu    sync.Mutex
	cas   map[string][]byte
	ac    map[string][]byte
	calls map[string]int

	// The faults.
	slow, lie, truncate, readOnly, noHead, foreign, inline, stall bool
	token                                                         string
	done                                                          chan struct{}
	called                                                        chan struct{} // closed at the first call
}

func newFake(t *testing.T) *fake {
	f := &fake{cas: map[string][]byte{}, ac: map[string][]byte{}, calls: map[string]int{}, done: make(chan struct{}), called: make(chan struct{})}
	f.cas[contentOf(nil).blob.Hash] = nil
	return f
}

// serve starts it with one of the protocols and gives its URL.
func (f *fake) serve(t *testing.T, protocol string, more ...grpc.ServerOption) string {
	t.Helper()
	if protocol == "http" {
		s := httptest.NewServer(f)
		t.Cleanup(s.Close)
		t.Cleanup(f.release)
		return s.URL + "/some/cache"
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer(append(more, grpc.UnaryInterceptor(f.unary), grpc.StreamInterceptor(f.stream))...)
	repb.RegisterCapabilitiesServer(s, f)
	repb.RegisterActionCacheServer(s, f)
	repb.RegisterContentAddressableStorageServer(s, f)
	bytestream.RegisterByteStreamServer(s, f)
	go s.Serve(l)
	t.Cleanup(s.Stop)
	t.Cleanup(f.release)
	return "grpc://" + l.Addr().String() + "/some/cache"
}

func (f *fake) release() {
	f.mu.Lock()
	defer f.mu.Unlock()
	select {
	case <-f.done:
	default:
		close(f.done)
	}
}

func (f *fake) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

// enter is called before every call.
func (f *fake) enter(ctx context.Context, name string, write bool, tokens []string) error {
	f.mu.Lock()
	if len(f.calls) == 0 {
		close(f.called)
	}
	f.calls[name]++
	slow, readOnly, token := f.slow, f.readOnly, f.token
	f.mu.Unlock()
	if slow {
		select {
		case <-f.done:
		case <-ctx.Done():
		}
		return status.Error(codes.Unavailable, "too late")
	}
	if token != "" && (len(tokens) != 1 || tokens[0] != token) {
		return status.Error(codes.Unauthenticated, "who are you?")
	}
	if write && readOnly {
		return status.Error(codes.PermissionDenied, "not you\x1b[31m")
	}
	return nil
}

func (f *fake) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, h grpc.UnaryHandler) (any, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	name := info.FullMethod[strings.LastIndex(info.FullMethod, "/")+1:]
	if err := f.enter(ctx, name, strings.Contains(name, "Update"), md.Get("authorization")); err != nil {
		return nil, err
	}
	if i, ok := req.(interface{ GetInstanceName() string }); ok && i.GetInstanceName() != "some/cache" {
		return nil, status.Error(codes.InvalidArgument, "no such instance "+i.GetInstanceName())
	}
	return h(ctx, req)
}

func (f *fake) stream(srv any, s grpc.ServerStream, info *grpc.StreamServerInfo, h grpc.StreamHandler) error {
	md, _ := metadata.FromIncomingContext(s.Context())
	name := info.FullMethod[strings.LastIndex(info.FullMethod, "/")+1:]
	if err := f.enter(s.Context(), name, name == "Write", md.Get("authorization")); err != nil {
		return err
	}
	return h(srv, s)
}

// get gives a blob as it is sent.
func (f *fake) get(hash string) ([]byte, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	data, ok := f.cas[hash]
	if f.lie && len(data) > 0 {
		data = append([]byte{data[0] ^ 1}, data[1:]...)
	}
	return data, ok
}

func (f *fake) put(hash string, data []byte) error {
	sum := sha256.Sum256(data)
	if hex.EncodeToString(sum[:]) != hash {
		return status.Error(codes.InvalidArgument, "that is not its digest")
	}
	f.set(func() { f.cas[hash] = data })
	return nil
}

// keep checks a result as a strict server does.
func (f *fake) keep(hash string, r *repb.ActionResult) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	read := func(d *repb.Digest, m proto.Message) error {
		data, ok := f.cas[d.GetHash()]
		if !ok || int64(len(data)) != d.GetSizeBytes() {
			return status.Errorf(codes.FailedPrecondition, "lacks %v", d)
		}
		if m == nil {
			return nil
		}
		if err := proto.Unmarshal(data, m); err != nil {
			return err
		}
		if again, err := (proto.MarshalOptions{Deterministic: true}).Marshal(m); err != nil || string(again) != string(data) {
			return status.Errorf(codes.InvalidArgument, "%T is not canonical", m)
		}
		if len(m.ProtoReflect().GetUnknown()) > 0 {
			return status.Errorf(codes.InvalidArgument, "%T has unknown fields", m)
		}
		return nil
	}
	var a repb.Action
	var c repb.Command
	var root repb.Directory
	data := f.cas[hash]
	err := read(&repb.Digest{Hash: hash, SizeBytes: int64(len(data))}, &a)
	for _, next := range []func() error{
		func() error { return read(a.CommandDigest, &c) },
		func() error { return read(a.InputRootDigest, &root) },
		func() error { return read(root.Files[0].Digest, nil) },
	} {
		if err == nil {
			err = next()
		}
	}
	for _, o := range r.OutputFiles {
		if err == nil {
			err = read(o.Digest, nil)
		}
	}
	for _, o := range r.OutputDirectories {
		var tree repb.Tree
		if err == nil {
			err = read(o.TreeDigest, &tree)
		}
		for _, d := range append(tree.Children, tree.Root) {
			for _, file := range d.GetFiles() {
				if err == nil {
					err = read(file.Digest, nil)
				}
			}
		}
	}
	if err == nil && len(r.StdoutRaw)+len(r.StderrRaw) > 0 {
		err = status.Error(codes.InvalidArgument, "stdout_raw is set")
	}
	if err != nil {
		return err
	}
	text, err := proto.Marshal(r)
	f.ac[hash] = text
	return err
}

// GetCapabilities is of the protocol, as are those that follow.
func (f *fake) GetCapabilities(context.Context, *repb.GetCapabilitiesRequest) (*repb.ServerCapabilities, error) {
	functions := []repb.DigestFunction_Value{repb.DigestFunction_BLAKE3, repb.DigestFunction_SHA256}
	if f.foreign {
		functions = functions[:1]
	}
	return &repb.ServerCapabilities{CacheCapabilities: &repb.CacheCapabilities{
		DigestFunctions: functions, MaxBatchTotalSizeBytes: 3 << 20,
		ActionCacheUpdateCapabilities: &repb.ActionCacheUpdateCapabilities{UpdateEnabled: !f.readOnly},
	}}, nil
}

func (f *fake) GetActionResult(_ context.Context, r *repb.GetActionResultRequest) (*repb.ActionResult, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	text, ok := f.ac[r.ActionDigest.Hash]
	if !ok {
		return nil, status.Error(codes.NotFound, "no such result")
	}
	var a repb.ActionResult
	err := proto.Unmarshal(text, &a)
	for _, o := range a.OutputFiles {
		if f.inline && len(r.InlineOutputFiles) == 1 && o.Path == r.InlineOutputFiles[0] {
			o.Contents = f.cas[o.Digest.Hash]
		}
	}
	return &a, err
}

func (f *fake) UpdateActionResult(_ context.Context, r *repb.UpdateActionResultRequest) (*repb.ActionResult, error) {
	return r.ActionResult, f.keep(r.ActionDigest.Hash, r.ActionResult)
}

func (f *fake) FindMissingBlobs(_ context.Context, r *repb.FindMissingBlobsRequest) (*repb.FindMissingBlobsResponse, error) {
	out := &repb.FindMissingBlobsResponse{}
	for _, d := range r.BlobDigests {
		if _, ok := f.get(d.Hash); !ok {
			out.MissingBlobDigests = append(out.MissingBlobDigests, d)
		}
	}
	return out, nil
}

func (f *fake) BatchUpdateBlobs(_ context.Context, r *repb.BatchUpdateBlobsRequest) (*repb.BatchUpdateBlobsResponse, error) {
	out := &repb.BatchUpdateBlobsResponse{}
	if proto.Size(r) > 3<<20 {
		return nil, status.Error(codes.InvalidArgument, "too large")
	}
	for _, q := range r.Requests {
		st := status.Convert(f.put(q.Digest.Hash, q.Data)).Proto()
		out.Responses = append(out.Responses, &repb.BatchUpdateBlobsResponse_Response{Digest: q.Digest, Status: st})
	}
	return out, nil
}

func (f *fake) BatchReadBlobs(_ context.Context, r *repb.BatchReadBlobsRequest) (*repb.BatchReadBlobsResponse, error) {
	out := &repb.BatchReadBlobsResponse{}
	for _, d := range r.Digests {
		data, ok := f.get(d.Hash)
		st := status.New(codes.OK, "")
		if !ok {
			st = status.New(codes.NotFound, "no such blob")
		}
		if f.truncate {
			data = data[:len(data)/2]
		}
		out.Responses = append(out.Responses, &repb.BatchReadBlobsResponse_Response{Digest: d, Data: data, Status: st.Proto()})
	}
	if proto.Size(out) > 3<<20 {
		return nil, status.Error(codes.InvalidArgument, "too large")
	}
	return out, nil
}

func (f *fake) Read(r *bytestream.ReadRequest, s bytestream.ByteStream_ReadServer) error {
	var hash string
	var size int
	if _, err := fmt.Sscanf(strings.ReplaceAll(r.ResourceName, "/", " "), "some cache blobs %s %d", &hash, &size); err != nil {
		return status.Error(codes.InvalidArgument, r.ResourceName)
	}
	data, ok := f.get(hash)
	if !ok || len(data) != size {
		return status.Error(codes.NotFound, "no such blob")
	}
	if f.truncate {
		data = data[:len(data)/2]
	}
	for len(data) > 0 {
		n := min(len(data), 100000)
		if err := s.Send(&bytestream.ReadResponse{Data: data[:n]}); err != nil {
			return err
		}
		if data = data[n:]; f.stall {
			<-f.done
		}
	}
	return nil
}

func (f *fake) Write(s bytestream.ByteStream_WriteServer) error {
	var data []byte
	var hash, id string
	var size int
	for {
		r, err := s.Recv()
		if err != nil {
			return err
		}
		if len(data) == 0 {
			if _, err := fmt.Sscanf(strings.ReplaceAll(r.ResourceName, "/", " "), "some cache uploads %s blobs %s %d", &id, &hash, &size); err != nil {
				return status.Error(codes.InvalidArgument, r.ResourceName)
			}
			if _, ok := f.get(hash); ok { // an answer before the end: somebody was faster
				return s.SendAndClose(&bytestream.WriteResponse{CommittedSize: int64(size)})
			}
		}
		if r.WriteOffset != int64(len(data)) {
			return status.Error(codes.InvalidArgument, "a gap")
		}
		data = append(data, r.Data...)
		if r.FinishWrite {
			if err := f.put(hash, data); err != nil {
				return err
			}
			return s.SendAndClose(&bytestream.WriteResponse{CommittedSize: int64(len(data))})
		}
	}
}

// ServeHTTP is the plain protocol.
func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	put := r.Method == http.MethodPut
	parts := strings.Split(strings.TrimPrefix(r.URL.Path, "/some/cache/"), "/")
	if len(parts) != 2 {
		http.Error(w, "no such path "+r.URL.Path, http.StatusBadRequest)
		return
	}
	if err := f.enter(r.Context(), r.Method+" "+parts[0], put, r.Header.Values("Authorization")); err != nil {
		codes := map[codes.Code]int{codes.Unauthenticated: 401, codes.PermissionDenied: 403, codes.Unavailable: 503}
		http.Error(w, err.Error(), codes[status.Code(err)])
		return
	}
	hash := parts[1]
	if put {
		data, err := io.ReadAll(r.Body)
		var a repb.ActionResult
		switch {
		case err != nil:
		case parts[0] == "cas":
			err = f.put(hash, data)
		default:
			if err = proto.Unmarshal(data, &a); err == nil {
				err = f.keep(hash, &a)
			}
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
		}
		return
	}
	if r.Method == http.MethodHead && f.noHead {
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	data, ok := f.get(hash)
	if parts[0] == "ac" {
		f.set(func() { data, ok = f.ac[hash] })
	}
	if !ok {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Length", fmt.Sprint(len(data)))
	if f.truncate && parts[0] == "cas" {
		data = data[:len(data)/2]
	}
	if f.stall && len(data) > 1<<20 {
		w.Write(data[:1<<20])
		w.(http.Flusher).Flush()
		<-f.done
	}
	w.Write(data)
}
