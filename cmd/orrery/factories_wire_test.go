package main

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
)

// httpPing is an answer to a GET, with a good status.
func httpPing(path string) func(i *instance) error {
	return func(i *instance) error { _, err := i.http("GET", path, ""); return err }
}

// http makes one request and returns the body of the answer.
func (i *instance) http(method, path, body string, headers ...string) (string, error) {
	conn, err := i.dial()
	if err != nil {
		return "", err
	}
	defer conn.Close()
	request, err := http.NewRequest(method, "http://localhost"+path, strings.NewReader(body))
	if err != nil {
		return "", err
	}
	for n := 0; n < len(headers); n += 2 {
		request.Header.Set(headers[n], headers[n+1])
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

// find makes a request and returns the text at a place of the JSON that answers.
func (i *instance) find(method, path, body string, place ...any) (string, error) {
	answer, err := i.http(method, path, body)
	if err != nil {
		return "", err
	}
	return inJSON(answer, place...)
}

// inJSON is the text at a place: keys of objects, numbers in arrays.
func inJSON(text string, place ...any) (string, error) {
	var tree any
	if err := json.Unmarshal([]byte(text), &tree); err != nil {
		return "", fmt.Errorf("got %q, want JSON: %w", text, err)
	}
	for _, step := range place {
		object, _ := tree.(map[string]any)
		array, _ := tree.([]any)
		key, named := step.(string)
		n, _ := step.(int)
		switch {
		case named && object[key] != nil:
			tree = object[key]
		case !named && n < len(array):
			tree = array[n]
		default:
			return "", fmt.Errorf("got %s, want something at %v", text, place)
		}
	}
	found, _ := tree.(string)
	return found, nil
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

// dns asks for the address of shop.test, by TCP, and returns the answer as it came.
func (i *instance) dns() (string, error) {
	const query = "\x00\x1b" + "\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00" + "\x04shop\x04test\x00\x00\x01\x00\x01"
	return i.binary(query, func(r io.Reader) ([]byte, error) {
		var size uint16
		if err := binary.Read(r, binary.BigEndian, &size); err != nil {
			return nil, err
		}
		answer := make([]byte, size)
		_, err := io.ReadFull(r, answer)
		return answer, err
	})
}

// fastcgi asks for /ping.
func (i *instance) fastcgi() (string, error) {
	record := func(kind byte, body string) string {
		return string([]byte{1, kind, 0, 1, byte(len(body) >> 8), byte(len(body)), 0, 0}) + body
	}
	var params strings.Builder
	for _, p := range [][2]string{{"SCRIPT_NAME", "/ping"}, {"SCRIPT_FILENAME", "/ping"}, {"REQUEST_METHOD", "GET"}} {
		params.WriteString(string([]byte{byte(len(p[0])), byte(len(p[1]))}) + p[0] + p[1])
	}
	request := record(1, "\x00\x01\x00\x00\x00\x00\x00\x00") + record(4, params.String()) + record(4, "") + record(5, "")
	return i.binary(request, io.ReadAll)
}

// binary sends a request and returns what read makes of the answer.
func (i *instance) binary(request string, read func(io.Reader) ([]byte, error)) (string, error) {
	conn, err := i.dial()
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, request); err != nil {
		return "", err
	}
	answer, err := read(conn)
	return string(answer), err
}

// amqp is a session of RabbitMQ's protocol: just enough to put a message into
// a durable queue and to look at it.
type amqp struct {
	net.Conn
	err error
}

// frame sends one.
func (a *amqp) frame(kind byte, channel uint16, body string) {
	if a.err == nil {
		head := binary.BigEndian.AppendUint16([]byte{kind}, channel)
		_, a.err = io.WriteString(a, string(binary.BigEndian.AppendUint32(head, uint32(len(body))))+body+"\xce")
	}
}

// read returns the body of the next frame, which has to begin with what is wanted.
func (a *amqp) read(want string) string {
	head := make([]byte, 7)
	if a.err == nil {
		_, a.err = io.ReadFull(a, head)
	}
	if a.err != nil {
		return ""
	}
	body := make([]byte, binary.BigEndian.Uint32(head[3:])+1)
	if _, a.err = io.ReadFull(a, body); a.err == nil && !strings.HasPrefix(string(body), want) {
		a.err = fmt.Errorf("got the frame %q, want %q", body, want)
	}
	return string(body[:len(body)-1])
}

// call sends a method and wants an answer.
func (a *amqp) call(channel uint16, method, answer string) {
	a.frame(1, channel, method)
	a.read(answer)
}

// amqp is a session of guest, who makes the queue; in b it is one of the user, the virtual host and
// the queue that the factory has made.
func (i *instance) amqp() (*amqp, error) {
	login, vhost, declare := "\x00guest\x00guest", "/", "\x02" // durable
	if i.name == "b" {
		login, vhost, declare = "\x00shop\x00secret", "shop", "\x01" // it has to be there
	}
	conn, err := i.dial()
	if err != nil {
		return nil, err
	}
	a := &amqp{Conn: conn}
	_, a.err = io.WriteString(conn, "AMQP\x00\x00\x09\x01")
	a.read("\x00\x0a\x00\x0a")                                                                                                        // start
	a.call(0, "\x00\x0a\x00\x0b\x00\x00\x00\x00\x05PLAIN\x00\x00\x00"+string(rune(len(login)))+login+"\x05en_US", "\x00\x0a\x00\x1e") // start-ok, tune
	a.frame(1, 0, "\x00\x0a\x00\x1f\x07\xff\x00\x02\x00\x00\x00\x00")                                                                 // tune-ok
	a.call(0, "\x00\x0a\x00\x28"+string(rune(len(vhost)))+vhost+"\x00\x00", "\x00\x0a\x00\x29")                                       // open
	a.call(1, "\x00\x14\x00\x0a\x00", "\x00\x14\x00\x0b")                                                                             // channel.open
	a.call(1, "\x00\x32\x00\x0a\x00\x00\x04kept"+declare+"\x00\x00\x00\x00", "\x00\x32\x00\x0b")                                      // queue.declare
	return a, nil
}

// amqpPut publishes a persistent message, in a transaction.
func amqpPut(i *instance, value string) error {
	a, err := i.amqp()
	if err != nil {
		return err
	}
	defer a.Close()
	a.call(1, "\x00\x5a\x00\x0a", "\x00\x5a\x00\x0b")
	a.frame(1, 1, "\x00\x3c\x00\x28\x00\x00\x00\x04kept\x00")
	a.frame(2, 1, "\x00\x3c\x00\x00"+string(binary.BigEndian.AppendUint64(nil, uint64(len(value))))+"\x10\x00\x02")
	a.frame(3, 1, value)
	a.call(1, "\x00\x5a\x00\x14", "\x00\x5a\x00\x15")
	return a.err
}

var errNoMessage = errors.New("the queue has no message")

// amqpGet looks at the first message. As it is not acknowledged, it stays: it is there for the next one when the server has noticed that this
// connection is closed.
func amqpGet(i *instance) (text string, err error) {
	await(func() bool {
		text, err = amqpLook(i)
		return !errors.Is(err, errNoMessage)
	})
	return text, err
}

func amqpLook(i *instance) (string, error) {
	a, err := i.amqp()
	if err != nil {
		return "", err
	}
	defer a.Close()
	a.frame(1, 1, "\x00\x3c\x00\x46\x00\x00\x04kept\x00")
	if strings.HasPrefix(a.read("\x00\x3c\x00"), "\x00\x3c\x00\x48") {
		return "", errNoMessage
	}
	a.read("\x00\x3c")
	return a.read(""), a.err
}

// zookeeper makes one session with one request: 1 creates a node, 4 reads one.
func (i *instance) zookeeper(kind uint32, body string) (string, error) {
	frame := func(s string) string { return string(binary.BigEndian.AppendUint32(nil, uint32(len(s)))) + s }
	session := frame(strings.Repeat("\x00", 4+8) + "\x00\x00\x75\x30" + strings.Repeat("\x00", 8) + frame(strings.Repeat("\x00", 16)))
	request := frame("\x00\x00\x00\x01" + string(binary.BigEndian.AppendUint32(nil, kind)) + frame("/kept") + body)
	return i.binary(session+request, func(r io.Reader) ([]byte, error) {
		var answer []byte
		for range 2 {
			var size uint32
			if err := binary.Read(r, binary.BigEndian, &size); err != nil {
				return nil, err
			}
			answer = make([]byte, size)
			if _, err := io.ReadFull(r, answer); err != nil {
				return nil, err
			}
		}
		const head = 4 + 8 + 4 // number of the request, of the transaction, error
		if len(answer) < head || string(answer[12:head]) != "\x00\x00\x00\x00" {
			return nil, fmt.Errorf("got the answer %q, want no error", answer)
		}
		return answer[head:], nil
	})
}

// zookeeperPut makes a node, open to all, that stays.
func zookeeperPut(i *instance, value string) error {
	text := func(s string) string { return string(binary.BigEndian.AppendUint32(nil, uint32(len(s)))) + s }
	_, err := i.zookeeper(1, text(value)+"\x00\x00\x00\x01\x00\x00\x00\x1f"+text("world")+text("anyone")+"\x00\x00\x00\x00")
	return err
}

// zookeeperGet reads it.
func zookeeperGet(i *instance) (string, error) {
	answer, err := i.zookeeper(4, "\x00")
	if err != nil || len(answer) < 4 || len(answer) < 4+int(binary.BigEndian.Uint32([]byte(answer))) {
		return "", fmt.Errorf("got %q, want a text: %v", answer, err)
	}
	return answer[4 : 4+binary.BigEndian.Uint32([]byte(answer))], nil
}
