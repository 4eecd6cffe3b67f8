package main

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// strictLoad sends requests of which none is tried a second time, as a client
// would that knows that it must not.
type strictLoad struct {
	addr    string // of TCP
	keep    bool   // use a connection until the server says that it closes
	clients int    // each with at most one request at a time
	protocol

	sent, refused, failed atomic.Int64
	away                  atomic.Int64 // the server said that it cannot
	reused                atomic.Int64
	stop                  atomic.Bool
	done                  sync.WaitGroup
	first                 sync.Map

	mu       sync.Mutex
	answered time.Time     // when the last answer came
	gap      time.Duration // longest time without any
}

// protocol is how a client speaks.
type protocol struct {
	// greet is what it says on a new connection; nil: nothing.
	greet func(c net.Conn, r *bufio.Reader) error
	// ask sends a request and reads the answer; more says that the connection
	// serves for another one.
	ask func(c net.Conn, r *bufio.Reader, keep bool) (more bool, err error)
}

// errAway is a server's word that it does not serve: it is starting, or ends.
var errAway = errors.New("turned away")

func (l *strictLoad) begin() {
	for range l.clients {
		l.done.Go(func() {
			var c net.Conn
			var r *bufio.Reader
			for !l.stop.Load() {
				var more bool
				var err error
				if c == nil {
					c, r, err = l.connect()
				} else {
					l.reused.Add(1)
				}
				if err == nil {
					more, err = l.ask(c, r, l.keep)
				}
				l.count(err)
				if !more && c != nil {
					c.Close()
					c = nil
				}
				time.Sleep(time.Millisecond) // the pace of a client
			}
			if c != nil {
				c.Close()
			}
		})
	}
}

// connect opens a connection; one that is open is returned with the error, too.
func (l *strictLoad) connect() (net.Conn, *bufio.Reader, error) {
	c, err := net.DialTimeout("tcp", l.addr, 10*time.Second)
	if err != nil {
		return nil, nil, err
	}
	c.SetDeadline(time.Now().Add(20 * time.Second))
	r := bufio.NewReader(c)
	if l.greet != nil {
		err = l.greet(c, r)
	}
	return c, r, err
}

func (l *strictLoad) count(err error) {
	l.sent.Add(1)
	switch {
	case err == nil:
		l.mu.Lock()
		now := time.Now()
		if !l.answered.IsZero() {
			l.gap = max(l.gap, now.Sub(l.answered))
		}
		l.answered = now
		l.mu.Unlock()
		return
	case errors.Is(err, syscall.ECONNREFUSED):
		l.refused.Add(1)
	case errors.Is(err, errAway):
		l.away.Add(1)
	default:
		l.failed.Add(1)
	}
	if op, ok := errors.AsType[*net.OpError](err); ok {
		err = op.Err // without the addresses
	}
	l.first.LoadOrStore(err.Error(), true)
}

// ok is how many were answered.
func (l *strictLoad) ok() int64 {
	return l.sent.Load() - l.refused.Load() - l.away.Load() - l.failed.Load()
}

// end waits until at least n were sent, and ends the load.
func (l *strictLoad) end(n int) {
	for l.sent.Load() < int64(n) {
		time.Sleep(time.Millisecond) // no event: the count is an atomic of all clients
	}
	l.stop.Store(true)
	l.done.Wait()
}

func (l *strictLoad) String() string {
	s := fmt.Sprintf("%d requests (%d on a kept connection), %d refused, %d turned away, %d failed, gap %s",
		l.sent.Load(), l.reused.Load(), l.refused.Load(), l.away.Load(), l.failed.Load(), ms(l.gap))
	l.first.Range(func(k, _ any) bool {
		s += "; " + k.(string)
		return true
	})
	return s
}

// askHTTP makes a GET.
func askHTTP(c net.Conn, r *bufio.Reader, keep bool) (more bool, err error) {
	c.SetDeadline(time.Now().Add(20 * time.Second))
	header := ""
	if !keep {
		header = "Connection: close\r\n"
	}
	if _, err := fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: x\r\n%s\r\n", header); err != nil {
		return false, err
	}
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		return false, err
	}
	body, err := io.ReadAll(resp.Body)
	if err == nil && (resp.StatusCode != 200 || len(body) < 5) {
		err = fmt.Errorf("got %s %q", resp.Status, body)
	}
	return err == nil && keep && !resp.Close, err
}

// askRedis counts one up.
func askRedis(c net.Conn, r *bufio.Reader, keep bool) (more bool, err error) {
	c.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.WriteString(c, "INCR hits\r\n"); err != nil {
		return false, err
	}
	line, err := r.ReadString('\n')
	switch {
	case err != nil:
		return false, err
	case strings.HasPrefix(line, "-LOADING"):
		return false, fmt.Errorf("%w: %s", errAway, strings.TrimSpace(line))
	case line[0] != ':':
		return false, fmt.Errorf("got %q", line)
	}
	return keep, nil
}

// greetPostgres opens a session of the user postgres.
func greetPostgres(c net.Conn, r *bufio.Reader) error {
	if _, err := io.WriteString(c, "\x00\x00\x00\x29\x00\x03\x00\x00user\x00postgres\x00database\x00postgres\x00\x00"); err != nil {
		return err
	}
	return untilReady(r)
}

// askPostgres adds a row.
func askPostgres(c net.Conn, r *bufio.Reader, keep bool) (more bool, err error) {
	c.SetDeadline(time.Now().Add(20 * time.Second))
	const sql = "insert into hits default values\x00"
	if _, err := io.WriteString(c, "Q"+string(binary.BigEndian.AppendUint32(nil, 4+uint32(len(sql))))+sql); err != nil {
		return false, err
	}
	err = untilReady(r)
	if err == nil && !keep {
		_, _ = io.WriteString(c, "X\x00\x00\x00\x04")
	}
	return err == nil && keep, err
}

// untilReady reads PostgreSQL's messages until it is ready for a query.
func untilReady(r *bufio.Reader) error {
	head := make([]byte, 5)
	for {
		if _, err := io.ReadFull(r, head); err != nil {
			return err
		}
		body := make([]byte, binary.BigEndian.Uint32(head[1:])-4)
		if _, err := io.ReadFull(r, body); err != nil {
			return err
		}
		switch head[0] {
		case 'Z':
			return nil
		case 'E':
			text := strings.ReplaceAll(string(body), "\x00", " ")
			if strings.Contains(text, "C57P") { // admin_shutdown, cannot_connect_now
				return fmt.Errorf("%w: %s", errAway, text)
			}
			return fmt.Errorf("got %s", text)
		}
	}
}

// mysqlPacket reads one, and sends one behind it.
func mysqlPacket(r *bufio.Reader) (seq byte, body []byte, err error) {
	head := make([]byte, 4)
	if _, err := io.ReadFull(r, head); err != nil {
		return 0, nil, err
	}
	body = make([]byte, int(head[0])|int(head[1])<<8|int(head[2])<<16)
	_, err = io.ReadFull(r, body)
	if err == nil && len(body) > 2 && body[0] == 0xff {
		err = fmt.Errorf("got error %d: %q", binary.LittleEndian.Uint16(body[1:]), body[3:])
		if code := binary.LittleEndian.Uint16(body[1:]); code == 1053 || code == 1927 { // shutdown in progress, connection was killed
			err = fmt.Errorf("%w: %v", errAway, err)
		}
	}
	return head[3], body, err
}

func sendMySQL(c net.Conn, seq byte, body string) error {
	_, err := io.WriteString(c, string([]byte{byte(len(body)), byte(len(body) >> 8), byte(len(body) >> 16), seq})+body)
	return err
}

// greetMariaDB opens a session of root, who has no password.
func greetMariaDB(c net.Conn, r *bufio.Reader) error {
	seq, _, err := mysqlPacket(r)
	if err != nil {
		return err
	}
	// Protocol 4.1, secure connection, a database, the name of the plugin.
	const hello = "\x08\x82\x08\x00\x00\x00\x00\x01\x21" + "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00" +
		"root\x00" + "\x00" + "shop\x00" + "mysql_native_password\x00"
	if err := sendMySQL(c, seq+1, hello); err != nil {
		return err
	}
	seq, body, err := mysqlPacket(r)
	if err == nil && len(body) > 0 && body[0] == 0xfe { // asks for the password in another way
		if err = sendMySQL(c, seq+1, ""); err == nil {
			_, _, err = mysqlPacket(r)
		}
	}
	return err
}

// askMariaDB adds a row.
func askMariaDB(c net.Conn, r *bufio.Reader, keep bool) (more bool, err error) {
	c.SetDeadline(time.Now().Add(20 * time.Second))
	if err := sendMySQL(c, 0, "\x03insert into hits values ()"); err != nil {
		return false, err
	}
	_, _, err = mysqlPacket(r)
	if err == nil && !keep {
		_ = sendMySQL(c, 0, "\x01")
	}
	return err == nil && keep, err
}
