package main

import (
	"bufio"
	"fmt"
	"io"
	"strings"
)

// factories are the rows of the suite: each factory of stdlib has one.
func factories() []factory {
	return []factory{
		{
			name:     "postgres",
			programs: []string{"/usr/lib/postgresql/15/bin/postgres"},
			star: `load("@std//postgres.star", "postgres")
postgres("a", databases = ["shop"], settings = {"work_mem": "5MB"})
postgres("b", databases = ["shop"], port = $B)
`,
			ping: pgPing,
			put: func(i *instance, value string) error {
				_, err := i.run("psql", "-d", i.v("URL"), "-Atqc", "create table kept as select '"+value+"'::text as datum")
				return err
			},
			get: func(i *instance) (string, error) {
				return i.run("psql", "-d", i.v("URL"), "-Atqc", "table kept")
			},
			reload: true,
			edit:   [2]string{"5MB", "6MB"},
			edited: func(i *instance) error {
				return says("6MB", func() (string, error) { return i.run("psql", "-d", i.v("URL"), "-Atqc", "show work_mem") })
			},
		},
		{
			name:     "redis",
			programs: []string{"redis-server"},
			star: `load("@std//redis.star", "redis")
redis("a", settings = {"appendonly": True})
redis("b", port = $B)
`,
			ping: func(i *instance) error { return i.talk("PING\r\n", "+PONG") },
			put:  func(i *instance, value string) error { return i.talk("SET datum "+value+"\r\n", "+OK") },
			get:  func(i *instance) (string, error) { return i.lines("GET datum\r\n", 2) },
		},
	}
}

// says wants a text.
func says(want string, ask func() (string, error)) error {
	got, err := ask()
	if err == nil && !strings.Contains(got, want) {
		err = fmt.Errorf("got %q, want %q", got, want)
	}
	return err
}

// talk sends a request and wants a first line that begins with an answer.
func (i *instance) talk(request, answer string) error {
	return says(answer, func() (string, error) { return i.lines(request, 1) })
}

// lines sends a request and returns the nth line of the answer.
func (i *instance) lines(request string, n int) (string, error) {
	conn, err := i.dial()
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, request); err != nil {
		return "", err
	}
	r := bufio.NewReader(conn)
	var line string
	for range n {
		if line, err = r.ReadString('\n'); err != nil {
			return "", err
		}
	}
	return strings.TrimSpace(line), nil
}

// pgPing opens a session, as far as the server's first word: R, for
// authentication, once it takes clients; E while it starts.
func pgPing(i *instance) error {
	conn, err := i.dial()
	if err != nil {
		return err
	}
	defer conn.Close()
	const startup = "\x00\x00\x00\x29\x00\x03\x00\x00user\x00postgres\x00database\x00postgres\x00\x00"
	if _, err := io.WriteString(conn, startup); err != nil {
		return err
	}
	answer := make([]byte, 1)
	if _, err := io.ReadFull(conn, answer); err != nil {
		return err
	}
	if answer[0] != 'R' {
		return fmt.Errorf("got the message %q, want R", answer)
	}
	return nil
}
