package lang

import (
	"strings"
	"testing"
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
