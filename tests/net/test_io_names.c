/* tests/net/test_io_names.c - names against a name server of the test's own, on loopback.
 *
 * The server is a socket in the same loop, so that each story says when it answers, what, and
 * whether at all. Time is an argument: a deadline passes without anyone waiting for it. */
#include <arpa/inet.h>
#include <check.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../unit/harness.h"
#include "base/alloc.h"
#include "base/now.h"
#include "io/clock.h"
#include "io/names.h"
#include <tbquic/error.h>

#define WAIT_MS 5000 /* for what happens at once; only a failure waits so long */

static struct tbi_alloc memory;
static struct tbi_names *names;
static struct tbi_names_result result;

/* ---- a name server -------------------------------------------------------------------------- */

static struct {
    int fd;
    char text[32]; /* "127.0.0.1:PORT" */
    int rcode;
    int a;    /* how many IPv4 addresses, 192.0.2.1 and on */
    int aaaa; /* how many IPv6 addresses, 2001:db8::1 and on */
    int asked;
} dns;

static void dns_start(void)
{
    struct sockaddr_in in = {.sin_family = AF_INET};
    socklen_t len = sizeof in;

    in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    memset(&dns, 0, sizeof dns);
    dns.fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    ck_assert_int_eq(bind(dns.fd, (struct sockaddr *)&in, sizeof in), 0);
    ck_assert_int_eq(getsockname(dns.fd, (struct sockaddr *)&in, &len), 0);
    snprintf(dns.text, sizeof dns.text, "127.0.0.1:%u", (unsigned)ntohs(in.sin_port));
}

/* One record of an answer: a pointer to the question's name, type, IN, 1 hour, the address. */
static size_t put_record(uint8_t *at, uint8_t type, int number)
{
    uint8_t head[10] = {0xc0, 12, 0, type, 0, 1, 0, 0, 0x0e, 0x10};
    uint8_t v4[4] = {192, 0, 2, (uint8_t)number};
    uint8_t v6[16] = {0x20, 0x01, 0x0d, 0xb8, [15] = (uint8_t)number};
    size_t size = type == 1 ? sizeof v4 : sizeof v6;

    memcpy(at, head, sizeof head);
    at[10] = 0;
    at[11] = (uint8_t)size;
    memcpy(at + 12, type == 1 ? v4 : v6, size);
    return 12 + size;
}

/* Answers every question that is there (RFC 1035 section 4). */
static void dns_answer(void)
{
    uint8_t m[2048];
    struct sockaddr_storage from;

    for (;;) {
        socklen_t len = sizeof from;
        ssize_t n = recvfrom(dns.fd, m, 512, 0, (struct sockaddr *)&from, &len);
        if (n < 0) {
            return;
        }
        size_t at = 12;
        while (at < (size_t)n && m[at] != 0) {
            at += m[at] + 1U;
        }
        at += 5; /* the root, type, class */
        ck_assert_uint_le(at, (size_t)n);
        uint8_t type = m[at - 3];
        int count = type == 1 ? dns.a : type == 28 ? dns.aaaa : 0;
        dns.asked++;
        m[2] = 0x81;
        m[3] = (uint8_t)(0x80 | dns.rcode);
        memset(m + 4, 0, 8);
        m[5] = 1;
        m[7] = (uint8_t)count;
        for (int i = 1; i <= count; i++) {
            at += put_record(m + at, type, i);
        }
        ck_assert_int_eq(sendto(dns.fd, m, at, 0, (struct sockaddr *)&from, len), (ssize_t)at);
    }
}

/* ---- helpers -------------------------------------------------------------------------------- */

static void setup(void)
{
    ck_assert_int_eq(tbi_alloc_init(&memory, NULL), 0);
    dns_start();
    struct tbi_names_config config = {.servers = dns.text, .try_timeout_ms = 300};
    ck_assert_int_eq(tbi_names_new(&names, &memory, &config), 0);
}

static void teardown(void)
{
    tbi_names_free(names);
    tbi_names_free(NULL);
    close(dns.fd);
}

static uint64_t now(void)
{
    return tbi_clock_mono_ns();
}

/* Turns the loop until there is a result, as a server would. */
static void wait_for_result(bool answer)
{
    uint64_t give_up = now() + WAIT_MS * TBI_NS_PER_MS;

    while (!tbi_names_next(names, &result)) {
        struct pollfd fds[TBI_NAMES_FDS_MAX + 1];
        size_t n = tbi_names_pollfds(names, fds, TBI_NAMES_FDS_MAX);
        uint64_t t = now();
        uint64_t due = tbi_names_deadline(names, t);
        ck_assert_msg(t < give_up, "no result");
        due = due < give_up ? due : give_up;
        fds[n] = (struct pollfd){.fd = dns.fd, .events = POLLIN};
        poll(fds, (nfds_t)(n + (answer ? 1 : 0)), due > t ? (int)((due - t) / TBI_NS_PER_MS) : 0);
        if (answer) {
            dns_answer();
        }
        tbi_names_process(names, now());
    }
}

static void expect_addr(size_t i, const char *text)
{
    char got[TBI_ADDR_TEXT_SIZE];
    ck_assert_uint_lt(i, result.n);
    tbi_addr_to_text(&result.addrs[i], got);
    ck_assert_str_eq(got, text);
}

static bool has_addr(const char *text)
{
    char got[TBI_ADDR_TEXT_SIZE];
    for (size_t i = 0; i < result.n; i++) {
        tbi_addr_to_text(&result.addrs[i], got);
        if (strcmp(got, text) == 0) {
            return true;
        }
    }
    return false;
}

static void expect_failure(int error, const char *part)
{
    ck_assert_int_eq(result.error, error);
    ck_assert_uint_eq(result.n, 0);
    ck_assert_msg(strstr(result.why, part) != NULL, "'%s' is not in '%s'", part, result.why);
}

/* ---- stories -------------------------------------------------------------------------------- */

START_TEST(numbers_need_no_network)
{
    static const char *const cases[][2] = {{"192.0.2.7", "192.0.2.7:8443"},
                                           {"2001:db8::7", "[2001:db8::7]:8443"},
                                           {"::ffff:192.0.2.7", "192.0.2.7:8443"},
                                           {"fe80::1%lo", "[fe80::1]:8443"}};

    ck_assert_int_eq(tbi_names_start(names, cases[_i][0], 8443, TBI_NEVER, 5), 0);
    ck_assert_uint_eq(tbi_names_deadline(names, 17), 17); /* there is something to pull */
    ck_assert(tbi_names_next(names, &result));
    ck_assert_uint_eq(result.cookie, 5);
    ck_assert_int_eq(result.error, 0);
    ck_assert_uint_eq(result.n, 1);
    expect_addr(0, cases[_i][1]);
    ck_assert(!tbi_names_next(names, &result));
    ck_assert_uint_eq(tbi_names_deadline(names, 17), TBI_NEVER);
    ck_assert_int_eq(dns.asked, 0);
}
END_TEST

START_TEST(localhost_needs_no_network_whatever_its_spelling)
{
    static const char *const spelt[] = {"localhost", "LocalHost.", "a.localhost", "a.b.LOCALHOST."};

    ck_assert_int_eq(tbi_names_start(names, spelt[_i], 1, TBI_NEVER, 6), 0);
    ck_assert(tbi_names_next(names, &result));
    ck_assert_uint_eq(result.n, 2);
    expect_addr(0, "127.0.0.1:1");
    expect_addr(1, "[::1]:1");
    struct pollfd fds[TBI_NAMES_FDS_MAX];
    ck_assert_uint_eq(tbi_names_pollfds(names, fds, TBI_NAMES_FDS_MAX), 0);
}
END_TEST

START_TEST(a_name_has_addresses_of_both_versions)
{
    dns.a = 2;
    dns.aaaa = 1;
    ck_assert_int_eq(tbi_names_start(names, "node.example.org", 8443, TBI_NEVER, 7), 0);
    wait_for_result(true);
    ck_assert_int_eq(result.error, 0);
    ck_assert_uint_eq(result.cookie, 7);
    ck_assert_uint_eq(result.n, 3);
    ck_assert(has_addr("192.0.2.1:8443"));
    ck_assert(has_addr("192.0.2.2:8443"));
    ck_assert(has_addr("[2001:db8::1]:8443"));
    ck_assert_int_eq(dns.asked, 2);
}
END_TEST

START_TEST(sixteen_addresses_are_enough)
{
    dns.a = 20;
    ck_assert_int_eq(tbi_names_start(names, "many.example.org", 1, TBI_NEVER, 8), 0);
    wait_for_result(true);
    ck_assert_uint_eq(result.n, TBI_NAMES_ADDRS_MAX);
}
END_TEST

START_TEST(several_queries_keep_their_cookies)
{
    bool seen[10] = {false};

    dns.a = 1;
    for (uint64_t i = 0; i < 10; i++) {
        char host[32];
        snprintf(host, sizeof host, "n%u.example.org", (unsigned)i);
        ck_assert_int_eq(tbi_names_start(names, host, (uint16_t)(i + 1), TBI_NEVER, i), 0);
    }
    for (int i = 0; i < 10; i++) {
        wait_for_result(true);
        ck_assert_uint_lt(result.cookie, 10);
        ck_assert(!seen[result.cookie]);
        ck_assert_uint_eq(tbi_addr_port(&result.addrs[0]), result.cookie + 1);
        seen[result.cookie] = true;
    }
}
END_TEST

START_TEST(what_the_name_server_cannot_say_is_told_with_the_name)
{
    static const struct {
        int rcode;
        const char *part;
    } cases[] = {{3, "no such name"}, {0, "has no address"}};

    dns.rcode = cases[_i].rcode;
    ck_assert_int_eq(tbi_names_start(names, "gone.example.org", 1, TBI_NEVER, 9), 0);
    wait_for_result(true);
    expect_failure(TBQ_ERR_NAME, cases[_i].part);
    expect_failure(TBQ_ERR_NAME, "gone.example.org");
}
END_TEST

START_TEST(a_silent_name_server_is_given_up_at_the_deadline)
{
    uint64_t t = now();
    uint64_t deadline = t + 100000 * TBI_NS_PER_MS;

    ck_assert_int_eq(tbi_names_start(names, "slow.example.org", 1, deadline, 10), 0);
    tbi_names_process(names, t);
    ck_assert(!tbi_names_next(names, &result));
    ck_assert_uint_le(tbi_names_deadline(names, t), deadline);
    tbi_names_process(names, deadline - 1);
    ck_assert(!tbi_names_next(names, &result));
    tbi_names_process(names, deadline);
    ck_assert(tbi_names_next(names, &result));
    expect_failure(TBQ_ERR_TIMEOUT, "slow.example.org");
    ck_assert_uint_eq(result.cookie, 10);

    /* An answer that comes after all is nobody's. */
    dns.a = 1;
    dns_answer();
    tbi_names_process(names, deadline);
    ck_assert(!tbi_names_next(names, &result));

    /* And the next query works. */
    ck_assert_int_eq(tbi_names_start(names, "slow.example.org", 1, TBI_NEVER, 11), 0);
    wait_for_result(true);
    ck_assert_int_eq(result.error, 0);
    ck_assert_uint_eq(result.cookie, 11);
}
END_TEST

START_TEST(one_late_query_does_not_end_the_others)
{
    uint64_t t = now();

    dns.a = 1;
    ck_assert_int_eq(tbi_names_start(names, "late.example.org", 1, t + 1, 1), 0);
    ck_assert_int_eq(tbi_names_start(names, "early.example.org", 1, TBI_NEVER, 2), 0);
    tbi_names_process(names, t + 1);
    wait_for_result(false);
    ck_assert_uint_eq(result.cookie, 1);
    ck_assert_int_eq(result.error, TBQ_ERR_TIMEOUT);
    wait_for_result(true);
    ck_assert_uint_eq(result.cookie, 2);
    ck_assert_int_eq(result.error, 0);
    ck_assert(!tbi_names_next(names, &result));
}
END_TEST

START_TEST(without_a_name_server_it_fails_by_itself)
{
    close(dns.fd); /* its port refuses now */
    dns.fd = -1;
    ck_assert_int_eq(tbi_names_start(names, "node.example.org", 1, TBI_NEVER, 12), 0);
    wait_for_result(false);
    expect_failure(TBQ_ERR_NAME, "no name server answers");
}
END_TEST

START_TEST(a_cancelled_query_has_no_result)
{
    dns.a = 1;
    ck_assert_int_eq(tbi_names_start(names, "one.example.org", 1, TBI_NEVER, 1), 0);
    ck_assert_int_eq(tbi_names_start(names, "two.example.org", 1, TBI_NEVER, 2), 0);
    ck_assert_int_eq(tbi_names_start(names, "127.0.0.1", 1, TBI_NEVER, 3), 0);
    tbi_names_cancel(names, 1);
    tbi_names_cancel(names, 3); /* answered, and not pulled yet */
    tbi_names_cancel(names, 99);
    wait_for_result(true);
    ck_assert_uint_eq(result.cookie, 2);
    ck_assert(!tbi_names_next(names, &result));

    ck_assert_int_eq(tbi_names_start(names, "one.example.org", 1, TBI_NEVER, 4), 0);
    tbi_names_cancel(names, 4);
    struct pollfd fds[TBI_NAMES_FDS_MAX];
    ck_assert_uint_eq(tbi_names_pollfds(names, fds, TBI_NAMES_FDS_MAX), 0);
    ck_assert_uint_eq(tbi_names_deadline(names, 1), TBI_NEVER);
}
END_TEST

START_TEST(freeing_ends_what_is_open)
{
    for (uint64_t i = 0; i < 3; i++) {
        ck_assert_int_eq(tbi_names_start(names, "open.example.org", 1, TBI_NEVER, i), 0);
    }
    ck_assert_int_eq(tbi_names_start(names, "127.0.0.1", 1, TBI_NEVER, 4), 0);
    tbi_names_cancel(names, 1);
    /* The fixture frees; sanitizers and valgrind say what stays. */
}
END_TEST

START_TEST(there_is_a_limit_and_room_again_after_it)
{
    for (uint64_t i = 0; i < TBI_NAMES_QUERIES_MAX; i++) {
        ck_assert_int_eq(tbi_names_start(names, "192.0.2.1", 1, TBI_NEVER, i), 0);
    }
    ck_assert_int_eq(tbi_names_start(names, "192.0.2.1", 1, TBI_NEVER, 0), TBQ_ERR_LIMIT);
    ck_assert(tbi_names_next(names, &result));
    ck_assert_uint_eq(result.cookie, 0); /* in the order in which they came */
    ck_assert_int_eq(tbi_names_start(names, "192.0.2.1", 1, TBI_NEVER, 0), 0);
}
END_TEST

START_TEST(what_is_no_name_fails_without_asking)
{
    char long_name[300];
    const char *const cases[] = {"", long_name, "fe80::1%nosuchinterface", "::1::"};

    memset(long_name, 'a', sizeof long_name - 1);
    long_name[sizeof long_name - 1] = '\0';
    ck_assert_int_eq(tbi_names_start(names, cases[_i], 1, TBI_NEVER, 13), 0);
    dns.rcode = 3;
    wait_for_result(true);
    expect_failure(TBQ_ERR_NAME, "");
    ck_assert_uint_gt(strlen(result.why), 10);
}
END_TEST

static void ask_and_free(const struct tbi_alloc *a, void *arg)
{
    struct tbi_names_config config = {.servers = dns.text};
    struct tbi_names *local;
    int rv = tbi_names_new(&local, a, &config);

    (void)arg;
    if (rv == 0) {
        rv = tbi_names_start(local, "node.example.org", 1, TBI_NEVER, 1);
    }
    ck_assert(rv == 0 || rv == TBQ_ERR_NOMEM);
    tbi_names_free(local);
}

START_TEST(without_memory_nothing_is_left_behind)
{
    tbi_walk_allocations(ask_and_free, NULL);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("io/names");
    TCase *t = tcase_create("names");

    tcase_set_timeout(t, 30);
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_loop_test(t, numbers_need_no_network, 0, 4);
    tcase_add_loop_test(t, localhost_needs_no_network_whatever_its_spelling, 0, 4);
    tcase_add_test(t, a_name_has_addresses_of_both_versions);
    tcase_add_test(t, sixteen_addresses_are_enough);
    tcase_add_test(t, several_queries_keep_their_cookies);
    tcase_add_loop_test(t, what_the_name_server_cannot_say_is_told_with_the_name, 0, 2);
    tcase_add_test(t, a_silent_name_server_is_given_up_at_the_deadline);
    tcase_add_test(t, one_late_query_does_not_end_the_others);
    tcase_add_test(t, without_a_name_server_it_fails_by_itself);
    tcase_add_test(t, a_cancelled_query_has_no_result);
    tcase_add_test(t, freeing_ends_what_is_open);
    tcase_add_test(t, there_is_a_limit_and_room_again_after_it);
    tcase_add_loop_test(t, what_is_no_name_fails_without_asking, 0, 4);
    tcase_add_test(t, without_memory_nothing_is_left_behind);
    suite_add_tcase(s, t);
    return tbi_test_main(s);
}
