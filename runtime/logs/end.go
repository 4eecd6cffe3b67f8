package logs

// End is how far the output of the node is written, without reading it: what comes later lies behind it. What is still
// in the pipes counts as later; see Drain.
func (c *Capture) End() Cursor {
	to := Cursor{}
	for i, s := range c.streams {
		s.mu.Lock()
		if size, err := s.file.size(); err == nil {
			to[cursorKey(c.node, []string{Stdout, Stderr}[i])] = s.file.base + size
		}
		s.mu.Unlock()
	}
	return to
}
