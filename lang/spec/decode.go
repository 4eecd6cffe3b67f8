package spec

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"go.starlark.net/starlark"

	"orrery/lang/graph"
)

// decode writes the value v, checked against t, to dst.
func (c *checker) decode(t *Type, v starlark.Value, dst reflect.Value) {
	if _, bad := v.(Poison); bad {
		c.call.Poisoned = true
		return
	}
	if t.Optional {
		if v == starlark.None {
			dst.SetZero()
			return
		}
		if dst.Kind() == reflect.Pointer && t.Kind != kindPattern {
			p := reflect.New(dst.Type().Elem())
			dst.Set(p)
			dst = p.Elem()
		}
	}
	switch t.Kind {
	case kindText, kindPath, kindPort:
		*dst.Addr().Interface().(*graph.Text) = c.text(t, v)
	case kindString, kindEnum, kindSignal:
		dst.SetString(c.str(t, v))
	case kindInt:
		dst.SetInt(c.integer(t, v))
	case kindMode:
		dst.SetUint(uint64(c.integer(t, v)))
	case kindBool:
		b, ok := v.(starlark.Bool)
		if !ok {
			c.wrong(t, v, "")
		}
		dst.SetBool(bool(b))
	case kindDuration:
		dst.SetInt(int64(c.duration(t, v)))
	case kindSize:
		dst.SetInt(int64(c.size(t, v)))
	case kindList:
		c.list(t, v, dst)
	case kindDict:
		c.dict(t, v, dst)
	case kindRef:
		c.ref(t, v, dst)
	case kindData:
		dst.Addr().Interface().(*graph.Tree).Value = c.tree(v, 0)
	case kindAny:
	default:
		c.special(t, v, dst)
	}
}

// special decodes what only the evaluation of files can make.
func (c *checker) special(t *Type, v starlark.Value, dst reflect.Value) {
	switch t.Kind {
	case kindPattern:
		if m, ok := v.(Maker); ok {
			if p, ok := m.Made().Value.(*graph.Pattern); ok {
				dst.Set(reflect.ValueOf(p))
				return
			}
		}
	case kindNode:
		if n, ok := v.(Noder); ok {
			name, kind := n.Node()
			if t.Ref == "" || kind == "" || t.Ref == string(kind) {
				dst.SetString(name)
				return
			}
		}
	case kindCond:
		switch v := v.(type) {
		case Noder:
			name, _ := v.Node()
			dst.Set(reflect.ValueOf(graph.Dep{Node: name}))
			return
		case Conder:
			dst.Set(reflect.ValueOf(v.Dep()))
			return
		}
	case kindTool:
		if n, ok := v.(Tooler); ok {
			dst.SetString(n.Tool())
			return
		}
	}
	hint := ""
	switch v := v.(type) {
	case starlark.String:
		if t.Kind == kindCond || t.Kind == kindNode {
			hint = fmt.Sprintf("edges are values: pass what service() or task() returned, or peer(%s)", v)
		}
	case Referrer:
		if t.Kind == kindCond || t.Kind == kindNode {
			hint = "a reference in command or env is an edge by itself; here pass the node"
		}
	}
	c.wrong(t, v, hint)
}

// noteLocal remembers that the declaration must bind a reference.
func (c *checker) noteLocal(r graph.Ref) {
	if r.Scope == graph.ScopeNode && r.Name == graph.Self || r.Scope == graph.ScopeConfig {
		c.call.Local = true
	}
}

func (c *checker) text(t *Type, v starlark.Value) graph.Text {
	switch v := v.(type) {
	case starlark.String:
		return c.cut(t, string(v))
	case Referrer:
		r := v.Ref()
		c.noteLocal(r)
		return graph.RefText(r)
	case starlark.Int:
		if t.Kind == kindPort {
			if n, ok := v.Int64(); !ok || n < 1 || n > 65535 {
				c.problem("range", "", "got %s, want a port from 1 to 65535", v)
			}
		}
		if t.Kind != kindPath {
			return graph.Lit(v.String())
		}
	}
	hint := ""
	switch v.(type) {
	case starlark.Bool:
		hint = `write "true", "1" or whatever the program reads`
	case Noder:
		hint = "write one of its attributes, such as .port, .address or an export"
	case *starlark.List:
		if t.Kind == kindText {
			hint = `join it: " ".join([...])`
		}
	case Maker:
		if _, ok := v.(Maker).Made().Value.(*graph.ConfigFile); ok {
			hint = "write .path"
		}
	}
	c.wrong(t, v, hint)
	return nil
}

// cut parses the markers of a string.
func (c *checker) cut(t *Type, s string) graph.Text {
	text, err := graph.ParseText(s)
	if err != nil {
		c.problem("cut-reference", "join whole references with + or %; write literal(...) for text that holds the bracket itself", "%v", err)
		return nil
	}
	if strings.IndexByte(s, 0) >= 0 {
		c.problem("nul", "", "got text with a NUL byte, which no argument or variable can hold")
	}
	for i := range text {
		if text[i].Ref != nil {
			c.noteLocal(*text[i].Ref)
		}
	}
	if _, native := text.Native(); t.Kind == kindPort && !native {
		c.problem("type", "write it without quotes", "got %q, want a port: an int or a reference", s)
	}
	return text
}

func (c *checker) str(t *Type, v starlark.Value) string {
	s, ok := v.(starlark.String)
	if !ok {
		hint := ""
		if _, isRef := v.(Referrer); isRef {
			hint = "a reference is known only when the graph runs; this must be known now"
		}
		c.wrong(t, v, hint)
		return ""
	}
	str := string(s)
	if !c.free && strings.Contains(str, "⟦") {
		c.problem("type", "a reference is known only when the graph runs; this must be known now", "got a text with a reference, want plain %s", t.want())
		return ""
	}
	switch t.Kind {
	case kindEnum:
		for _, e := range t.Enum {
			if e == str {
				return str
			}
		}
		hint := ""
		if near := graph.Suggest(str, t.Enum); near != "" {
			hint = fmt.Sprintf("did you mean %q?", near)
		}
		c.problem("enum", hint, "got %q, want %s", str, t.want())
	case kindSignal:
		return c.signal(t, str)
	}
	return str
}

func (c *checker) signal(t *Type, s string) string {
	name := strings.TrimPrefix(s, "SIG")
	if validSignal(name) {
		return name
	}
	hint := ""
	if near := graph.Suggest(strings.ToUpper(name), signals()); near != "" {
		hint = fmt.Sprintf("did you mean %q?", near)
	}
	c.problem("signal", hint, "got %q, want %s", s, t.want())
	return ""
}

func signals() []string {
	return strings.Fields("HUP INT QUIT ILL TRAP ABRT BUS FPE KILL USR1 SEGV USR2 PIPE ALRM TERM STKFLT CHLD CONT STOP TSTP TTIN TTOU URG XCPU XFSZ VTALRM PROF WINCH IO PWR SYS")
}

func validSignal(name string) bool {
	for _, s := range signals() {
		if s == name {
			return true
		}
	}
	for base, sign := range map[string]string{"RTMIN": "+", "RTMAX": "-"} {
		if rest, ok := strings.CutPrefix(name, base); ok {
			num, signed := strings.CutPrefix(rest, sign)
			n, err := strconv.Atoi(num)
			return rest == "" || signed && err == nil && n >= 0 && n <= 30
		}
	}
	return false
}

func (c *checker) integer(t *Type, v starlark.Value) int64 {
	i, ok := v.(starlark.Int)
	if !ok {
		hint := ""
		if _, isRef := v.(Referrer); isRef {
			hint = "a reference is known only when the graph runs; this must be known now"
		} else if _, isStr := v.(starlark.String); isStr && t.Kind == kindMode {
			hint = "write it as a number: 0o600"
		}
		c.wrong(t, v, hint)
		return 0
	}
	n, ok := i.Int64()
	lo, hi := t.Min, t.Max
	if t.Kind == kindMode {
		low, high := 0, 0o7777
		lo, hi = &low, &high
	}
	if !ok || lo != nil && n < int64(*lo) || hi != nil && n > int64(*hi) {
		c.problem("range", "", "got %s, want %s", i, bounds(lo, hi))
		return 0
	}
	return n
}

func bounds(lo, hi *int) string {
	switch {
	case lo != nil && hi != nil:
		return fmt.Sprintf("an int from %d to %d", *lo, *hi)
	case lo != nil:
		return fmt.Sprintf("an int from %d up", *lo)
	case hi != nil:
		return fmt.Sprintf("an int up to %d", *hi)
	}
	return "an int of 64 bits"
}

func (c *checker) duration(t *Type, v starlark.Value) graph.Duration {
	switch v := v.(type) {
	case starlark.String:
		d, err := graph.ParseDuration(string(v))
		if err != nil {
			hint := ""
			if _, bare := strconv.ParseFloat(string(v), 64); bare == nil {
				hint = fmt.Sprintf("a bare number has no unit: write %q", string(v)+"s")
			}
			c.problem("duration", hint, "%v", err)
		}
		return d
	case starlark.Int, starlark.Float:
		c.wrong(t, v, fmt.Sprintf("a bare number has no unit: write %q", v.String()+"s"))
	default:
		c.wrong(t, v, "")
	}
	return 0
}

func (c *checker) size(t *Type, v starlark.Value) graph.Size {
	switch v := v.(type) {
	case starlark.String:
		n, err := graph.ParseSize(string(v))
		if err != nil {
			c.problem("size", "", "%v", err)
		}
		return n
	case starlark.Int:
		c.wrong(t, v, fmt.Sprintf("write it as text: %q is that many bytes", v.String()))
	default:
		c.wrong(t, v, "")
	}
	return 0
}
