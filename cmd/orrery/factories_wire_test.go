package main

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// httpPing is an answer to a GET, with a good status.
func httpPing(path string) func(i *instance) error {
	return func(i *instance) error { _, err := i.http("GET", path, ""); return err }
}

// http makes one request and returns the body of the answer.
func (i *instance) http(method, path, body string) (string, error) {
	conn, err := i.dial()
	if err != nil {
		return "", err
	}
	defer conn.Close()
	request, err := http.NewRequest(method, "http://localhost"+path, strings.NewReader(body))
	if err != nil {
		return "", err
	}
	request.Close = true
	if err := request.Write(conn); err != nil {
		return "", err
	}
	answer, err := http.ReadResponse(bufio.NewReader(conn), request)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode/100 != 2 {
		err = fmt.Errorf("%s %s: got %s: %s", method, path, answer.Status, text)
	}
	return string(text), err
}

// pgPing opens a session, as far as the server's first word: R, for
// authentication, once it takes clients; E while it starts.
func pgPing(i *instance) error {
	const startup = "\x00\x00\x00\x29\x00\x03\x00\x00user\x00postgres\x00database\x00postgres\x00\x00"
	return i.exchange(startup, 1, 'R')
}

// mysqlPing reads the server's greeting: version 10 of the protocol.
func mysqlPing(i *instance) error { return i.exchange("", 5, 10) }

// mqttPing connects: CONNECT is answered by CONNACK, accepted.
func mqttPing(i *instance) error {
	return i.exchange("\x10\x0c\x00\x04MQTT\x04\x02\x00\x3c\x00\x00", 4, 0)
}

// exchange sends a request and wants a byte at the end of the first n of the answer.
func (i *instance) exchange(request string, n int, last byte) error {
	conn, err := i.dial()
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, request); err != nil {
		return err
	}
	answer := make([]byte, n)
	if _, err := io.ReadFull(conn, answer); err != nil {
		return err
	}
	if answer[n-1] != last {
		return fmt.Errorf("got the answer %q, want %q at its end", answer, last)
	}
	return nil
}

// sql runs a statement through the client of MariaDB.
func (i *instance) sql(statement string) (string, error) {
	args := []string{"--socket=" + i.v("UNIX_SOCKET")}
	if port := i.v("PORT"); port != "" {
		args = []string{"--protocol=tcp", "--host=127.0.0.1", "--port=" + port}
	}
	return i.run(append([]string{"mariadb", "--no-defaults", "--user=root", "-N", "-B", "-e", statement}, args...)...)
}

// mqtt runs mosquitto_pub or mosquitto_sub.
func (i *instance) mqtt(verb string, args ...string) (string, error) {
	place := []string{"mosquitto_" + verb, "--unix", i.v("UNIX_SOCKET")}
	if port := i.v("PORT"); port != "" {
		place = []string{"mosquitto_" + verb, "-h", "127.0.0.1", "-p", port}
	}
	return i.run(append(place, args...)...)
}

// nats sends a request, if it has a subject, and returns the answer.
func (i *instance) nats(subject, body string) (string, error) {
	conn, err := i.dial()
	if err != nil {
		return "", err
	}
	defer conn.Close()
	r := bufio.NewReader(conn)
	if _, err := r.ReadString('\n'); err != nil { // INFO
		return "", err
	}
	request := "CONNECT {\"verbose\":false}\r\nPING\r\n"
	if subject != "" {
		request = fmt.Sprintf("CONNECT {\"verbose\":false}\r\nSUB answer 1\r\nPUB %s answer %d\r\n%s\r\n", subject, len(body), body)
	}
	if _, err := io.WriteString(conn, request); err != nil {
		return "", err
	}
	for {
		line, err := r.ReadString('\n')
		switch {
		case err != nil:
			return "", err
		case strings.HasPrefix(line, "-ERR"):
			return "", fmt.Errorf("%s", line)
		case subject == "" && strings.HasPrefix(line, "PONG"):
			return "", nil
		case strings.HasPrefix(line, "MSG"):
			answer, err := r.ReadString('\n')
			if err == nil && strings.Contains(answer, `"error"`) {
				err = fmt.Errorf("%s", answer)
			}
			return answer, err
		}
	}
}
