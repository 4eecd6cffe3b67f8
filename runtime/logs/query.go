package logs

import (
	"regexp"
	"strings"
	"time"
)

// Dropped is the Mark of a line that tells of bytes which are not in the log: the disk was full, or a reader was
// overtaken by the rotation. Unlike other marks it passes every Query.Grep.
const Dropped = "dropped"

// Line is one line of a node's output, or a mark between lines.
type Line struct {
	// Node is the name of the node.
	Node string
	// Stream is Stdout or Stderr.
	Stream string
	// Time is when the chunk arrived that held the line's first byte (wall clock of the capturing process). Where
	// the index is lost it is the time of the file's last change.
	Time time.Time
	// Text is the line without its newline, byte-exact: pass it through Sanitise before a terminal or a page sees
	// it. The caller may keep it. For a mark it is the text of the mark.
	Text []byte
	// Partial says that no newline ended the text: the output stopped here, a mark or a gap cuts the line, or the
	// line is longer than 1 MiB and goes on in the next Line.
	Partial bool
	// Mark is empty for output, else the kind given to Capture.Mark, or Dropped.
	Mark string
	// Pos is the position behind the line in the stream, counted in bytes since the stream began, over all
	// rotations. It is what a Cursor holds.
	Pos int64
}

// Cursor says how far a reader has come: the position (Line.Pos) by node and stream. Its JSON form is stable.
type Cursor map[string]int64

// Advance records that the line was read.
func (c Cursor) Advance(l Line) { c[cursorKey(l.Node, l.Stream)] = l.Pos }

func cursorKey(node, stream string) string { return node + ":" + stream }

// Query says which lines Store.Read yields. The zero value means all that is there.
type Query struct {
	// Nodes are names of nodes; a name also means its subtree name/... Empty: all.
	Nodes []string
	// Since leaves out what came earlier.
	Since time.Time
	// Tail limits what is already there to the last so many lines over all nodes together, counted after the other
	// conditions. 0: no limit. Negative: nothing old, for Follow.
	Tail int
	// Streams are Stdout, Stderr or both. Empty: both.
	Streams []string
	// Grep leaves out lines that do not match, and all marks but Dropped.
	Grep *regexp.Regexp
	// Follow waits for more until the context ends.
	Follow bool
	// From goes on behind the positions of an earlier reading; streams that it does not name are read from
	// their start. Marks that lie exactly at a position are shown again.
	From Cursor
}

func (q *Query) wantsNode(node string) bool {
	if len(q.Nodes) == 0 {
		return true
	}
	for _, n := range q.Nodes {
		if node == n || strings.HasPrefix(node, n) && len(node) > len(n) && node[len(n)] == '/' {
			return true
		}
	}
	return false
}

func (q *Query) wantsStream(stream string) bool {
	if len(q.Streams) == 0 {
		return true
	}
	for _, s := range q.Streams {
		if s == stream {
			return true
		}
	}
	return false
}

func (q *Query) wantsLine(l *Line) bool {
	if !q.Since.IsZero() && l.Time.Before(q.Since) {
		return false
	}
	if q.Grep == nil || l.Mark == Dropped {
		return true
	}
	return l.Mark == "" && q.Grep.Match(l.Text)
}
