package lang

import (
	"fmt"
	"io/fs"
	"os"
	"strings"

	"go.starlark.net/syntax"
)

// Undocumented lists the public functions of a library without a docstring,
// and their parameters that the docstring does not name, as "f" and "f.x".
func Undocumented(std fs.FS, module string) ([]string, error) {
	f, err := parseLibrary(std, module)
	if err != nil {
		return nil, err
	}
	var missing []string
	for _, def := range publicFunctions(f) {
		doc := docstring(def.Body)
		if doc == "" {
			missing = append(missing, def.Name.Name)
			continue
		}
		for _, p := range def.Params {
			name, _ := param(p)
			if name = strings.TrimLeft(name, "*"); name != "" && !strings.Contains("\n"+strings.ReplaceAll(doc, " ", ""), "\n"+name+":") &&
				!strings.Contains("\n"+strings.ReplaceAll(doc, " ", ""), "\n**"+name+":") {
				missing = append(missing, def.Name.Name+"."+name)
			}
		}
	}
	return missing, nil
}

func parseLibrary(std fs.FS, module string) (*syntax.File, error) {
	var src []byte
	var err error
	if lib, name, ok := strings.Cut(module, "//"); ok && validLibrary(lib) && std != nil {
		src, err = fs.ReadFile(std, name)
	} else {
		src, err = os.ReadFile(module)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read %s: %w", module, err)
	}
	opts := &syntax.FileOptions{Set: true, TopLevelControl: true, GlobalReassign: true}
	return opts.Parse(module, src, 0)
}

func publicFunctions(f *syntax.File) []*syntax.DefStmt {
	var defs []*syntax.DefStmt
	for _, st := range f.Stmts {
		if def, ok := st.(*syntax.DefStmt); ok && !strings.HasPrefix(def.Name.Name, "_") {
			defs = append(defs, def)
		}
	}
	return defs
}

// docstring returns the text that opens a body.
func docstring(body []syntax.Stmt) string {
	if len(body) == 0 {
		return ""
	}
	if e, ok := body[0].(*syntax.ExprStmt); ok {
		if lit, ok := e.X.(*syntax.Literal); ok {
			if s, ok := lit.Value.(string); ok {
				return trimDoc(s, int(lit.TokenPos.Col)-1)
			}
		}
	}
	return ""
}

func signature(def *syntax.DefStmt) string {
	var params []string
	for _, p := range def.Params {
		name, value := param(p)
		if value != "" {
			name += " = " + value
		}
		params = append(params, name)
	}
	one := "def " + def.Name.Name + "(" + strings.Join(params, ", ") + ")"
	if len(one) <= 100 {
		return one
	}
	return "def " + def.Name.Name + "(\n        " + strings.Join(params, ",\n        ") + ")"
}

// param returns the name of a parameter, with its stars, and its default.
func param(p syntax.Expr) (name, value string) {
	switch p := p.(type) {
	case *syntax.Ident:
		return p.Name, ""
	case *syntax.BinaryExpr:
		name, _ = param(p.X)
		return name, source(p.Y)
	case *syntax.UnaryExpr:
		if p.X == nil {
			return "*", ""
		}
		name, _ = param(p.X)
		return p.Op.String() + name, ""
	}
	return "", ""
}

// source writes a default as it was written, where it is short.
func source(e syntax.Expr) string {
	switch e := e.(type) {
	case *syntax.Literal:
		return e.Raw
	case *syntax.Ident:
		return e.Name
	case *syntax.UnaryExpr:
		return e.Op.String() + source(e.X)
	case *syntax.DotExpr:
		return source(e.X) + "." + e.Name.Name
	case *syntax.ListExpr:
		items := make([]string, len(e.List))
		for i, x := range e.List {
			items[i] = source(x)
		}
		return "[" + strings.Join(items, ", ") + "]"
	case *syntax.DictExpr:
		items := make([]string, len(e.List))
		for i, x := range e.List {
			entry, ok := x.(*syntax.DictEntry)
			if !ok {
				return "{...}"
			}
			items[i] = source(entry.Key) + ": " + source(entry.Value)
		}
		return "{" + strings.Join(items, ", ") + "}"
	case *syntax.CallExpr:
		return source(e.Fn) + "(...)"
	case *syntax.ParenExpr:
		return source(e.X)
	}
	return "..."
}
