"""Asks one server one thing, for servers without a client of their own in Debian: client.py NAME HOST:PORT."""
import socket
import struct
import sys


def lines(request, want):
    """Sends a request of text, and reads lines until one begins with what is wanted."""
    def ask(conn):
        conn.sendall(request)
        for line in conn.makefile("rb"):
            if line.startswith((b"-ERR", b"ERROR", b"CLIENT_ERROR", b"SERVER_ERROR")):
                break
            if line.startswith(want):
                return line
        raise SystemExit("got no %r" % want)
    return ask


def fastcgi(conn):
    """Asks for /ping, as a web server would."""
    def record(kind, body):
        return struct.pack(">BBHHBB", 1, kind, 1, len(body), 0, 0) + body
    params = {b"SCRIPT_NAME": b"/ping", b"SCRIPT_FILENAME": b"/ping", b"REQUEST_METHOD": b"GET"}
    pairs = b"".join(struct.pack("BB", len(k), len(v)) + k + v for k, v in params.items())
    conn.sendall(record(1, b"\0\1\0\0\0\0\0\0") + record(4, pairs) + record(4, b"") + record(5, b""))
    answer = conn.makefile("rb").read()
    if b"pong" not in answer:
        raise SystemExit("got %r" % answer)
    return b"pong"


clients = {
    "beanstalkd": lines(b"put 0 0 60 5\r\nhello\r\nreserve\r\n", b"hello"),
    "memcached": lines(b"set word 0 0 5\r\nhello\r\nget word\r\n", b"hello"),
    "nats": lines(b'CONNECT {"verbose":false}\r\nSUB word 1\r\nPUB word 5\r\nhello\r\n', b"hello"),
    "php_fpm": fastcgi,
    "zookeeper": lines(b"srvr", b"Mode: standalone"),
}
name, address = sys.argv[1:]
host, port = address.split(":")
with socket.create_connection((host, int(port)), timeout=10) as conn:
    print(clients[name](conn).decode().strip())
