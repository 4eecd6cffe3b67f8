package cache

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Limits say what may stay. Zero is no limit.
type Limits struct {
	// MaxBytes is for records and blobs together; MaxAge is the time since the last use.
	MaxBytes int64
	MaxAge   time.Duration
	// Every leaves everything as it is if the last Trim was less than this ago.
	Every time.Duration
}

// Report is what a Trim removed, or a Verify looked at.
type Report struct {
	// Records, Blobs and Bytes are what Trim removed, or what Verify found good.
	Records int   `json:"records"`
	Blobs   int   `json:"blobs"`
	Bytes   int64 `json:"bytes"`
	// Bad names what Verify found bad or incomplete, and removed, with the reason.
	Bad []string `json:"bad,omitempty"`
	// Skipped says that Trim was not due, or another one is at work.
	Skipped bool `json:"skipped,omitempty"`
}

// Stats is what a cache holds.
type Stats struct {
	// Records is how many results, Blobs how many different contents; Bytes is for both.
	Records int   `json:"records"`
	Blobs   int   `json:"blobs"`
	Bytes   int64 `json:"bytes"`
	// Oldest and Newest are last uses; zero if it is empty. They are exact to half of Options.Grace.
	Oldest time.Time `json:"oldest,omitzero"`
	Newest time.Time `json:"newest,omitzero"`
}

// item is a file of the cache.
type item struct {
	name string // the last part
	size int64
	used time.Time
}

// walk lists the records or the blobs.
func (s *Store) walk(ctx context.Context, dir string) ([]item, error) {
	shards, err := s.disk.list(dir)
	if err != nil {
		return nil, err
	}
	slices.Sort(shards)
	var all []item
	for _, sh := range shards {
		if err := ctx.Err(); err != nil {
			return nil, context.Cause(ctx)
		}
		names, err := s.disk.list(dir + "/" + sh)
		if errors.Is(err, unix.ENOTDIR) {
			continue
		}
		if err != nil {
			return nil, err
		}
		for _, n := range names {
			if fi, err := s.disk.lstat(dir + "/" + sh + "/" + n); err == nil && validName(n) && n[:2] == sh {
				all = append(all, item{n, fi.Size(), fi.ModTime()})
			}
		}
	}
	return all, nil
}

// Stats counts.
func (s *Store) Stats(ctx context.Context) (Stats, error) {
	records, err := s.walk(ctx, recordsDir)
	if err != nil {
		return Stats{}, &UnavailableError{"read", err}
	}
	blobs, err := s.walk(ctx, blobsDir)
	if err != nil {
		return Stats{}, &UnavailableError{"read", err}
	}
	st := Stats{Records: len(records), Blobs: len(blobs)}
	for _, r := range records {
		st.Bytes += r.size
		if st.Oldest.IsZero() || r.used.Before(st.Oldest) {
			st.Oldest = r.used
		}
		if r.used.After(st.Newest) {
			st.Newest = r.used
		}
	}
	for _, b := range blobs {
		st.Bytes += b.size
	}
	return st, nil
}

// Trim removes the results that were not used for the longest time until the limits hold, then the blobs that no record
// names. What was used or written within the grace stays, so that no task at work misses what it found; so it may be run beside any
// number of them. A clock that jumps back makes nothing old.
func (s *Store) Trim(ctx context.Context, l Limits) (Report, error) {
	unlock, err := s.single()
	if err != nil || unlock == nil {
		return Report{Skipped: err == nil}, err
	}
	defer unlock()
	fi, err := s.disk.lstat("trimmed")
	if err == nil && l.Every > 0 && s.now().Sub(fi.ModTime()).Abs() < l.Every {
		return Report{Skipped: true}, nil
	}
	if errors.Is(err, fs.ErrNotExist) && l.Every > 0 { // it is new: the time begins now
		s.stamp()
		return Report{Skipped: true}, nil
	}
	var rep Report
	if err := s.trim(ctx, l, &rep); err != nil {
		return rep, &UnavailableError{"trim", err}
	}
	s.sweepTmp()
	s.stamp()
	return rep, nil
}

// stamp notes that it was trimmed now.
func (s *Store) stamp() {
	tmp, err := s.disk.writeTmp(nil, false)
	if err == nil {
		_, err = s.disk.move(tmp, "trimmed")
	}
	if err == nil {
		s.disk.touch("trimmed", s.now())
	}
}

// single makes this the only Trim at work; nil if there is one.
func (s *Store) single() (func(), error) {
	f, err := s.disk.root.OpenFile("trim.lock", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, &UnavailableError{"trim", err}
	}
	if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil {
		f.Close()
		return nil, nil
	}
	return func() { f.Close() }, nil
}

// recent tells what the grace protects.
func (s *Store) recent(t time.Time) bool { return s.now().Sub(t) <= s.grace }

func (s *Store) trim(ctx context.Context, l Limits, rep *Report) error {
	records, err := s.walk(ctx, recordsDir)
	if err != nil {
		return err
	}
	blobs, err := s.walk(ctx, blobsDir)
	if err != nil {
		return err
	}
	slices.SortFunc(records, func(a, b item) int { return cmp.Or(a.used.Compare(b.used), strings.Compare(a.name, b.name)) })
	refs, users := map[string][]Blob{}, map[string]int{}
	var total int64
	for i, r := range records {
		s.tell(i, len(records))
		total += r.size
		if refs[r.name], err = s.refs(ctx, r.name); err != nil {
			return err
		}
		for _, b := range refs[r.name] {
			users[b.Hash]++
		}
	}
	for _, b := range blobs {
		if users[b.name] > 0 { // what nobody names goes anyway
			total += b.size
		}
	}
	for _, r := range records {
		old := l.MaxAge > 0 && s.now().Sub(r.used) > l.MaxAge
		if !old && (l.MaxBytes <= 0 || total <= l.MaxBytes) {
			break
		}
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		name := shard(recordsDir, r.name)
		if fi, err := s.disk.lstat(name); err != nil || s.recent(fi.ModTime()) || !s.disk.remove(name) {
			continue
		}
		rep.Records++
		rep.Bytes += r.size
		total -= r.size
		for _, b := range refs[r.name] {
			if users[b.Hash]--; users[b.Hash] == 0 {
				total -= b.Size
			}
		}
	}
	for _, b := range blobs {
		if users[b.name] == 0 && !s.recent(b.used) && s.discard(shard(blobsDir, b.name)) {
			rep.Blobs++
			rep.Bytes += b.size
		}
	}
	return nil
}

// tell says how far the work is.
func (s *Store) tell(done, total int) {
	if s.progress != nil {
		s.progress(done, total)
	}
}

// refs are the blobs of a record; a bad one has none, and goes.
func (s *Store) refs(ctx context.Context, key string) ([]Blob, error) {
	if err := ctx.Err(); err != nil {
		return nil, context.Cause(ctx)
	}
	r, err := s.read(key)
	if errors.Is(err, ErrMiss) {
		return nil, nil
	}
	if err != nil {
		return nil, err // what it names must not be swept
	}
	seen := map[string]bool{}
	return slices.DeleteFunc(r.Blobs(), func(b Blob) bool {
		dup := seen[b.Hash]
		seen[b.Hash] = true
		return dup
	}), nil
}

// discard removes a blob unless it has just been written again: it is moved away first and looked at there.
func (s *Store) discard(name string) bool {
	away := tmpDir + "/away-" + name[strings.LastIndexByte(name, '/')+1:]
	if s.disk.try("rename") != nil {
		return false
	}
	if _, err := s.disk.root.Rename(name, away); err != nil {
		return false
	}
	if fi, err := s.disk.lstat(away); err != nil || s.recent(fi.ModTime()) {
		_ = s.disk.link(away, name) // exists: it was written once more
		s.disk.remove(away)
		return false
	}
	return s.disk.remove(away)
}

// sweepTmp removes what killed processes left.
func (s *Store) sweepTmp() {
	names, err := s.disk.list(tmpDir)
	if err != nil {
		return
	}
	for _, n := range names {
		if fi, err := s.disk.lstat(tmpDir + "/" + n); err == nil && !s.recent(fi.ModTime()) {
			s.disk.remove(tmpDir + "/" + n)
		}
	}
	names, err = s.disk.list(locksDir)
	if err != nil {
		return
	}
	for _, n := range names {
		f, err := s.disk.root.OpenFile(locksDir+"/"+n, os.O_RDWR, 0)
		if err != nil {
			continue
		}
		if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil { // nobody holds it, and who opens it now looks again
			s.disk.remove(locksDir + "/" + n)
		}
		f.Close()
	}
	if names, err = s.disk.list("."); err != nil {
		return
	}
	for _, n := range names {
		if strings.HasPrefix(n, "verified-") && n != s.verified.file() {
			s.disk.remove(n)
		}
	}
}

// Verify reads every record and every blob, whatever was verified before, and removes the bad: blobs whose content does not have
// their hash, and records that cannot be read or name a blob that is not there.
func (s *Store) Verify(ctx context.Context) (Report, error) {
	var rep Report
	blobs, err := s.walk(ctx, blobsDir)
	if err != nil {
		return rep, &UnavailableError{"read", err}
	}
	good := map[Blob]bool{}
	fresh := &Store{disk: s.disk, grace: s.grace, now: s.now, verified: verified{loaded: true}}
	for i, b := range blobs {
		if err := ctx.Err(); err != nil {
			return rep, context.Cause(ctx)
		}
		s.tell(i, len(blobs))
		f, err := fresh.blob(Blob{b.name, b.size})
		if err != nil {
			if !errors.Is(err, fs.ErrNotExist) {
				rep.Bad = append(rep.Bad, err.Error())
			}
			continue
		}
		f.Close()
		good[Blob{b.name, b.size}] = true
		rep.Blobs++
		rep.Bytes += b.size
	}
	records, err := s.walk(ctx, recordsDir)
	if err != nil {
		return rep, &UnavailableError{"read", err}
	}
	for _, r := range records {
		s.verifyRecord(r, good, &rep)
	}
	return rep, ctx.Err()
}

func (s *Store) verifyRecord(r item, good map[Blob]bool, rep *Report) {
	rec, err := s.read(r.name)
	if err == nil {
		for _, b := range rec.Blobs() {
			if good[b] {
				continue
			}
			f, missing := s.blob(b) // it may be younger than the list
			if missing != nil {
				err = missing
				s.disk.remove(shard(recordsDir, r.name))
				rep.Bad = append(rep.Bad, "the result of "+rec.Task+" ("+shard(recordsDir, r.name)+"): "+err.Error())
				return
			}
			f.Close()
		}
		rep.Records++
		rep.Bytes += r.size
		return
	}
	if err != ErrMiss { // else it went meanwhile
		rep.Bad = append(rep.Bad, err.Error())
	}
}

// Clear removes every result. The salt stays.
func (s *Store) Clear(ctx context.Context) (Report, error) {
	var rep Report
	st, err := s.Stats(ctx)
	if err != nil {
		return rep, err
	}
	for _, dir := range []string{recordsDir, blobsDir} {
		if err := s.disk.root.RemoveAll(dir); err != nil {
			return rep, &UnavailableError{"clear", err}
		}
		if err := s.disk.mkdir(dir); err != nil {
			return rep, &UnavailableError{"clear", err}
		}
	}
	return Report{Records: st.Records, Blobs: st.Blobs, Bytes: st.Bytes}, nil
}
