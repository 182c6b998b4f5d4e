/* tests/net/test_netchange.c - this machine's network changes, in namespaces that the test makes:
 * addresses, links and routes are noticed, and two servers go on when the ground moves.
 *
 * Needs the right to make a network namespace, and ip(8); skipped without. */
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../unit/harness.h"
#include "couple.h"
#include "io/netwatch.h"

#define WAIT_MS 10000 /* for what the kernel tells at once; only a failure waits so long */

/* ---- namespaces ------------------------------------------------------------------------------ */

static bool run(const char *format, ...) __attribute__((format(printf, 1, 2)));
static bool run(const char *format, ...)
{
    char line[256];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    return system(line) == 0;
}

#define MUST(...) ck_assert_msg(run(__VA_ARGS__), __VA_ARGS__)

static bool new_network(void)
{
    return unshare(CLONE_NEWNET) == 0 || unshare(CLONE_NEWUSER | CLONE_NEWNET) == 0;
}

static int this_network(void)
{
    int fd = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    return fd;
}

/* ---- the watch --------------------------------------------------------------------------------
 */

static struct tbi_alloc memory;
static struct tbi_netwatch *watch;

static void begin_watch(void)
{
    ck_assert(new_network());
    MUST("ip link set lo up");
    ck_assert_int_eq(tbi_alloc_init(&memory, NULL), 0);
    ck_assert_int_eq(tbi_netwatch_new(&watch, &memory), 0);
}

static void end_watch(void)
{
    tbi_netwatch_free(watch);
}

static bool is_told(void)
{
    bool failed, changed = tbi_netwatch_read(watch, &failed);
    ck_assert(!failed);
    return changed;
}

static bool becomes_readable(void)
{
    struct pollfd p = {.fd = tbi_netwatch_fd(watch), .events = POLLIN};
    return poll(&p, 1, WAIT_MS) == 1;
}

static void notices(const char *command)
{
    while (is_told()) {
    }
    MUST("%s", command);
    do { /* an IPv6 address has its route first, which is no news; the rest comes later */
        ck_assert_msg(becomes_readable(), "%s", command);
    } while (!is_told());
}

START_TEST(addresses_links_and_default_routes_are_noticed)
{
    notices("ip address add 10.9.9.1/24 dev lo");
    notices("ip address del 10.9.9.1/24 dev lo");
    notices("ip address add 2001:db8::1/64 dev lo nodad");
    notices("ip address del 2001:db8::1/64 dev lo");
    notices("ip link set lo down");
    notices("ip link set lo up");
    notices("ip route add default dev lo");
    notices("ip route del default dev lo");
}
END_TEST

/* So many changes that the socket has no room for what they cause. */
START_TEST(more_news_than_there_is_room_for)
{
    FILE *batch = popen("ip -batch -", "w");
    ck_assert_ptr_nonnull(batch);
    for (int i = 0; i < 3000; i++) {
        fprintf(batch, "address add 10.9.%d.%d/32 dev lo\n", i / 250, 1 + i % 250);
    }
    ck_assert_int_eq(pclose(batch), 0);
    bool first = is_told();
    while (is_told()) {
    }
    ck_assert(first);
    notices("ip address add 10.11.0.1/32 dev lo"); /* and it goes on afterwards */
}
END_TEST

/* ---- servers ----------------------------------------------------------------------------------
 */

static struct side a, b;
static size_t told; /* times that A's node was told */

static void on_log(void *user, tbq_log_level level, const char *line)
{
    (void)user, (void)level;
    told += strstr(line, "the network has changed") != NULL;
}

static void start(struct side *s, bool watched)
{
    tbq_config c = couple_config(s);
    c.bind_address = "::";
    c.no_network_watch = !watched;
    c.no_discovery = true;
    if (s == &a) {
        c.log = on_log;
        c.log_level = TBQ_LOG_INFO;
    }
    ck_assert_int_eq(tbq_server_start(&s->server, &c, NULL, NULL, NULL), 0);
}

/* Two networks with a wire between them: A is at 10.9.0.2, B at 10.9.0.1. */
static int of_a, of_b;
static void wire(void)
{
    ck_assert(new_network());
    of_a = this_network();
    ck_assert_int_eq(unshare(CLONE_NEWNET), 0);
    of_b = this_network();
    MUST("ip link add vb type veth peer name va netns /proc/%d/fd/%d", (int)getpid(), of_a);
    MUST("ip address add 10.9.0.1/24 dev vb && ip link set vb up && ip link set lo up");
    ck_assert_int_eq(setns(of_a, CLONE_NEWNET), 0);
    MUST("ip address add 10.9.0.2/24 dev va && ip link set va up && ip link set lo up");
}

static bool both_up(void *arg)
{
    (void)arg;
    return a.events[TBQ_EVENT_CONNECTED] > 0 && b.events[TBQ_EVENT_CONNECTED] > 0;
}

static bool b_sees_a_path(void *arg)
{
    (void)arg;
    return b.events[TBQ_EVENT_PATH] > 0;
}

static size_t wanted;
static bool delivered(void *arg)
{
    (void)arg;
    return a.fates[TBQ_DELIVERED] + b.fates[TBQ_DELIVERED] >= wanted;
}

static void send_one(struct side *from, struct side *to)
{
    tbq_message m = tbq_transition("on we go", 8);
    ck_assert_int_eq(tbq_send_to(from->server, tbq_server_peer_id(to->server), &m, NULL), 0);
    wanted++;
}

static void connect_over_the_wire(bool watched)
{
    char uri[32];
    wire();
    start(&a, watched);
    ck_assert_int_eq(setns(of_b, CLONE_NEWNET), 0);
    start(&b, true);
    ck_assert_int_eq(setns(of_a, CLONE_NEWNET), 0);
    snprintf(uri, sizeof uri, "10.9.0.1%s", strrchr(tbq_server_address(b.server), ':'));
    ck_assert_int_eq(tbq_server_connect(a.server, uri, NULL), 0);
    ck_assert(couple_run(&a, &b, both_up, NULL));
    send_one(&a, &b);
    send_one(&b, &a);
    ck_assert(couple_run(&a, &b, delivered, NULL));
}

static void end_servers(void)
{
    couple_end(&a);
    couple_end(&b);
    close(of_a);
    close(of_b);
}

/* The address that the connection uses goes, and another one comes. */
START_TEST(a_connection_moves_with_its_machine)
{
    connect_over_the_wire(true);
    MUST("ip address add 10.9.0.77/24 dev va && ip address del 10.9.0.2/24 dev va");
    MUST("ip address show dev va | grep -q 10.9.0.77 || ip address add 10.9.0.77/24 dev va");
    send_one(&a, &b);
    send_one(&b, &a);
    ck_assert(couple_run(&a, &b, b_sees_a_path, NULL));
    ck_assert(couple_run(&a, &b, delivered, NULL));
    ck_assert_uint_eq(a.events[TBQ_EVENT_DISCONNECTED] + b.events[TBQ_EVENT_DISCONNECTED], 0);
    ck_assert_uint_eq(a.events[TBQ_EVENT_CONNECTED] + b.events[TBQ_EVENT_CONNECTED], 2);
    ck_assert_uint_eq(b.events[TBQ_EVENT_MESSAGE], 2);
    ck_assert_uint_eq(a.events[TBQ_EVENT_MESSAGE], 2);
    end_servers();
}
END_TEST

static bool was_told(void *arg)
{
    (void)arg;
    return told > 0;
}

/* Who does without the watch is told by the embedder; many calls are one piece of news. */
START_TEST(an_embedder_tells)
{
    struct pollfd fds[TBQ_FDS_MAX];
    connect_over_the_wire(false);
    ck_assert_uint_eq(tbq_server_pollfds(a.server, fds, TBQ_FDS_MAX) + 1,
                      tbq_server_pollfds(b.server, fds, TBQ_FDS_MAX));
    MUST("ip address add 10.9.0.77/24 dev va && ip address del 10.9.0.2/24 dev va");
    MUST("ip address show dev va | grep -q 10.9.0.77 || ip address add 10.9.0.77/24 dev va");
    for (int i = 0; i < 20; i++) {
        ck_assert_int_eq(tbq_server_network_changed(a.server), 0);
    }
    ck_assert_uint_eq(told, 0);
    send_one(&a, &b);
    ck_assert(couple_run(&a, &b, b_sees_a_path, NULL));
    ck_assert(couple_run(&a, &b, delivered, NULL));
    ck_assert(couple_run(&a, &b, was_told, NULL));
    ck_assert_uint_eq(told, 1);
    ck_assert_uint_eq(a.events[TBQ_EVENT_DISCONNECTED] + b.events[TBQ_EVENT_DISCONNECTED], 0);
    end_servers();
}
END_TEST

/* News that never ends is passed on all the same, but not one by one. */
START_TEST(news_without_end_is_told_meanwhile)
{
    struct timespec begun, now;
    ck_assert(new_network());
    start(&a, false);
    clock_gettime(CLOCK_MONOTONIC, &begun);
    do {
        ck_assert_int_eq(tbq_server_network_changed(a.server), 0);
        ck_assert_int_eq(tbq_server_process(a.server), 0);
        clock_gettime(CLOCK_MONOTONIC, &now);
    } while (told == 0 && now.tv_sec < begun.tv_sec + GUARD_MS / 1000);
    ck_assert_uint_eq(told, 1);
    long ms = (long)(now.tv_sec - begun.tv_sec) * 1000 + (now.tv_nsec - begun.tv_nsec) / 1000000;
    ck_assert_int_ge(ms, 99); /* at rest for 100 ms, however slow this machine is */
    couple_end(&a);
}
END_TEST

/* Who waits on the one descriptor hears of it too, and is woken again when it is time. */
START_TEST(one_descriptor_is_enough)
{
    ck_assert(new_network());
    MUST("ip link set lo up");
    start(&a, true);
    struct pollfd p = {.fd = tbq_server_fd(a.server), .events = POLLIN};
    ck_assert_int_ge(p.fd, 0);
    while (poll(&p, 1, 0) == 1) {
        ck_assert_int_eq(tbq_server_process(a.server), 0);
    }
    MUST("ip address add 10.9.9.1/24 dev lo");
    while (told == 0) {
        ck_assert_int_eq(poll(&p, 1, WAIT_MS), 1);
        ck_assert_int_eq(tbq_server_process(a.server), 0);
    }
    couple_end(&a);
}
END_TEST

/* Asked in a process of its own, so that nothing stays of it. */
static bool may_make_networks(void)
{
    pid_t pid = fork();
    int status = 1;
    if (pid == 0) {
        _exit(new_network() && unshare(CLONE_NEWNET) == 0 && run("ip link set lo up") &&
                      run("ip link add va type veth peer name vb")
                  ? 0
                  : 1);
    }
    return pid > 0 && waitpid(pid, &status, 0) == pid && status == 0;
}

int main(void)
{
    if (!may_make_networks()) {
        printf("1..0 # SKIP no right to make network namespaces, or no ip(8) and veth\n");
        return 0;
    }
    Suite *suite = suite_create("netchange");
    TCase *tc = tcase_create("watch");
    suite_add_tcase(suite, tc);
    tcase_add_checked_fixture(tc, begin_watch, end_watch);
    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, addresses_links_and_default_routes_are_noticed);
    tcase_add_test(tc, more_news_than_there_is_room_for);
    tc = tcase_create("servers");
    suite_add_tcase(suite, tc);
    tcase_set_timeout(tc, 120);
    tcase_add_test(tc, a_connection_moves_with_its_machine);
    tcase_add_test(tc, an_embedder_tells);
    tcase_add_test(tc, news_without_end_is_told_meanwhile);
    tcase_add_test(tc, one_descriptor_is_enough);
    return tbi_test_main(suite);
}
