// A server on a held socket that fails no request while it is restarted.
const http = require("node:http");
const net = require("node:net");
const { execFile } = require("node:child_process");

const linger = 200; // ms that clients have to hear that their connection closes
let draining = false;
const server = http.createServer((request, response) => {
  if (draining) response.setHeader("Connection", "close");
  response.end("pid " + process.pid);
});
server.keepAliveTimeout = 0; // the client closes idle connections, not we

process.on("SIGTERM", () => {
  draining = true;
  // 1. accept no more. http.Server.close would also cut idle connections.
  net.Server.prototype.close.call(server, () => process.exit(0)); // 4. when the last one is closed
  // 2. and 3. requests are answered, and idle clients learn that it closes
  setTimeout(() => server.closeIdleConnections(), linger);
  setInterval(() => server.closeIdleConnections(), linger);
});

server.listen({ fd: 3 }, () => { // LISTEN_FDS: the first socket
  if (process.env.NOTIFY_SOCKET) execFile("systemd-notify", ["--ready"]);
});
