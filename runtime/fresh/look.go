package fresh

import (
	"encoding/binary"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
)

// The entry of a sight: folder, name (offset, length), how, young, then the state.
const (
	sightFolder = 0
	sightName   = 4
	sightHow    = 12
	sightYoung  = 13
	sightState  = 16
)

func putState(e []byte, s State) {
	for i, v := range []uint64{s.Dev, s.Ino, uint64(s.Mode), uint64(s.Size), uint64(s.Mtime), uint64(s.Ctime)} {
		binary.LittleEndian.PutUint64(e[sightState+8*i:], v)
	}
	if s.Young {
		e[sightYoung] = 1
	}
}

func stateAt(e []byte) State {
	u := func(i int) uint64 { return binary.LittleEndian.Uint64(e[sightState+8*i:]) }
	return State{Dev: u(0), Ino: u(1), Mode: uint32(u(2)), Size: int64(u(3)), Mtime: int64(u(4)), Ctime: int64(u(5)), Young: e[sightYoung] != 0}
}

// looker looks at many sights.
type looker struct {
	b    *Book
	home home   // the project
	want []bool // by sight
	bad  []bool
}

// looker makes one, to be closed.
func (b *Book) looker() *looker {
	n := len(b.sights) / sightSize
	project := filepath.Dir(filepath.Dir(filepath.Dir(b.path))) // where it mostly is
	return &looker{b, openHome(project), make([]bool, n), make([]bool, n)}
}

// chunk is how many sights a goroutine takes at a time.
const chunk = 512

// run looks at every wanted sight. They lie in the order of their folders.
func (l *looker) run() {
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), 8, len(l.want)/chunk+1) {
		wg.Go(func() {
			for {
				from := int(next.Add(chunk)) - chunk
				if from >= len(l.want) {
					return
				}
				l.part(from, min(from+chunk, len(l.want)))
			}
		})
	}
	wg.Wait()
}

// part looks at the sights of a range, folder by folder.
func (l *looker) part(from, to int) {
	for i := from; i < to; {
		if !l.want[i] {
			i++
			continue
		}
		dir := u32(l.b.sights, i*sightSize+sightFolder)
		end, files := i, 0
		for ; end < to && u32(l.b.sights, end*sightSize+sightFolder) == dir; end++ {
			if l.want[end] {
				files++
			}
		}
		f := l.home.folder(string(l.b.text(l.b.folders, int(dir)*folderSize)), files)
		for ; i < end; i++ {
			if l.want[i] {
				l.bad[i] = !l.holds(f, l.b.sights[i*sightSize:(i+1)*sightSize])
			}
		}
		f.close()
	}
}

func (l *looker) holds(f folder, e []byte) bool {
	was, how := stateAt(e), How(e[sightHow])
	if was.Young && how != There {
		return false
	}
	now, err := f.state(string(l.b.text(e, sightName)), how)
	return err == nil && was.holds(how, now)
}

// Holds tells whether the evaluation of the project would give what it gave.
func (b *Book) Holds() bool {
	l := b.looker()
	defer l.home.close()
	for _, s := range b.head.Seen {
		l.want[s] = true
		l.part(int(s), int(s)+1)
		if l.bad[s] {
			return false
		}
	}
	return true
}

// Stale gives those of the tasks, which must be in ascending order, whose results may not be right any more, in that order: something
// that they rest on looks otherwise, or one of the tasks that they need is stale.
func (b *Book) Stale(tasks []int) []int {
	l := b.looker()
	defer l.home.close()
	for _, i := range tasks {
		for s, k := b.list(b.task(i), taskSights), 0; k < s.len(); k++ {
			l.want[s.at(k)] = true
		}
	}
	l.run()
	in, stale := make([]bool, b.Len()), make([]bool, b.Len())
	for _, i := range tasks {
		in[i] = true
	}
	var all []int
	for _, i := range tasks {
		s := b.list(b.task(i), taskSights)
		bad := s.len() == 0
		for k := 0; k < s.len() && !bad; k++ {
			bad = l.bad[s.at(k)]
		}
		needs := b.list(b.task(i), taskNeeds)
		for k := 0; k < needs.len() && !bad; k++ {
			n := needs.at(k)
			bad = in[n] && stale[n]
		}
		if bad {
			stale[i] = true
			all = append(all, i)
		}
	}
	return all
}
