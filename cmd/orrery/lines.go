package main

// lines cuts a stream into lines. Not safe for concurrent use.
type lines struct {
	show func([]byte)
	rest []byte
}

// Write shows the lines that are complete.
func (l *lines) Write(b []byte) (int, error) {
	n := len(b)
	for {
		i := indexByte(b, '\n')
		if i < 0 {
			l.rest = append(l.rest, b...)
			return n, nil
		}
		l.show(append(l.rest, b[:i]...))
		l.rest, b = nil, b[i+1:]
	}
}

func (l *lines) flush() {
	if len(l.rest) > 0 {
		l.show(l.rest)
		l.rest = nil
	}
}

func indexByte(b []byte, c byte) int {
	for i := range b {
		if b[i] == c {
			return i
		}
	}
	return -1
}
