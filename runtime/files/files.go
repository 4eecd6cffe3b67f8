// Package files opens, reads and looks at files in as few system calls as it takes. The os package asks the kernel five things more of each
// file that it opens, as that might be a socket or a pipe, and an [os.Root] opens each folder on the way; where every task of a run touches
// ten files, that is most of what the run costs.
//
// A [Root] promises what an os.Root does: nothing outside of its folder is reached, whatever links there are. Where the kernel
// cannot do it in one call (openat2, Linux 5.6), the os.Root does it.
package files

import (
	"io"
	"io/fs"
)

// ReadFrom reads all of a file whose size is about known, from where it stands.
func ReadFrom(r io.Reader, size int64) ([]byte, error) {
	b := make([]byte, 0, max(size, 0)+1)
	for {
		n, err := r.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
		if err == io.EOF {
			return b, nil
		}
		if err != nil {
			return b, err
		}
		if len(b) == cap(b) {
			b = append(b, 0)[:len(b)]
		}
	}
}

// Copy is io.Copy with a buffer that grows with what there is.
func Copy(dst io.Writer, src io.Reader) (done int64, err error) {
	b := make([]byte, 4<<10)
	for {
		n, rerr := src.Read(b)
		if n > 0 {
			if _, err := dst.Write(b[:n]); err != nil {
				return done, err
			}
			done += int64(n)
		}
		if rerr == io.EOF {
			return done, nil
		}
		if rerr != nil {
			return done, rerr
		}
		if n == len(b) && n < 256<<10 {
			b = make([]byte, 4*n)
		}
	}
}

// smallSize is what most small files fit in, of those that do not know their size, as in /proc.
const smallSize = 1 << 10

// Read is os.ReadFile for a file that does not block, such as a regular one or one of /proc.
func Read(name string) ([]byte, error) {
	f, err := Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return ReadFrom(f, smallSize-1)
}

// failed is the error of an operation on a file.
func failed(op, name string, err error) error { return &fs.PathError{Op: op, Path: name, Err: err} }
