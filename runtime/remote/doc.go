// Package remote puts a cache that others share behind the one on disk. [Open] gives a [Store] that is the local store, and asks a server
// for results that are not there.
//
// Promised: whatever the server does, a result is used only if every byte of it has its digest, and then it is kept locally first and
// restored from there as any other. A server that is dead, slow or lying costs at most Options.Timeout and one warning; then it is left
// alone. Results that are true of one checkout, or whose key holds a secret, stay here.
//
// Two protocols are spoken, both with the standard library's HTTP: version 2 of the remote execution API over gRPC (its Capabilities,
// ActionCache, ContentAddressableStorage and ByteStream services), and the plain HTTP protocol of Bazel and bazel-remote. What is stored
// is the same for both; docs/decisions/remote-cache.md has the mapping.
package remote
