package graph

import (
	"os/exec"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// sh runs a script as the runtime does, with every reference worth value.
func sh(t interface{ Fatalf(string, ...any) }, script, value string) string {
	s, err := txt(script).Shell()
	if err != nil {
		t.Fatalf("%s: %v", script, err)
	}
	cmd := exec.Command("sh", "-euc", s.Text)
	for i := range s.Refs {
		cmd.Env = append(cmd.Env, ScriptVar(i)+"="+value)
	}
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s, as\n%s\nwith %q: %v", script, s.Text, value, err)
	}
	return string(out)
}

// TestShellValues: whatever the value and the quoting around the reference, the
// shell sees the value and nothing else.
func TestShellValues(t *testing.T) {
	const r = "⟦db.exports.url⟧"
	script := `f() { printf '%s\0' "$@"; }
f ` + r + ` "` + r + `" '` + r + `' x` + r + `y "a'` + r + `'b" 'a"` + r + `"b' "${none:-` + r + `}" # ` + r + `
v=` + r + `
f "$v"
f "$(printf %s ` + r + `; printf .)"
case ` + r + ` in ` + r + `) f same ;; *) f other ;; esac
f "${v#` + r + `}"
/bin/cat <<EOF
` + r + `
EOF
/bin/cat <<'EOF'
$plain
EOF
`
	rapid.Check(t, func(t *rapid.T) {
		v := strings.ReplaceAll(rapid.OneOf(
			rapid.StringMatching("[$`\"'\\\\*?;&|<>(){}\\[\\]#~! \t\na-c]{0,12}"),
			rapid.String(),
		).Draw(t, "value"), "\x00", "")
		want := []string{v, v, v, "x" + v + "y", "a'" + v + "'b", `a"` + v + `"b`, v, v, v + ".", "same", "", v + "\n$plain\n"}
		if got := strings.Split(sh(t, script, v), "\x00"); strings.Join(got, "\x00") != strings.Join(want, "\x00") {
			t.Fatalf("got  %q\nwant %q", got, want)
		}
	})
	if got := sh(t, `echo $(( ⟦db.port⟧ + 1 ))`, "41"); got != "42\n" {
		t.Errorf("in arithmetic: %q", got)
	}
}

func TestShellForms(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{`echo $HOME`, `echo $HOME`},
		{`a ⟦db.port⟧ ⟦db.host⟧ ⟦db.port⟧`, `a "${ORRERY_REF_1}" "${ORRERY_REF_2}" "${ORRERY_REF_1}"`},
		{`a '⟦db.port⟧'`, `a ''"${ORRERY_REF_1}"''`},
		{`a # see ⟦db.port⟧`, `a # see port`},
	} {
		s, err := txt(c.in).Shell()
		if err != nil || s.Text != c.want {
			t.Errorf("%s is %s, %v, want %s", c.in, s.Text, err, c.want)
		}
	}
	for _, c := range []struct{ in, want string }{
		{"cat <<'E'\n⟦db.port⟧\nE\n", "a here-document with a quoted delimiter takes no values; unquote the delimiter"},
		{"cat <<⟦db.port⟧\nx\n", "cannot"},
		{"echo ${⟦db.port⟧}", "⟦db.port⟧: a reference cannot be the name of a variable"},
		{"⟦db.port⟧() { true; }", "⟦db.port⟧: a reference cannot be the name of a function"},
		{`echo \⟦db.port⟧`, "a backslash stands before a reference; leave it out"},
		{`echo $⟦db.port⟧`, "a $ stands before a reference; leave it out"},
		{"echo \"`echo ⟦db.port⟧`\"", "backquotes inside double quotes; write $(...)"},
		{"if ⟦db.port⟧", "cannot read the script"},
	} {
		if s, err := txt(c.in).Shell(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s is %q, %v, want the error %s", c.in, s.Text, err, c.want)
		}
	}
}

func FuzzShell(f *testing.F) {
	for _, s := range []string{"a ⟦db.port⟧", "cat <<E\n⟦db.port⟧\nE\n", "echo \"${x:-⟦db.port⟧}\"", "$((⟦db.port⟧))", "`'⟦db.port⟧'`"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		x, err := ParseText(s)
		if err != nil {
			return
		}
		got, err := x.Shell()
		if err != nil {
			return
		}
		if _, plain := x.Plain(); plain {
			return
		}
		if _, err := parseShell(got.Text); err != nil {
			t.Fatalf("%q was a script, and %q is none: %v", s, got.Text, err)
		}
	})
}
