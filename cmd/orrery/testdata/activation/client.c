/* A client of libsystemd: it says which sockets it was given. */
#include <stdio.h>
#include <sys/socket.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

int main(int argc, char **argv) {
    char **names;
    FILE *f = fopen(argv[1], "w");
    int n = sd_listen_fds_with_names(0, &names);
    fprintf(f, "%d files\n", n);
    for (int i = 0; i < n; i++)
        fprintf(f, "%s %s\n", names[i],
                sd_is_socket_inet(SD_LISTEN_FDS_START + i, AF_UNSPEC, SOCK_STREAM, 1, 0) > 0 ? "tcp"
                : sd_is_socket_unix(SD_LISTEN_FDS_START + i, SOCK_STREAM, 1, NULL, 0) > 0    ? "unix"
                                                                                            : "?");
    fclose(f);
    sd_notify(0, "READY=1");
    pause();
}
