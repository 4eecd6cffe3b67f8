package lang

import (
	"strings"
	"testing"
	"testing/fstest"
)

func TestDoc(t *testing.T) {
	manual, err := Doc(fakeStd(), "@std//postgres.star")
	if err != nil {
		t.Fatal(err)
	}
	text := manual.Text()
	for _, want := range []string{
		"def postgres(name = \"db\", *, databases = [], package = None, **kwargs)\n    A PostgreSQL server.\n\n    Args:\n        name: its name\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("got\n%s\nwant in it\n%s", text, want)
		}
	}
	missing, err := Undocumented(fakeStd(), "@std//postgres.star")
	if err != nil || strings.Join(missing, " ") != "postgres.kwargs" {
		t.Errorf("got %v, %v, want postgres.kwargs", missing, err)
	}
	missing, err = Undocumented(fakeStd(), "@std//redis.star")
	if err != nil || strings.Join(missing, " ") != "redis" {
		t.Errorf("got %v, %v, want redis", missing, err)
	}
	if _, err := Doc(fakeStd(), "@std//nope.star"); err == nil {
		t.Error("got no error")
	}
}

func TestManual(t *testing.T) {
	std := fakeStd()
	std["kafka.star"] = &fstest.MapFile{Data: []byte(`"""Kafka.

    load("@std//kafka.star", "kafka")
    k = kafka("k")

More of <it>.

Untested: nobody
has it.
"""

def kafka(name, *, port = 9092):
    """A server.

        load("@std//kafka.star", "kafka")
        kafka("other", port = 1)

    Args:
      name: its name
      port: a port, or
        another | one
    """
    return service(name, command = ["kafka"], ports = {"tcp": port}, exports = {"url": self.address}, env_exports = {"KAFKA": self.address})
`)}
	std["tested.txt"] = &fstest.MapFile{Data: []byte("redis: with redis.\n")}
	m, err := Doc(std, "@std//kafka.star")
	if err != nil {
		t.Fatal(err)
	}
	if m.About != "Kafka.\n\nMore of <it>." || m.Untested != "nobody has it." || m.Tested != "" {
		t.Errorf("got about %q, untested %q, tested %q", m.About, m.Untested, m.Tested)
	}
	if got := m.Examples(); len(got) != 2 || !strings.HasSuffix(got[1], "kafka(\"other\", port = 1)\n") {
		t.Errorf("got the examples %q", got)
	}
	about, ready, stop, reload := m.Row()
	if about != "Kafka." || ready != "tcp" || stop != "TERM" || reload != "" {
		t.Errorf("got the row %q %q %q %q", about, ready, stop, reload)
	}
	for text, wants := range map[string][]string{
		m.Text():     {"\nUntested: nobody has it.\n", "The example declares the service k\n    ready: tcp\n", "    k.url = ⟦k.address⟧", "    KAFKA = ", "\ndef kafka(name, *, port = 9092)\n    A server.\n"},
		m.Markdown(): {"# kafka\n", "More of &lt;it>.", "**Untested**: nobody has it.", "| ready | tcp |", "| `port` | `9092` | a port, or another \\| one |", "## What the example declares: `k`\n"},
	} {
		for _, want := range wants {
			if !strings.Contains(text, want) {
				t.Errorf("got\n%s\nwant in it\n%s", text, want)
			}
		}
	}
	if m, err = Doc(std, "@std//redis.star"); err != nil || m.Tested != "with redis." {
		t.Errorf("got tested %q, %v", m.Tested, err)
	}
}

func TestFormat(t *testing.T) {
	got, err := Format([]byte("service( 'a',command=[ 'x' ],\n  env={'A':'1'})\n"), "services.star")
	want := "service(\n    \"a\",\n    command = [\"x\"],\n    env = {\"A\": \"1\"},\n)\n"
	if err != nil || string(got) != want {
		t.Errorf("got %v\n%s\nwant\n%s", err, got, want)
	}
	again, err := Format(got, "services.star")
	if err != nil || string(again) != want {
		t.Errorf("got %v\n%s\nwant it to stay", err, again)
	}
	if _, err := Format([]byte("x = (\n"), "services.star"); err == nil || !strings.Contains(err.Error(), "services.star:") {
		t.Errorf("got %v, want the place", err)
	}
}
