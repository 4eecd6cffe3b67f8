"""A server on a held socket that fails no request while it is restarted."""
import os, select, signal, socket, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

LINGER = 0.2  # seconds that idle clients have to hear that their connection closes
draining = threading.Event()

class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    first = True

    def handle_one_request(self):
        wait = 5 if self.first else LINGER  # one that has just connected is about to ask
        self.first = False
        while not select.select([self.connection], [], [], wait)[0]:
            if draining.is_set():  # 3. it has been quiet: close it
                self.close_connection = True
                return
        super().handle_one_request()

    def do_GET(self):
        body = b"pid %d" % os.getpid()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        if draining.is_set():  # 2. whoever asks learns that it closes
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args): pass

class Server(ThreadingHTTPServer):
    daemon_threads = False

server = Server(("127.0.0.1", 0), Handler, bind_and_activate=False)
server.socket.close()
server.socket = socket.socket(fileno=3)  # LISTEN_FDS: the first socket
server.socket.setblocking(False)         # with overlap, another process may be quicker to accept

def stop(*_):
    draining.set()
    threading.Thread(target=server.shutdown).start()

signal.signal(signal.SIGTERM, stop)
if "NOTIFY_SOCKET" in os.environ:
    s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    s.sendto(b"READY=1", os.environ["NOTIFY_SOCKET"])
server.serve_forever(poll_interval=0.01)  # until SIGTERM; 1. then accept no more: the next process does
server.server_close()                     # 4. when the last connection is closed
