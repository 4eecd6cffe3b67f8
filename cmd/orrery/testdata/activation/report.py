"""Says what a program is given: variables, and every descriptor above 2."""
import fcntl, os, socket, sys, time
fds = []
for fd in range(3, 256):
    try: fcntl.fcntl(fd, fcntl.F_GETFD)
    except OSError: continue
    fds.append(fd)
out = []
for k in ("LISTEN_FDS", "LISTEN_FDNAMES"):
    out.append("%s=%s" % (k, os.environ.get(k)))
out.append("LISTEN_PID is ours: %s" % (os.environ.get("LISTEN_PID") == str(os.getpid())))
for fd in fds:
    s = socket.socket(fileno=os.dup(fd))
    out.append("%d %s %s listening=%d inherited=%s blocks=%s" % (fd, s.family.name, s.type.name,
        s.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN), os.get_inheritable(fd), os.get_blocking(fd)))
open(sys.argv[1] + ".new", "w").write("\n".join(out) + "\n")
os.rename(sys.argv[1] + ".new", sys.argv[1])
if "LISTEN_PIDFDID" in os.environ:
    assert os.fstat(os.pidfd_open(os.getpid())).st_ino == int(os.environ["LISTEN_PIDFDID"])
if len(sys.argv) < 3: time.sleep(3600)
