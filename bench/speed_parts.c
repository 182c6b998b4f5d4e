/* bench/speed_parts.c - messages of more connections than one process may have descriptors for.
 *
 * Each part is a process that does what speed_load.c does, with its share of the connections. They
 * begin to send when all are connected; what they tell at the end is put together. */
#include "speed.h"

#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

/* What a part says that a part hears: that it is connected; that all are; and its result. */
static int to_parent, from_parent;

static void say(int fd, const void *bytes, size_t size)
{
    if (write(fd, bytes, size) != (ssize_t)size) { /* less than PIPE_BUF: all or nothing */
        side_die("the other side of a part is gone");
    }
}

static void hear(int fd, void *bytes, size_t size)
{
    if (read(fd, bytes, size) != (ssize_t)size) {
        side_die("a part has failed");
    }
}

static void wait_for_others(void)
{
    char byte = 0;

    say(to_parent, &byte, 1);
    hear(from_parent, &byte, 1);
}

static _Noreturn void be_part(const struct speed_args *all, uint64_t parts, uint64_t connections)
{
    struct speed_args a = *all;
    struct side_result r = {0};

    a.side.connections = connections;
    a.parts = parts;
    a.connected = wait_for_others;
    speed_part(&a, &r);
    say(to_parent, &r, sizeof r);
    exit(0);
}

/* Of the server's time each tells what it saw between its first order and its last. */
static void put_together(struct side_result *r, const struct side_result *of_part)
{
    r->messages += of_part->messages;
    r->bytes += of_part->bytes;
    r->cpu_ns += of_part->cpu_ns;
    r->ns = of_part->ns > r->ns ? of_part->ns : r->ns;
    r->server_cpu_ns =
        of_part->server_cpu_ns > r->server_cpu_ns ? of_part->server_cpu_ns : r->server_cpu_ns;
    r->slowest = of_part->slowest < r->slowest ? of_part->slowest : r->slowest;
    r->fastest = of_part->fastest > r->fastest ? of_part->fastest : r->fastest;
}

void speed_parts(const struct speed_args *a, struct side_result *r)
{
    uint64_t parts = (a->side.connections + SPEED_PART_MAX - 1) / SPEED_PART_MAX;
    int up[2], down[2];
    char byte = 0;

    if (pipe(up) < 0 || pipe(down) < 0) {
        side_die("no pipe");
    }
    to_parent = up[1];
    from_parent = down[0];
    for (uint64_t i = 0; i < parts; i++) {
        pid_t pid = fork();
        if (pid < 0) {
            side_die("no process for a part");
        }
        if (pid == 0) {
            close(up[0]); /* who waits for one that has failed sees the end of the pipe */
            close(down[1]);
            be_part(a, parts, (a->side.connections + i) / parts);
        }
    }
    close(up[1]);
    close(down[0]);
    for (uint64_t i = 0; i < parts; i++) {
        hear(up[0], &byte, 1);
    }
    for (uint64_t i = 0; i < parts; i++) {
        say(down[1], &byte, 1);
    }
    r->slowest = UINT64_MAX;
    for (uint64_t i = 0; i < parts; i++) {
        struct side_result of_part;
        hear(up[0], &of_part, sizeof of_part);
        put_together(r, &of_part);
    }
    int status;
    while (wait(&status) > 0) {
        if (status != 0) {
            side_die("a part has failed");
        }
    }
}
