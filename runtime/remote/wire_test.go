package remote

import (
	"fmt"
	"io/fs"
	"strings"
	"testing"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"pgregory.net/rapid"

	"orrery/runtime/cache"
)

func canonical(t testing.TB, m proto.Message) []byte {
	t.Helper()
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func digestOf(b cache.Blob) *repb.Digest { return &repb.Digest{Hash: b.Hash, SizeBytes: b.Size} }

// keyLines are those of a task.
func keyLines(more ...string) []string {
	return append([]string{
		"orrery-task 1", "platform linux/amd64", "cwd .", `command 1 sh -c "cp a b" ""`, `env LEVEL "two words"`, "env A 1", "output out dist",
		"output all pattern x/** without y", "program sh 0123",
	}, more...)
}

func keyOf(lines []string) string {
	return contentOf([]byte(strings.Join(lines, "\n") + "\n")).blob.Hash
}

// sample is an action with its result, and all blobs of both.
func sample(t *testing.T) (*action, message, []content) {
	t.Helper()
	lines := keyLines("cache_key 1 sample")
	a, err := newAction(keyOf(lines), lines)
	if err != nil {
		t.Fatal(err)
	}
	log := contentOf([]byte("o\x05said\n"))
	one, two := contentOf([]byte("one")), contentOf([]byte("two"))
	r := &cache.Record{Key: keyOf(lines), Task: "t", Lines: a.blobs[3].blob, Log: log.blob, Host: "h", Values: map[string]string{"v": "\xff"}, Outputs: []cache.Entry{
		{Path: "dist", Kind: cache.Dir, Mode: 0o755},
		{Path: "dist-x", Kind: cache.File, Mode: 0o640, Blob: two.blob}, // sorts between the folder and what is in it
		{Path: "dist/a", Kind: cache.File, Mode: 0o755, Blob: one.blob},
		{Path: "dist/empty", Kind: cache.Dir, Mode: 0o700},
		{Path: "dist/sub", Kind: cache.Dir, Mode: 0o755},
		{Path: "dist/sub/b", Kind: cache.File, Mode: 0o600, Blob: two.blob},
		{Path: "dist/sub/l", Kind: cache.Link, Target: "../a"},
		{Path: "link", Kind: cache.Link, Target: "dist"},
	}}
	result, made, err := newResult(r)
	if err != nil {
		t.Fatal(err)
	}
	return a, result, append(append(made, a.blobs...), log, one, two)
}

// TestAction: what we write is what the generated messages write.
func TestAction(t *testing.T) {
	a, result, all := sample(t)
	platform := &repb.Platform{Properties: []*repb.Platform_Property{{Name: "ISA", Value: "x86-64"}, {Name: "OSFamily", Value: "linux"}}}
	command := canonical(t, &repb.Command{
		Arguments:            []string{"sh", "-c", "cp a b", ""},
		EnvironmentVariables: []*repb.Command_EnvironmentVariable{{Name: "A", Value: "1"}, {Name: "LEVEL", Value: "two words"}},
		OutputPaths:          []string{"dist"},
		//lint:ignore SA1019 servers before version 2.2 read it here
		Platform: platform,
	})
	root := canonical(t, &repb.Directory{Files: []*repb.FileNode{{Name: "key", Digest: digestOf(a.blobs[3].blob)}}})
	want := canonical(t, &repb.Action{
		CommandDigest: digestOf(contentOf(command).blob), InputRootDigest: digestOf(contentOf(root).blob), Salt: []byte("orrery 1"), Platform: platform,
	})
	if a.digest != contentOf(want).blob || string(a.blobs[1].data) != string(command) || string(a.blobs[2].data) != string(root) {
		t.Error("the action is not what the generated messages make of it")
	}
	blob := map[string][]byte{}
	for _, c := range all {
		blob[c.blob.Hash] = c.data
	}
	var got repb.ActionResult
	if err := proto.Unmarshal(result, &got); err != nil {
		t.Fatal(err)
	}
	if string(canonical(t, &got)) != string(result) {
		t.Error("the result is not canonical")
	}
	var tree repb.Tree
	if err := proto.Unmarshal(blob[got.OutputDirectories[0].TreeDigest.Hash], &tree); err != nil {
		t.Fatal(err)
	}
	empty := &repb.Directory{}
	sub := &repb.Directory{
		Files:    []*repb.FileNode{{Name: "b", Digest: digestOf(contentOf([]byte("two")).blob)}},
		Symlinks: []*repb.SymlinkNode{{Name: "l", Target: "../a"}},
	}
	wantTree := &repb.Tree{
		Root: &repb.Directory{
			Files: []*repb.FileNode{{Name: "a", Digest: digestOf(contentOf([]byte("one")).blob), IsExecutable: true}},
			Directories: []*repb.DirectoryNode{
				{Name: "empty", Digest: digestOf(contentOf(canonical(t, empty)).blob)}, {Name: "sub", Digest: digestOf(contentOf(canonical(t, sub)).blob)},
			},
		},
		Children: []*repb.Directory{empty, sub},
	}
	if d := cmp.Diff(wantTree, &tree, protocmp.Transform()); d != "" {
		t.Error(d)
	}
	var names []string
	for _, o := range got.OutputFiles {
		names = append(names, fmt.Sprint(o.Path, o.IsExecutable))
	}
	names = append(names, got.OutputDirectories[0].Path, got.OutputSymlinks[0].Path, got.OutputSymlinks[0].Target, got.ExecutionMetadata.Worker)
	if d := cmp.Diff([]string{".orrery/remote/recordfalse", ".orrery/remote/keyfalse", ".orrery/remote/logfalse", "dist-xfalse", "dist", "link", "dist", "h"}, names); d != "" {
		t.Error(d)
	}
	at, err := readResult(result)
	if err != nil || blob[at.blob.Hash] == nil {
		t.Errorf("got %+v, %v", at, err)
	}
}

// TestPrivate: what is of one user or checkout has no action.
func TestPrivate(t *testing.T) {
	lines := keyLines("secret TOKEN 0123")
	if _, err := newAction(keyOf(lines), lines); err != errPrivate {
		t.Errorf("a secret: got %v", err)
	}
	if _, err := newAction(keyOf(nil), keyLines()); err != errPrivate {
		t.Errorf("another key: got %v", err)
	}
	for _, r := range []*cache.Record{
		{Key: keyOf(nil), Outputs: []cache.Entry{{Path: extraRecord, Kind: cache.Link, Target: "x"}}},
		{Key: keyOf(nil), Exit: 1, Outputs: []cache.Entry{{Path: "x", Kind: cache.Link, Target: "x"}}},
	} {
		if _, _, err := newResult(r); err != errPrivate {
			t.Errorf("got %v", err)
		}
	}
}

// TestActionLaws: any lines that have a key have one action, made of valid messages; other lines have another one.
func TestActionLaws(t *testing.T) {
	word := rapid.OneOf(rapid.StringMatching(`[a-z./]{1,5}`), rapid.Just(`""`), rapid.Custom(func(t *rapid.T) string {
		return fmt.Sprintf("%q", string(rapid.SliceOf(rapid.Byte()).Draw(t, "bytes")))
	}))
	line := rapid.Custom(func(t *rapid.T) string {
		kind := rapid.SampledFrom([]string{"command 1", "command 2", "env", "output", "platform", "file", "cwd"}).Draw(t, "kind")
		return strings.Join(append([]string{kind}, rapid.SliceOfN(word, 1, 4).Draw(t, "words")...), " ")
	})
	rapid.Check(t, func(t *rapid.T) {
		lines := rapid.SliceOf(line).Draw(t, "lines")
		a, err := newAction(keyOf(lines), lines)
		if err != nil {
			t.Fatal(err)
		}
		for i, m := range []proto.Message{&repb.Action{}, &repb.Command{}, &repb.Directory{}} {
			if err := proto.Unmarshal(a.blobs[i].data, m); err != nil {
				t.Fatal(err)
			}
		}
		more := append(lines, "file x 1")
		if b, err := newAction(keyOf(more), more); err != nil || b.digest == a.digest {
			t.Fatal("two keys have one action")
		}
	})
}

// TestResultLaws: every record has a result of valid messages, and its record is read again.
func TestResultLaws(t *testing.T) {
	name := rapid.SampledFrom([]string{"a", "b", "a-b", "\xff", "ä"})
	rapid.Check(t, func(t *rapid.T) {
		r := &cache.Record{Key: keyOf(nil)}
		names := rapid.SliceOfNDistinct(rapid.Custom(func(t *rapid.T) string {
			return strings.Join(rapid.SliceOfN(name, 1, 4).Draw(t, "parts"), "/")
		}), 0, 12, rapid.ID).Draw(t, "names")
		for _, n := range names {
			e := cache.Entry{Path: n, Kind: rapid.SampledFrom([]cache.Kind{cache.File, cache.Dir, cache.Link}).Draw(t, "kind")}
			switch e.Kind {
			case cache.File:
				e.Blob, e.Mode = contentOf([]byte(n)).blob, fs.FileMode(rapid.SampledFrom([]uint32{0o644, 0o755}).Draw(t, "mode"))
			case cache.Link:
				e.Target = rapid.SampledFrom([]string{"x", "\xfe"}).Draw(t, "target")
			}
			r.Outputs = append(r.Outputs, e)
		}
		result, made, err := newResult(r)
		if err != nil {
			t.Fatal(err)
		}
		var got repb.ActionResult
		if err := proto.Unmarshal(result, &got); err != nil {
			t.Fatal(err)
		}
		for _, o := range got.OutputDirectories {
			for _, c := range made {
				if c.blob.Hash != o.TreeDigest.Hash {
					continue
				}
				if err := proto.Unmarshal(c.data, &repb.Tree{}); err != nil {
					t.Fatal(err)
				}
			}
		}
		if at, err := readResult(result); err != nil || at.blob != made[0].blob {
			t.Fatalf("got %v, %v", at, err)
		}
	})
}

// TestRead: what the generated messages write is what we read.
func TestRead(t *testing.T) {
	caps := &repb.ServerCapabilities{CacheCapabilities: &repb.CacheCapabilities{
		DigestFunctions:               []repb.DigestFunction_Value{repb.DigestFunction_SHA1, repb.DigestFunction_SHA256},
		ActionCacheUpdateCapabilities: &repb.ActionCacheUpdateCapabilities{UpdateEnabled: true}, MaxBatchTotalSizeBytes: 12345,
	}, LowApiVersion: nil}
	if a, err := readAbilities(canonical(t, caps)); err != nil || a != (abilities{true, true, 12345}) {
		t.Errorf("got %+v, %v", a, err)
	}
	b := contentOf([]byte("x")).blob
	reads := &repb.BatchReadBlobsResponse{Responses: []*repb.BatchReadBlobsResponse_Response{{Digest: digestOf(b), Data: []byte("x")}, {Digest: digestOf(b)}}}
	if all, err := readBatch(canonical(t, reads), 3); err != nil || len(all) != 2 || all[0].blob != b || string(all[0].data) != "x" || all[1].status.err() != nil {
		t.Errorf("got %+v, %v", all, err)
	}
}

// FuzzRead: no answer makes us panic.
func FuzzRead(f *testing.F) {
	b := contentOf([]byte("x")).blob
	f.Add(canonical(f, &repb.ActionResult{OutputFiles: []*repb.OutputFile{{Path: extraRecord, Digest: digestOf(b), Contents: []byte("x")}}}))
	f.Add(canonical(f, &repb.BatchReadBlobsResponse{Responses: []*repb.BatchReadBlobsResponse_Response{{Digest: digestOf(b), Data: []byte("x")}}}))
	f.Fuzz(func(t *testing.T, text []byte) {
		if at, err := readResult(text); err == nil && len(at.blob.Hash) != 64 {
			t.Errorf("got %+v", at)
		}
		readBatch(text, 3)
		readBatch(text, 2)
		readAbilities(text)
	})
}

// FuzzCut: no line makes us panic.
func FuzzCut(f *testing.F) {
	f.Add(`env A "x y" ""`)
	f.Fuzz(func(t *testing.T, line string) {
		if words, err := cut(line); err == nil && len(words) == 0 {
			t.Error("got no words")
		}
	})
}
