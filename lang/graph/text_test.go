package graph

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestParseText(t *testing.T) {
	ref := func(r Ref) Part { return Part{Ref: &r} }
	for _, c := range []struct {
		in   string
		want Text
	}{
		{"", Text{{Lit: ""}}},
		{"plain $HOME %n {x}", Text{{Lit: "plain $HOME %n {x}"}}},
		{"⟦db.ports.tcp⟧", Text{ref(Ref{Name: "db", Attr: "ports.tcp"})}},
		{"a⟦db.port⟧b⟦shop/web.address⟧", Text{{Lit: "a"}, ref(Ref{Name: "db", Attr: "port"}), {Lit: "b"}, ref(Ref{Name: "shop/web", Attr: "address"})}},
		{"⟦~db.port⟧", Text{ref(Ref{Name: "db", Attr: "port", Weak: true})}},
		{"⟦secret:api:value⟧", Text{ref(Ref{Scope: ScopeSecret, Name: "api", Attr: "value"})}},
		{"⟦~tool:postgres:initdb⟧", Text{ref(Ref{Scope: ScopeTool, Name: "postgres", Attr: "initdb", Weak: true})}},
		{"⟦config:nginx.conf#1:path⟧", Text{ref(Ref{Scope: ScopeConfig, Name: "nginx.conf#1", Attr: "path"})}},
		{"⟦project::root⟧/x", Text{ref(Ref{Scope: ScopeProject, Attr: "root"}), {Lit: "/x"}}},
		{"⟦db.config.a:b.conf⟧", Text{ref(Ref{Name: "db", Attr: "config.a:b.conf"})}},
		{"⟦⟦⟧x⟦⟧⟧", Text{{Lit: "⟦x⟧"}}},
		{"⟦⟦⟧⟦db.port⟧", Text{{Lit: "⟦"}, ref(Ref{Name: "db", Attr: "port"})}},
		{"a⟦0xff⟧b", Text{{Lit: "a\xffb"}}},
	} {
		got, err := ParseText(c.in)
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("ParseText(%q) = %v, %v, want %v", c.in, got, err, c.want)
		}
	}
}

func TestParseTextErrors(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"x⟦db.port", `cut reference: "⟦db.port" has no end`},
		{"db.port⟧ x", `cut reference: "db.port⟧" has no beginning`},
		{"⟦db.po⟦db.port⟧", `cut reference: "⟦db.po⟦db.port⟧" has no end`},
		{"⟦DB.PORT⟧", `altered reference: "⟦DB.PORT⟧" is not what a reference looks like`},
		{"⟦db⟧", `altered reference: "⟦db⟧" is not`},
		{"⟦⟧", `altered reference: "⟦⟧" is not`},
		{"⟦db.⟧", `altered reference: "⟦db.⟧" is not`},
		{"⟦vault:x:value⟧", `altered reference: "⟦vault:x:value⟧" is not`},
		{"⟦secret::value⟧", `altered reference: "⟦secret::value⟧" is not`},
		{"⟦ db.port ⟧", `altered reference`},
		{"⟦0xfg⟧", `altered reference`},
	} {
		got, err := ParseText(c.in)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("ParseText(%q) = %v, %v, want the error %s", c.in, got, err, c.want)
		}
	}
}

// genRef draws a reference that a declaration could hold.
func genRef() *rapid.Generator[Ref] {
	return rapid.Custom(func(t *rapid.T) Ref {
		r := Ref{Weak: rapid.Bool().Draw(t, "weak")}
		r.Scope = rapid.SampledFrom([]Scope{ScopeNode, ScopeSecret, ScopeTool, ScopeConfig, ScopeProject}).Draw(t, "scope")
		switch r.Scope {
		case ScopeNode:
			r.Name = rapid.StringMatching(`[a-z0-9][a-z0-9_-]{0,5}(/[a-z0-9][a-z0-9_-]{0,5}){0,2}`).Draw(t, "node")
			r.Attr = rapid.StringMatching(`[a-z_]{1,8}(\.[A-Za-z0-9:_ é.-]{1,8})?`).Draw(t, "attr")
		case ScopeProject:
			r.Attr = rapid.SampledFrom([]string{"root", "git_root"}).Draw(t, "attr")
		default:
			r.Name = rapid.StringMatching(`[A-Za-z0-9 _#+-]{1,8}`).Draw(t, "name")
			r.Attr = rapid.StringMatching(`[a-z+_-]{0,8}`).Draw(t, "attr")
		}
		return r
	})
}

// genText draws a text in the form that ParseText makes: no two literals meet,
// no empty literal stands beside a reference.
func genText() *rapid.Generator[Text] {
	lit := rapid.OneOf(
		rapid.String(),
		rapid.Map(rapid.SliceOfN(rapid.Byte(), 0, 6), func(b []byte) string { return string(b) }),
		rapid.StringMatching(`[⟦⟧a.~:]{0,6}`),
	)
	return rapid.Custom(func(t *rapid.T) Text {
		var x Text
		for _, isRef := range rapid.SliceOfN(rapid.Bool(), 0, 5).Draw(t, "shape") {
			if isRef {
				r := genRef().Draw(t, "ref")
				x = append(x, Part{Ref: &r})
			} else if s := lit.Draw(t, "lit"); s != "" && (len(x) == 0 || x[len(x)-1].Ref != nil) {
				x = append(x, Part{Lit: s})
			}
		}
		if x == nil {
			x = Lit("")
		}
		return x
	})
}

func TestTextRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x := genText().Draw(t, "text")
		got, err := ParseText(x.String())
		if err != nil || !reflect.DeepEqual(got, x) {
			t.Fatalf("ParseText(%q) = %v, %v, want %v", x.String(), got, err, x)
		}
		b, err := json.Marshal(x)
		if err != nil {
			t.Fatal(err)
		}
		var back Text
		if err := json.Unmarshal(b, &back); err != nil || !reflect.DeepEqual(back, x) {
			t.Fatalf("JSON %s gives %v, %v, want %v", b, back, err, x)
		}
	})
}

func TestTextForms(t *testing.T) {
	if r, ok := txt("⟦db.port⟧").Native(); !ok || r.Attr != "port" {
		t.Errorf("Native of one reference = %v, %v", r, ok)
	}
	if _, ok := txt("x⟦db.port⟧").Native(); ok {
		t.Error("Native of a text with a literal")
	}
	if s, ok := txt("⟦⟦⟧x").Plain(); !ok || s != "⟦x" {
		t.Errorf("Plain = %q, %v", s, ok)
	}
	if _, ok := txt("x⟦db.port⟧").Plain(); ok {
		t.Error("Plain of a text with a reference")
	}
	got, err := txt("a:⟦db.port⟧⟦⟧⟧").Fill(func(r Ref) (string, error) { return "⟦db.port⟧", nil })
	if want := "a:⟦db.port⟧⟧"; err != nil || got != want {
		t.Errorf("Fill = %q, %v, want %q: bound text is not scanned again", got, err, want)
	}
	fail := errors.New("no such port")
	if _, err := txt("⟦db.port⟧").Fill(func(Ref) (string, error) { return "", fail }); err != fail {
		t.Errorf("Fill = %v, want the error of the value", err)
	}
	var absent Text
	if b, _ := json.Marshal(absent); string(b) != "null" {
		t.Errorf("an absent text is %s in JSON", b)
	}
}

func TestValidName(t *testing.T) {
	for s, want := range map[string]bool{
		"a": true, "9p": true, "a-b_c": true, "shop/worker/1": true,
		"": false, "-a": false, "_a": false, "A": false, "a.b": false, "/a": false, "a/": false, "a//b": false, "a/-b": false, "é": false, "a b": false,
	} {
		if got := ValidName(s); got != want {
			t.Errorf("ValidName(%q) = %v", s, got)
		}
	}
}

func FuzzParseText(f *testing.F) {
	for _, s := range []string{"", "x", "⟦db.port⟧", "⟦~secret:a:value⟧", "⟦⟦⟧", "⟦⟧⟧", "⟦", "⟧", "⟦0xfe⟧", "\xff⟦a.b⟧", "⟦project::root⟧"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		x, err := ParseText(s)
		if err != nil {
			return
		}
		again, err := ParseText(x.String())
		if err != nil || !reflect.DeepEqual(again, x) {
			t.Fatalf("%q is %v, its text %q is %v, %v", s, x, x.String(), again, err)
		}
		if got, err := ParseText(Escape(s)); err != nil || !reflect.DeepEqual(got, Lit(s)) {
			t.Fatalf("Escape(%q) is read as %v, %v", s, got, err)
		}
	})
}
