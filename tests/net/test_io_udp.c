/* tests/net/test_io_udp.c - the UDP socket over loopback, and what it does when the kernel refuses.
 *
 * Refusals that a healthy machine never shows (no GSO on a route, a full send buffer, no IPv6)
 * are made by a sendmsg(), sendmmsg(), recvmmsg() and socket() of our own, before the C library's.
 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../unit/harness.h"
#include "base/alloc.h"
#include "base/datagram.h"
#include "io/udp.h"
#include <tbquic/error.h>

#define WAIT_MS 5000 /* for what arrives at once; only a failure waits so long */

/* ---- refusals ------------------------------------------------------------------------------- */

static struct {
    int error;     /* what to answer; 0: nothing is refused */
    int pass;      /* calls to let through first */
    int times;     /* calls to refuse after them */
    bool only_gso; /* let everything else through */
    int bundles;   /* calls with UDP_SEGMENT that were made */
} refusal;

static bool is_gso(const struct msghdr *m)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c != NULL;
         c = CMSG_NXTHDR((struct msghdr *)(uintptr_t)m, c)) {
        if (c->cmsg_level == IPPROTO_UDP) {
            return true;
        }
    }
    return false;
}

static bool refuses(const struct msghdr *m)
{
    bool gso = is_gso(m);
    refusal.bundles += gso ? 1 : 0;
    if (refusal.error == 0 || (refusal.only_gso && !gso)) {
        return false;
    }
    if (refusal.pass > 0) {
        refusal.pass--;
        return false;
    }
    if (refusal.times == 0) {
        return false;
    }
    refusal.times--;
    errno = refusal.error;
    return true;
}

ssize_t sendmsg(int fd, const struct msghdr *m, int flags)
{
    return refuses(m) ? -1 : (ssize_t)syscall(SYS_sendmsg, fd, m, flags);
}

static bool without_mmsg; /* as an old kernel, or one that filters calls */
static int mmsg_calls;

static bool lacks_mmsg(void)
{
    mmsg_calls++;
    errno = ENOSYS;
    return without_mmsg;
}

int recvmmsg(int fd, struct mmsghdr *m, unsigned n, int flags, struct timespec *timeout)
{
    return lacks_mmsg() ? -1 : (int)syscall(SYS_recvmmsg, fd, m, n, flags, timeout);
}

int sendmmsg(int fd, struct mmsghdr *m, unsigned n, int flags)
{
    if (lacks_mmsg()) {
        return -1;
    }
    return refuses(&m->msg_hdr) ? -1 : (int)syscall(SYS_sendmmsg, fd, m, n, flags);
}

static bool without_ipv6;

int socket(int family, int type, int protocol)
{
    if (without_ipv6 && family == AF_INET6) {
        errno = EAFNOSUPPORT;
        return -1;
    }
    return (int)syscall(SYS_socket, family, type, protocol);
}

/* ---- helpers -------------------------------------------------------------------------------- */

static struct tbi_alloc memory;
static uint8_t buffer[TBI_DATAGRAM_MAX];

static void setup(void)
{
    memset(&refusal, 0, sizeof refusal);
    ck_assert_int_eq(tbi_alloc_init(&memory, NULL), 0);
}

static struct tbi_addr addr(const char *text)
{
    struct tbi_addr a;
    ck_assert_int_eq(tbi_addr_from_text(&a, text), 0);
    return a;
}

static struct tbi_udp *open_with(const char *bind, bool no_gso, bool no_gro)
{
    struct tbi_udp *u;
    char why[256] = "";
    struct tbi_udp_config config = {.bind = addr(bind), .no_gso = no_gso, .no_gro = no_gro};
    ck_assert_msg(tbi_udp_open(&u, &memory, &config, why, sizeof why) == 0, "%s", why);
    return u;
}

static struct tbi_udp *open_at(const char *bind)
{
    return open_with(bind, false, false);
}

static struct tbi_addr at_port(const char *ip, const struct tbi_udp *u)
{
    struct tbi_addr a = addr(ip);
    tbi_addr_set_port(&a, tbi_addr_port(tbi_udp_local(u)));
    return a;
}

/* Bytes that tell their place, so that one lost, doubled or moved is seen. */
static uint8_t byte_at(size_t i)
{
    return (uint8_t)(i * 7 + i / 251);
}

static struct tbi_send_batch batch_to(struct tbi_addr to, size_t size, size_t segment)
{
    struct tbi_send_batch b = {.remote = to,
                               .data = buffer,
                               .capacity = sizeof buffer,
                               .size = size,
                               .segment_size = segment};
    for (size_t i = 0; i < size; i++) {
        buffer[i] = byte_at(i);
    }
    return b;
}

/* Said on standard error: some machines and containers have IPv4 only. */
static bool has_ipv6(void)
{
    struct tbi_udp *u;
    struct tbi_udp_config config = {.bind = addr("[::1]:0")};
    if (tbi_udp_open(&u, &memory, &config, NULL, 0) < 0) {
        fprintf(stderr, "# no IPv6 on this machine: its part is left out\n");
        return false;
    }
    tbi_udp_close(u);
    return true;
}

/* The next datagrams; fails when none comes. */
static int receive(struct tbi_udp *u, const struct tbi_datagram **d)
{
    for (;;) {
        int n = tbi_udp_recv(u, d);
        ck_assert_int_ge(n, 0);
        if (n > 0) {
            return n;
        }
        struct pollfd p = {.fd = tbi_udp_fd(u), .events = POLLIN};
        ck_assert_msg(poll(&p, 1, WAIT_MS) == 1, "nothing arrived");
    }
}

/* Takes `size` bytes that were sent as one batch of packets of `segment`; how many packets. */
static size_t receive_all(struct tbi_udp *u, size_t size, size_t segment)
{
    size_t got = 0;
    size_t packets = 0;

    while (got < size) {
        const struct tbi_datagram *d;
        int n = receive(u, &d);
        for (int i = 0; i < n; i++) {
            size_t each = d[i].segment_size > 0 ? d[i].segment_size : d[i].size;
            ck_assert(each == segment || (each < segment && got + d[i].size == size));
            for (size_t k = 0; k < d[i].size; k++) {
                ck_assert_uint_eq(d[i].data[k], byte_at(got + k));
            }
            got += d[i].size;
            packets += (d[i].size + each - 1) / each;
        }
    }
    ck_assert_uint_eq(got, size);
    return packets;
}

/* ---- stories -------------------------------------------------------------------------------- */

START_TEST(a_datagram_says_where_from_where_to_and_its_ecn)
{
    static const char *const ips[] = {"127.0.0.1:0", "[::1]:0"};
    if (_i == 1 && !has_ipv6()) {
        return;
    }
    struct tbi_udp *a = open_at(ips[_i]);
    struct tbi_udp *b = open_at(ips[_i]);

    for (unsigned ecn = TBI_ECN_NOT_ECT; ecn <= TBI_ECN_CE; ecn++) {
        const struct tbi_datagram *d;
        struct tbi_send_batch s = batch_to(*tbi_udp_local(b), 100, 0);
        s.local = *tbi_udp_local(a);
        s.ecn = (uint8_t)ecn;
        ck_assert_int_eq(tbi_udp_send(a, &s), 0);
        ck_assert_int_eq(receive(b, &d), 1);
        ck_assert_uint_eq(d->ecn, ecn);
        ck_assert_uint_eq(d->size, 100);
        ck_assert_uint_eq(d->segment_size, 0);
        ck_assert(tbi_addr_equal(&d->remote, tbi_udp_local(a)));
        ck_assert(tbi_addr_equal(&d->local, tbi_udp_local(b)));
        ck_assert_int_eq(memcmp(d->data, buffer, 100), 0);
    }
    ck_assert_uint_eq(tbi_udp_stats(a)->datagrams_sent, 4);
    ck_assert_uint_eq(tbi_udp_stats(b)->datagrams_received, 4);
    ck_assert_uint_eq(tbi_udp_stats(b)->bytes_received, 400);
    tbi_udp_close(a);
    tbi_udp_close(b);
}
END_TEST

START_TEST(one_socket_serves_both_ip_versions)
{
    if (!has_ipv6()) {
        return;
    }
    struct tbi_udp *both = open_at("[::]:0");
    struct tbi_udp *four = open_at("127.0.0.1:0");
    const struct tbi_datagram *d;

    ck_assert(tbi_udp_stats(both)->dual_stack);
    struct tbi_send_batch s = batch_to(at_port("127.0.0.1:0", both), 50, 0);
    s.ecn = TBI_ECN_ECT0;
    ck_assert_int_eq(tbi_udp_send(four, &s), 0);
    ck_assert_int_eq(receive(both, &d), 1);
    ck_assert_msg(d->remote.u.sa.sa_family == AF_INET, "a mapped address is held as IPv4");
    ck_assert(tbi_addr_equal(&d->remote, tbi_udp_local(four)));
    struct tbi_addr local = at_port("127.0.0.1:0", both);
    ck_assert(tbi_addr_equal(&d->local, &local));
    ck_assert_uint_eq(d->ecn, TBI_ECN_ECT0);

    /* The answer leaves from the address that was asked, even when it is not the usual one. */
    s = batch_to(*tbi_udp_local(four), 60, 0);
    s.local = at_port("127.0.0.2:0", both);
    s.ecn = TBI_ECN_CE;
    ck_assert_int_eq(tbi_udp_send(both, &s), 0);
    ck_assert_int_eq(receive(four, &d), 1);
    ck_assert(tbi_addr_equal(&d->remote, &s.local));
    ck_assert_uint_eq(d->ecn, TBI_ECN_CE);

    /* And the other version through the same socket. */
    struct tbi_udp *six = open_at("[::1]:0");
    s = batch_to(*tbi_udp_local(six), 70, 0);
    s.local = at_port("[::1]:0", both);
    s.ecn = TBI_ECN_ECT1;
    ck_assert_int_eq(tbi_udp_send(both, &s), 0);
    ck_assert_int_eq(receive(six, &d), 1);
    ck_assert(tbi_addr_equal(&d->remote, &s.local));
    ck_assert_uint_eq(d->ecn, TBI_ECN_ECT1);
    tbi_udp_close(six);
    tbi_udp_close(four);
    tbi_udp_close(both);
}
END_TEST

START_TEST(where_ipv6_is_off_all_addresses_are_those_of_ipv4)
{
    without_ipv6 = true;
    struct tbi_udp *any = open_at("[::]:0");
    struct tbi_udp *a = open_at("127.0.0.1:0");
    struct tbi_send_batch s = batch_to(at_port("127.0.0.1:0", any), 100, 0);
    struct tbi_addr all = at_port("0.0.0.0:0", any);
    struct tbi_udp *none;
    struct tbi_udp_config config = {.bind = addr("[::1]:0")};
    char why[256] = "";

    ck_assert(!tbi_udp_stats(any)->dual_stack);
    ck_assert(tbi_addr_equal(tbi_udp_local(any), &all));
    ck_assert_int_eq(tbi_udp_send(a, &s), 0);
    ck_assert_uint_eq(receive_all(any, 100, 100), 1);
    /* One that was meant is not replaced by another. */
    ck_assert_int_eq(tbi_udp_open(&none, &memory, &config, why, sizeof why), TBQ_ERR_ADDRESS);
    ck_assert_ptr_nonnull(strstr(why, "[::1]:0"));
    tbi_udp_close(any);
    tbi_udp_close(a);
    without_ipv6 = false;
}
END_TEST

START_TEST(a_bundle_arrives_whole_with_and_without_offload)
{
    bool no_gso = (_i & 1) != 0;
    bool no_gro = (_i & 2) != 0;
    struct tbi_udp *a = open_with("127.0.0.1:0", no_gso, no_gro);
    struct tbi_udp *b = open_with("127.0.0.1:0", no_gso, no_gro);
    struct tbi_send_batch s = batch_to(*tbi_udp_local(b), 40 * 1200 + 700, 1200);

    ck_assert(!no_gso || !tbi_udp_stats(a)->gso);
    ck_assert(!no_gro || !tbi_udp_stats(b)->gro);
    ck_assert_int_eq(tbi_udp_send(a, &s), 0);
    ck_assert_uint_eq(receive_all(b, 40 * 1200 + 700, 1200), 41);
    ck_assert_uint_eq(tbi_udp_stats(a)->datagrams_sent, 41);
    ck_assert_uint_eq(tbi_udp_stats(b)->datagrams_received, 41);
    ck_assert_int_eq(refusal.bundles, tbi_udp_stats(a)->gso ? 1 : 0);
    tbi_udp_close(a);
    tbi_udp_close(b);
}
END_TEST

START_TEST(more_packets_than_one_bundle_takes)
{
    /* 160 packets need three bundles of 64; 65,535 bytes are more than IPv4 takes in one. */
    static const struct {
        size_t size, segment, packets;
    } cases[] = {{16000, 100, 160}, {65535, 1200, 55}, {2400, 1200, 2}, {1201, 1200, 2}};
    struct tbi_udp *a = open_at("127.0.0.1:0");
    struct tbi_udp *b = open_at("127.0.0.1:0");
    struct tbi_send_batch s = batch_to(*tbi_udp_local(b), cases[_i].size, cases[_i].segment);

    ck_assert_int_eq(tbi_udp_send(a, &s), 0);
    ck_assert_uint_eq(receive_all(b, cases[_i].size, cases[_i].segment), cases[_i].packets);
    tbi_udp_close(a);
    tbi_udp_close(b);
}
END_TEST

START_TEST(a_route_that_refuses_gso_is_served_packet_by_packet)
{
    static const int errors[] = {EIO, EINVAL, EOPNOTSUPP};
    struct tbi_udp *a = open_at("127.0.0.1:0");
    struct tbi_udp *b = open_at("127.0.0.1:0");

    if (tbi_udp_stats(a)->gso) {
        refusal.error = errors[_i];
        refusal.only_gso = true;
        refusal.times = 1000;
        for (int round = 0; round < 2; round++) {
            struct tbi_send_batch s = batch_to(*tbi_udp_local(b), 20 * 1000 + 1, 1000);
            ck_assert_int_eq(tbi_udp_send(a, &s), 0);
            ck_assert_uint_eq(receive_all(b, 20 * 1000 + 1, 1000), 21);
            ck_assert(!tbi_udp_stats(a)->gso);
        }
        ck_assert_int_eq(refusal.bundles, 1); /* not tried again */
        ck_assert_uint_eq(tbi_udp_stats(a)->bundles_refused, 1);
        ck_assert_uint_eq(tbi_udp_stats(a)->send_refused, 0);
    }
    tbi_udp_close(a);
    tbi_udp_close(b);
}
END_TEST

START_TEST(where_calls_for_many_packets_are_missing_there_is_one_for_each)
{
    bool no_gso = _i != 0;
    struct tbi_udp *a = open_with("127.0.0.1:0", no_gso, true);
    struct tbi_udp *b = open_with("127.0.0.1:0", no_gso, true);

    without_mmsg = true;
    mmsg_calls = 0;
    for (int round = 0; round < 2; round++) {
        struct tbi_send_batch s = batch_to(*tbi_udp_local(b), 40 * 1000 + 1, 1000);
        ck_assert_int_eq(tbi_udp_send(a, &s), 0);
        ck_assert_uint_eq(receive_all(b, 40 * 1000 + 1, 1000), 41);
    }
    bool sends = !tbi_udp_stats(a)->gso; /* by sendmmsg(), if it could */
    ck_assert_int_eq(mmsg_calls, sends ? 2 : 1);
    ck_assert_uint_eq(tbi_udp_stats(a)->bundles_refused, sends ? 1 : 0);
    ck_assert_uint_eq(tbi_udp_stats(b)->bundles_refused, 1);
    ck_assert_uint_eq(tbi_udp_stats(a)->send_refused, 0);
    tbi_udp_close(a);
    tbi_udp_close(b);
    without_mmsg = false;
}
END_TEST

START_TEST(a_full_send_buffer_keeps_the_rest)
{
    bool no_gso = _i != 0;
    struct tbi_udp *a = open_with("127.0.0.1:0", no_gso, false);
    struct tbi_udp *b = open_at("127.0.0.1:0");
    struct tbi_send_batch s = batch_to(*tbi_udp_local(b), 15000, 100);

    refusal.error = EAGAIN;
    refusal.pass = 1; /* one bundle, or one call with 64 packets, goes out */
    refusal.times = 2;
    ck_assert_int_eq(tbi_udp_send(a, &s), TBQ_ERR_AGAIN);
    ck_assert_uint_eq(s.size, 15000 - 6400);
    ck_assert_uint_eq(s.data[0], byte_at(6400));
    ck_assert_int_eq(tbi_udp_send(a, &s), TBQ_ERR_AGAIN);
    ck_assert_uint_eq(s.size, 15000 - 6400);
    ck_assert_uint_eq(tbi_udp_stats(a)->send_blocked, 2);
    ck_assert_int_eq(tbi_udp_send(a, &s), 0);
    ck_assert_uint_eq(receive_all(b, 15000, 100), 150);
    ck_assert_uint_eq(tbi_udp_stats(a)->datagrams_sent, 150);
    tbi_udp_close(a);
    tbi_udp_close(b);
}
END_TEST

START_TEST(a_bad_destination_is_counted_and_harms_nobody)
{
    static const int errors[] = {ECONNREFUSED, ENETUNREACH, EHOSTUNREACH, EPERM, ENOBUFS, EINVAL};
    struct tbi_udp *a = open_at("127.0.0.1:0");
    struct tbi_udp *b = open_at("127.0.0.1:0");
    struct tbi_send_batch s = batch_to(*tbi_udp_local(b), 3000, 1000);
    bool gso = tbi_udp_stats(a)->gso;

    refusal.error = errors[_i];
    refusal.times = 1000;
    ck_assert_int_eq(tbi_udp_send(a, &s), 0);
    ck_assert_uint_eq(tbi_udp_stats(a)->send_refused, 3);
    ck_assert_uint_eq(tbi_udp_stats(a)->datagrams_sent, 0);

    refusal.error = 0;
    s = batch_to(*tbi_udp_local(b), 3000, 1000);
    ck_assert_int_eq(tbi_udp_send(a, &s), 0);
    ck_assert_uint_eq(receive_all(b, 3000, 1000), 3);
    ck_assert(tbi_udp_stats(a)->gso == gso); /* it was not GSO's fault */
    tbi_udp_close(a);
    tbi_udp_close(b);
}
END_TEST

START_TEST(a_packet_too_large_for_the_path_is_counted)
{
    struct tbi_udp *a = open_at("127.0.0.1:0");
    struct tbi_udp *b = open_at("127.0.0.1:0");
    struct tbi_send_batch s = batch_to(*tbi_udp_local(b), 1500, 0);

    refusal.error = EMSGSIZE;
    refusal.times = 1;
    ck_assert_int_eq(tbi_udp_send(a, &s), 0);
    ck_assert_uint_eq(tbi_udp_stats(a)->send_too_large, 1);

    /* No refusal of ours: the largest batch as one packet is more than UDP over IPv4 takes. */
    refusal.error = 0;
    s = batch_to(*tbi_udp_local(b), TBI_DATAGRAM_MAX, 0);
    ck_assert_int_eq(tbi_udp_send(a, &s), 0);
    ck_assert_uint_eq(tbi_udp_stats(a)->send_too_large, 2);
    ck_assert_uint_eq(tbi_udp_stats(a)->datagrams_sent, 0);
    tbi_udp_close(a);
    tbi_udp_close(b);
}
END_TEST

START_TEST(a_socket_that_is_gone_is_an_error)
{
    struct tbi_udp *a = open_at("127.0.0.1:0");
    const struct tbi_datagram *d;
    struct tbi_send_batch s = batch_to(*tbi_udp_local(a), 100, 0);
    int copy = dup(tbi_udp_fd(a));

    close(tbi_udp_fd(a));
    ck_assert_int_eq(tbi_udp_send(a, &s), TBQ_ERR_IO);
    ck_assert_int_eq(tbi_udp_recv(a, &d), TBQ_ERR_IO);
    dup2(copy, tbi_udp_fd(a));
    close(copy);
    ck_assert_int_eq(tbi_udp_recv(a, &d), 0);
    tbi_udp_close(a);
}
END_TEST

START_TEST(sizes_that_make_no_sense_are_refused)
{
    struct tbi_udp *a = open_at("127.0.0.1:0");
    struct tbi_send_batch s = batch_to(*tbi_udp_local(a), 0, 0);

    ck_assert_int_eq(tbi_udp_send(a, &s), TBQ_ERR_INVALID);
    s.size = TBI_DATAGRAM_MAX + 1;
    ck_assert_int_eq(tbi_udp_send(a, &s), TBQ_ERR_INVALID);
    s = batch_to((struct tbi_addr){.len = 0}, 100, 0);
    ck_assert_int_eq(tbi_udp_send(a, &s), TBQ_ERR_INVALID);
    s = batch_to(addr("[2001:db8::1]:443"), 2000, 1000); /* an IPv4 socket has no way there */
    ck_assert_int_eq(tbi_udp_send(a, &s), 0);
    ck_assert_uint_eq(tbi_udp_stats(a)->send_refused, 2);
    tbi_udp_close(a);
}
END_TEST

START_TEST(many_datagrams_come_in_batches_and_empty_ones_not_at_all)
{
    struct tbi_udp *a = open_with("127.0.0.1:0", true, true);
    struct tbi_udp *b = open_with("127.0.0.1:0", true, true);
    const struct tbi_datagram *d;
    struct sockaddr_in to = tbi_udp_local(b)->u.in;

    ck_assert_int_eq(sendto(tbi_udp_fd(a), "", 0, 0, (struct sockaddr *)&to, sizeof to), 0);
    struct tbi_send_batch s = batch_to(*tbi_udp_local(b), 5000, 100);
    ck_assert_int_eq(tbi_udp_send(a, &s), 0);
    ck_assert_int_eq(receive(b, &d), TBI_UDP_RECV_MAX - 1); /* the empty one took a place */
    ck_assert_uint_eq(tbi_udp_stats(b)->truncated, 1);
    ck_assert_int_eq(receive(b, &d), 50 - (int)(TBI_UDP_RECV_MAX - 1));
    ck_assert_int_eq(tbi_udp_recv(b, &d), 0);
    tbi_udp_close(a);
    tbi_udp_close(b);
}
END_TEST

START_TEST(a_port_in_use_is_told_with_its_address)
{
    struct tbi_udp *a = open_at("127.0.0.1:0");
    struct tbi_udp *b;
    char why[256] = "";
    char name[TBI_ADDR_TEXT_SIZE];
    struct tbi_udp_config config = {.bind = *tbi_udp_local(a)};

    tbi_addr_to_text(tbi_udp_local(a), name);
    ck_assert_int_eq(tbi_udp_open(&b, &memory, &config, why, sizeof why), TBQ_ERR_IO);
    ck_assert_ptr_null(b);
    ck_assert_ptr_nonnull(strstr(why, name));
    ck_assert_ptr_nonnull(strstr(why, "in use by another program"));
    ck_assert_ptr_nonnull(strstr(why, "another port"));
    ck_assert_int_eq(tbi_udp_open(&b, &memory, &config, NULL, 0), TBQ_ERR_IO);
    tbi_udp_close(a);
}
END_TEST

START_TEST(an_address_of_another_machine_is_told_so)
{
    static const char *const elsewhere[] = {"192.0.2.1:8443", "[2001:db8::1]:8443"};
    struct tbi_udp *u;
    char why[256] = "";
    struct tbi_udp_config config = {.bind = addr(elsewhere[_i])};

    ck_assert_int_eq(tbi_udp_open(&u, &memory, &config, why, sizeof why), TBQ_ERR_ADDRESS);
    ck_assert_ptr_nonnull(strstr(why, elsewhere[_i]));
}
END_TEST

START_TEST(the_descriptor_is_closed_on_exec_and_buffers_are_told)
{
    struct tbi_udp *u = open_at("127.0.0.1:0");
    ck_assert(fcntl(tbi_udp_fd(u), F_GETFD) & FD_CLOEXEC);
    ck_assert(fcntl(tbi_udp_fd(u), F_GETFL) & O_NONBLOCK);
    ck_assert_uint_gt(tbi_udp_stats(u)->receive_buffer, 0);
    ck_assert_uint_gt(tbi_udp_stats(u)->send_buffer, 0);
    ck_assert_uint_ne(tbi_addr_port(tbi_udp_local(u)), 0);
    tbi_udp_close(u);
    tbi_udp_close(NULL);
}
END_TEST

START_TEST(buffers_are_as_large_as_was_asked_for)
{
    struct tbi_udp_config config = {.bind = addr("127.0.0.1:0"), .buffer_size = 16384};
    struct tbi_udp *small;
    struct tbi_udp *usual = open_at("127.0.0.1:0");

    ck_assert_int_eq(tbi_udp_open(&small, &memory, &config, NULL, 0), 0);
    ck_assert_uint_lt(tbi_udp_stats(small)->receive_buffer, tbi_udp_stats(usual)->receive_buffer);
    ck_assert_uint_lt(tbi_udp_stats(small)->send_buffer, tbi_udp_stats(usual)->send_buffer);
    ck_assert_uint_eq(tbi_udp_stats(small)->buffer_asked, 16384);
    ck_assert_uint_eq(tbi_udp_stats(usual)->buffer_asked, 4 << 20);
    char text[TBI_UDP_SHORT_TEXT_SIZE];
    ck_assert(!tbi_udp_short(tbi_udp_stats(small), text)); /* no system grants less than that */
    tbi_udp_close(small);
    tbi_udp_close(usual);
}
END_TEST

#if defined(__linux__)
START_TEST(a_system_that_grants_less_is_told_with_what_helps)
{
    struct tbi_udp_stats s = {
        .buffer_asked = 1000000, .receive_buffer = 2000000, .send_buffer = 2000000};
    char text[TBI_UDP_SHORT_TEXT_SIZE] = "";

    ck_assert(!tbi_udp_short(&s, text)); /* Linux tells twice what it grants */
    s.receive_buffer = 425984;
    ck_assert(tbi_udp_short(&s, text));
    ck_assert_str_eq(text, "the system grants socket buffers of 212992 bytes to receive and "
                           "1000000 to send, not 1000000: packets may be lost in bursts; to allow "
                           "as many, raise sysctl net.core.rmem_max and net.core.wmem_max");
    s.receive_buffer = 2000000;
    s.send_buffer = 1999998;
    ck_assert(tbi_udp_short(&s, text));
}
END_TEST
#endif

#if defined(IP_PMTUDISC_PROBE) && defined(IPV6_PMTUDISC_PROBE)
static int option_of(const struct tbi_udp *u, int level, int option)
{
    int value = -1;
    socklen_t len = sizeof value;
    ck_assert_int_eq(getsockopt(tbi_udp_fd(u), level, option, &value, &len), 0);
    return value;
}

START_TEST(packets_are_never_cut_on_the_way)
{
    struct tbi_udp *four = open_at("127.0.0.1:0");
    ck_assert_int_eq(option_of(four, IPPROTO_IP, IP_MTU_DISCOVER), IP_PMTUDISC_PROBE);
    tbi_udp_close(four);
    if (has_ipv6()) {
        struct tbi_udp *both = open_at("[::]:0");
        ck_assert_int_eq(option_of(both, IPPROTO_IP, IP_MTU_DISCOVER), IP_PMTUDISC_PROBE);
        ck_assert_int_eq(option_of(both, IPPROTO_IPV6, IPV6_MTU_DISCOVER), IPV6_PMTUDISC_PROBE);
        tbi_udp_close(both);
    }
}
END_TEST
#endif

static void open_and_close(const struct tbi_alloc *a, void *arg)
{
    struct tbi_udp_config config = {.bind = addr("127.0.0.1:0")};
    struct tbi_udp *u;
    char why[256] = "";
    int rv = tbi_udp_open(&u, a, &config, why, sizeof why);

    (void)arg;
    ck_assert(rv == 0 || rv == TBQ_ERR_NOMEM);
    ck_assert((rv == 0) == (u != NULL) && (rv == 0) == (why[0] == '\0'));
    tbi_udp_close(u);
}

START_TEST(without_memory_nothing_is_left_behind)
{
    tbi_walk_allocations(open_and_close, NULL);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("io/udp");
    TCase *t = tcase_create("udp");

    tcase_add_checked_fixture(t, setup, NULL);
    tcase_add_loop_test(t, a_datagram_says_where_from_where_to_and_its_ecn, 0, 2);
    tcase_add_test(t, one_socket_serves_both_ip_versions);
    tcase_add_test(t, where_ipv6_is_off_all_addresses_are_those_of_ipv4);
    tcase_add_loop_test(t, a_bundle_arrives_whole_with_and_without_offload, 0, 4);
    tcase_add_loop_test(t, more_packets_than_one_bundle_takes, 0, 4);
    tcase_add_loop_test(t, a_route_that_refuses_gso_is_served_packet_by_packet, 0, 3);
    tcase_add_loop_test(t, where_calls_for_many_packets_are_missing_there_is_one_for_each, 0, 2);
    tcase_add_loop_test(t, a_full_send_buffer_keeps_the_rest, 0, 2);
    tcase_add_loop_test(t, a_bad_destination_is_counted_and_harms_nobody, 0, 6);
    tcase_add_test(t, a_packet_too_large_for_the_path_is_counted);
    tcase_add_test(t, a_socket_that_is_gone_is_an_error);
    tcase_add_test(t, sizes_that_make_no_sense_are_refused);
    tcase_add_test(t, many_datagrams_come_in_batches_and_empty_ones_not_at_all);
    tcase_add_test(t, a_port_in_use_is_told_with_its_address);
    tcase_add_loop_test(t, an_address_of_another_machine_is_told_so, 0, 2);
    tcase_add_test(t, the_descriptor_is_closed_on_exec_and_buffers_are_told);
    tcase_add_test(t, buffers_are_as_large_as_was_asked_for);
#if defined(__linux__)
    tcase_add_test(t, a_system_that_grants_less_is_told_with_what_helps);
#endif
#if defined(IP_PMTUDISC_PROBE) && defined(IPV6_PMTUDISC_PROBE)
    tcase_add_test(t, packets_are_never_cut_on_the_way);
#endif
    tcase_add_test(t, without_memory_nothing_is_left_behind);
    suite_add_tcase(s, t);
    return tbi_test_main(s);
}
