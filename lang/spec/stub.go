package spec

import (
	"bytes"
	"fmt"
	"strings"
)

// Stub returns docs/services.pyi: the language as Python's type checkers and
// editors read it.
func (s *Spec) Stub() []byte {
	var b bytes.Buffer
	b.WriteString(`# Written from spec.star by go test ./lang/spec -fix. Do not edit.
"""The declaration language of orrery, for editors."""

from typing import Any, Callable, Literal, NoReturn

class Ref:
    """A value that is known only when the graph runs."""
    weak: "Ref"
    def __add__(self, other: "str | Ref") -> str: ...
    def __radd__(self, other: str) -> str: ...

class Names:
    """Names below an attribute."""
    def __getattr__(self, name: str) -> Ref: ...
    def __getitem__(self, name: str) -> Ref: ...

class Cond:
    """What must hold of a node."""
    weak: "Cond"

Text = str | int | Ref
Path = str | Ref
Port_ = int | Ref

`)
	for _, kind := range []string{"service", "task"} {
		s.stubNode(&b, kind)
	}
	b.WriteString("Node = ServiceNode | TaskNode\n\nclass ToolValue:\n    \"\"\"Programs of the machine.\"\"\"\n    def __getattr__(self, name: str) -> Ref: ...\n    def __getitem__(self, name: str) -> Ref: ...\n\n")
	b.WriteString("class SecretValue(Ref):\n    \"\"\"A value that must not be seen.\"\"\"\n    path: Ref\n\n")
	for _, r := range s.Records {
		if !r.Union && !r.Abstract && !declares(r) && r.Name != "Tool" && r.Name != "Secret" {
			attrs := "    ..."
			if r.Name == "ConfigFile" {
				attrs = "    path: Ref"
			}
			fmt.Fprintf(&b, "class %s:\n    \"\"\"%s\"\"\"\n%s\n\n", r.Name, pyDoc(r.Doc), attrs)
		}
	}
	for _, n := range s.Namespaces {
		fmt.Fprintf(&b, "class %s:\n    \"\"\"%s\"\"\"\n    ...\n\n", n.Record, pyDoc(n.Doc))
	}
	for _, r := range s.Records {
		if r.Builtin != "" && r.Name != "Project" {
			stubDef(&b, "", r.Builtin, r, s.stubReturns(r))
		}
	}
	s.stubRest(&b)
	return append(bytes.TrimRight(b.Bytes(), "\n"), '\n')
}

func (s *Spec) stubNode(b *bytes.Buffer, kind string) {
	fmt.Fprintf(b, "class %sNode:\n    \"\"\"What %s() returns.\"\"\"\n", strings.ToUpper(kind[:1])+kind[1:], kind)
	for _, a := range s.Attributes[kind] {
		t := "Ref"
		switch {
		case a.Name == "name":
			t = "str"
		case a.Type == "cond":
			t = "Cond"
		case a.Many:
			t = "Names"
		}
		fmt.Fprintf(b, "    %s: %s\n    \"\"\"%s\"\"\"\n", a.Name, t, pyDoc(a.Doc))
	}
	if kind == "service" {
		b.WriteString("    def __getattr__(self, export: str) -> Ref: ...\n")
	}
	b.WriteString("\n")
}

func (s *Spec) stubRest(b *bytes.Buffer) {
	project := s.records["Project"]
	b.WriteString("class _project:\n    root: Ref\n    git_root: Ref\n")
	stubDef(b, "    ", "__call__", project, "None")
	b.WriteString("project: _project\n\n")
	for _, n := range s.Namespaces {
		fmt.Fprintf(b, "class _%s:\n    \"\"\"%s\"\"\"\n", n.Name, pyDoc(n.Doc))
		for _, k := range n.Kinds {
			b.WriteString("    @staticmethod\n")
			stubDef(b, "    ", k.Kind, k, n.Record)
		}
		fmt.Fprintf(b, "%s: _%s\n\n", n.Name, n.Name)
	}
	for _, f := range s.Functions {
		ret := map[string]string{"node": "Any", "struct": "Any", "list": "list[str]", "string": "str", "text": "str", "None": "None", "int": "int"}[f.Returns]
		if ret == "" {
			ret = "Any"
		}
		stubDef(b, "", f.Name, f.Record, ret)
	}
	for _, v := range s.Values {
		switch v.Name {
		case "struct":
			fmt.Fprintf(b, "def struct(**fields: Any) -> Any:\n    \"\"\"%s\"\"\"\n", pyDoc(v.Doc))
		default:
			fmt.Fprintf(b, "%s: Any\n\"\"\"%s\"\"\"\n", v.Name, pyDoc(v.Doc))
		}
	}
	b.WriteString("def fail(*args: Any) -> NoReturn:\n    \"\"\"Ends the evaluation with a message.\"\"\"\ndef load(module: str, *names: str, **renamed: str) -> None:\n    \"\"\"Takes names from a library.\"\"\"\n")
}

func (s *Spec) stubReturns(r *Record) string {
	switch r.Name {
	case "Service":
		return "ServiceNode"
	case "Task":
		return "TaskNode"
	case "Group":
		return "None"
	case "Tool":
		return "ToolValue"
	case "Secret":
		return "SecretValue"
	}
	return r.Name
}

func stubDef(b *bytes.Buffer, indent, name string, r *Record, returns string) {
	var args []string
	if name == "__call__" {
		args = append(args, "self")
	}
	star := false
	for _, f := range r.all {
		if f.Name == r.Varargs {
			args = append(args, "*"+f.Name+": "+f.Type.Elem.python())
			star = true
			continue
		}
		if !f.Positional && !star {
			args = append(args, "*")
			star = true
		}
		arg := f.Name + ": " + f.Type.python()
		if !f.Required() {
			arg += " = ..."
		}
		args = append(args, arg)
	}
	fmt.Fprintf(b, "%sdef %s(%s) -> %s:\n%s    \"\"\"%s", indent, name, strings.Join(args, ", "), returns, indent, pyDoc(r.Doc))
	if len(r.all) > 0 {
		fmt.Fprintf(b, "\n\n%s    Args:\n", indent)
		for _, f := range r.all {
			fmt.Fprintf(b, "%s        %s: %s\n", indent, f.Name, pyDoc(f.Doc))
		}
		b.WriteString(indent + "    ")
	}
	b.WriteString("\"\"\"\n")
}

func pyDoc(s string) string { return strings.ReplaceAll(s, `\`, `\\`) }

// python is the type as Python writes it.
func (t *Type) python() string {
	p := t.pythonInner()
	if t.Optional {
		p += " | None"
	}
	return p
}

func (t *Type) pythonInner() string {
	switch t.Kind {
	case kindText:
		return "Text"
	case kindPath:
		return "Path"
	case kindPort:
		return "Port_"
	case kindString, kindDuration, kindSize, kindSignal:
		return "str"
	case kindInt, kindMode:
		return "int"
	case kindBool:
		return "bool"
	case kindPattern:
		return "Pattern"
	case kindCond:
		return "Node | Cond"
	case kindNode:
		if t.Ref != "" {
			return strings.ToUpper(t.Ref[:1]) + t.Ref[1:] + "Node"
		}
		return "Node"
	case kindTool:
		return "ToolValue"
	case kindEnum:
		return "Literal[" + strings.Join(quotedAll(t.Enum), ", ") + "]"
	case kindList:
		p := "list[" + t.Elem.python() + "]"
		if t.Single {
			p = t.Elem.python() + " | " + p
		}
		return p
	case kindDict:
		return "dict[str, " + t.Elem.python() + "]"
	case kindRef:
		return t.pythonRef()
	}
	return "Any"
}

func (t *Type) pythonRef() string {
	if t.space != nil {
		return t.space.Record
	}
	if !t.record.Union {
		p := t.record.Name
		if i, ok := t.record.byName[t.record.Shorthand]; ok {
			p = t.record.all[i].Type.pythonInner() + " | " + p
		}
		return p
	}
	parts := make([]string, len(t.record.all))
	for i, f := range t.record.all {
		parts[i] = f.Type.python()
	}
	return strings.Join(parts, " | ")
}
