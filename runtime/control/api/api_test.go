package api

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

func TestStatusOnTheWire(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 678901234, time.UTC)
	got, err := json.Marshal(Status{
		Seq:    4,
		Engine: Engine{PID: 1, Version: "v", Started: at, Project: "/p/services.star", Root: "/p"},
		Nodes: []NodeStatus{
			{Name: "db", Kind: "service", State: "ready", PID: 2, StartedAt: at, ReadyAt: at, UptimeMS: 5, Ports: map[string]int{"tcp": 5432}, Holders: 1},
			{Name: "migrate", Kind: "task", State: "failed", Exit: &Exit{Code: 3}, Reason: "exit 3"},
		},
		Progress: Progress{Total: 2, Done: 2, Failed: 1},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := `{"seq":4,"engine":{"pid":1,"version":"v","started":"2026-01-02T03:04:05.678901234Z","project":"/p/services.star","root":"/p"},"nodes":[` +
		`{"name":"db","kind":"service","state":"ready","pid":2,"started_at":"2026-01-02T03:04:05.678901234Z","ready_at":"2026-01-02T03:04:05.678901234Z","uptime_ms":5,"restarts":0,"ports":{"tcp":5432},"holders":1},` +
		`{"name":"migrate","kind":"task","state":"failed","restarts":0,"exit":{"code":3},"reason":"exit 3","holders":0}],` +
		`"progress":{"total":2,"done":2,"running":0,"cached":0,"failed":1}}`
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestCheck(t *testing.T) {
	for _, row := range []struct {
		v    interface{ Check() error }
		want string
	}{
		{&Hold{}, ""},
		{&Hold{Mode: "needs"}, ""},
		{&Hold{Mode: "only"}, ""},
		{&Hold{Mode: "all"}, ""},
		{&Hold{Mode: "some"}, `got mode "some"`},
		{&Act{Names: []string{"db"}}, ""},
		{&Act{}, "got no names"},
		{&Wait{}, ""},
		{&Wait{TimeoutMS: -1}, "got timeout_ms -1"},
	} {
		err := row.v.Check()
		if (err == nil) != (row.want == "") || err != nil && !strings.Contains(err.Error(), row.want) {
			t.Errorf("%+v: got %v, want %q", row.v, err, row.want)
		}
	}
}
