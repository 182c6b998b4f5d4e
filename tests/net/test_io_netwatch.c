/* tests/net/test_io_netwatch.c - the watch over this machine's network, with a kernel of the test's
 * own: what each message means, and what the kernel may answer. A real one is in test_netchange.c.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../unit/harness.h"
#include "io/netwatch.h"
#include <tbquic/error.h>

/* ---- what the kernel answers ----------------------------------------------------------------- */

struct answer {
    int error; /* 0: a datagram */
    int flags;
    uint32_t from; /* its sender; 0: the kernel */
    size_t size;
    uint8_t data[256];
};
static struct answer answers[8];
static size_t answers_len, answers_next, reads;
static bool for_ever; /* the first answer again and again */
static int refused;   /* errno of socket() */

ssize_t recvmsg(int fd, struct msghdr *m, int flags)
{
    (void)fd, (void)flags;
    reads++;
    struct answer *a = &answers[for_ever ? 0 : answers_next++];
    if (!for_ever && answers_next > answers_len) {
        errno = EAGAIN;
        return -1;
    }
    if (a->error != 0) {
        errno = a->error;
        return -1;
    }
    memcpy(m->msg_iov->iov_base, a->data, a->size);
    ((struct sockaddr_nl *)m->msg_name)->nl_pid = a->from;
    m->msg_flags = a->flags;
    return (ssize_t)a->size;
}

int socket(int family, int type, int protocol)
{
    errno = refused;
    return refused != 0 ? -1 : (int)syscall(SYS_socket, family, type, protocol);
}

/* ---- messages -------------------------------------------------------------------------------- */

/* Appends one message; its size is as the header says, or `lie` where that is not 0. */
static void add(struct answer *a, uint16_t type, const void *body, size_t size, uint32_t lie)
{
    struct nlmsghdr h = {.nlmsg_type = type,
                         .nlmsg_len = lie != 0 ? lie : (uint32_t)(NLMSG_HDRLEN + size)};
    memcpy(a->data + a->size, &h, sizeof h);
    if (size > 0) {
        memcpy(a->data + a->size + NLMSG_HDRLEN, body, size);
    }
    a->size += NLMSG_ALIGN(NLMSG_HDRLEN + size);
}

static bool tells(uint16_t type, const void *body, size_t size)
{
    struct answer a = {0};
    add(&a, type, body, size, 0);
    return tbi_netwatch_tells(a.data, a.size);
}

static const struct ifaddrmsg address = {.ifa_family = AF_INET};
static const struct rtmsg by_default = {.rtm_family = AF_INET};
static const struct rtmsg to_a_network = {.rtm_family = AF_INET, .rtm_dst_len = 24};

/* A link message with one attribute. */
struct link {
    struct ifinfomsg head;
    struct rtattr attr;
    uint8_t value[4];
    struct rtattr more;
};

static struct link link_with(uint16_t attr, unsigned change)
{
    struct link l = {.head = {.ifi_index = 2, .ifi_change = change},
                     .attr = {.rta_type = IFLA_MTU, .rta_len = sizeof l.attr + 3},
                     .more = {.rta_type = attr, .rta_len = sizeof l.more}};
    return l;
}

START_TEST(what_counts_as_a_change)
{
    struct link l = link_with(IFLA_OPERSTATE, 0), scan = link_with(IFLA_WIRELESS, 0),
                up = link_with(IFLA_WIRELESS, IFF_UP);

    ck_assert(tells(RTM_NEWADDR, &address, sizeof address));
    ck_assert(tells(RTM_DELADDR, &address, sizeof address));
    ck_assert(tells(RTM_NEWLINK, &l, sizeof l));
    ck_assert(tells(RTM_DELLINK, &l, sizeof l));
    ck_assert(tells(RTM_NEWLINK, &up, sizeof up));
    ck_assert(!tells(RTM_NEWLINK, &scan, sizeof scan)); /* wireless: every scan */
    ck_assert(tells(RTM_NEWROUTE, &by_default, sizeof by_default));
    ck_assert(tells(RTM_DELROUTE, &by_default, sizeof by_default));
    ck_assert(!tells(RTM_NEWROUTE, &to_a_network, sizeof to_a_network));
    ck_assert(!tells(RTM_DELROUTE, &to_a_network, sizeof to_a_network));
    ck_assert(!tells(NLMSG_NOOP, NULL, 0));
    ck_assert(!tells(NLMSG_DONE, NULL, 0));
    ck_assert(tells(NLMSG_OVERRUN, NULL, 0));
    ck_assert(!tells(RTM_NEWNEIGH, &address, sizeof address));
    ck_assert(!tbi_netwatch_tells(NULL, 0));
}
END_TEST

START_TEST(one_of_several_is_enough)
{
    struct answer a = {0};
    add(&a, RTM_NEWROUTE, &to_a_network, sizeof to_a_network, 0);
    add(&a, NLMSG_NOOP, "xyz", 3, 0); /* padded */
    ck_assert(!tbi_netwatch_tells(a.data, a.size));
    add(&a, RTM_NEWADDR, &address, sizeof address, 0);
    ck_assert(tbi_netwatch_tells(a.data, a.size));
}
END_TEST

/* Bytes that are not understood are news: who looks once too often loses nothing. */
START_TEST(what_is_malformed_counts)
{
    struct link l = link_with(IFLA_OPERSTATE, 0);
    struct answer a = {0};
    static const uint32_t lies[] = {1, 15, 17 + sizeof to_a_network, 0xffffffff};

    for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) {
        a.size = 0;
        add(&a, RTM_NEWROUTE, &to_a_network, sizeof to_a_network, lies[i]);
        ck_assert(tbi_netwatch_tells(a.data, a.size));
    }
    ck_assert(tbi_netwatch_tells(a.data, 7));
    ck_assert(tells(RTM_NEWROUTE, &to_a_network, 3));
    ck_assert(tells(RTM_NEWLINK, &l, 3));
    l.attr.rta_len = 2; /* shorter than its own head: it would not end */
    ck_assert(tells(RTM_NEWLINK, &l, sizeof l));
    l.attr.rta_len = 200;
    ck_assert(tells(RTM_NEWLINK, &l, sizeof l));
}
END_TEST

/* ---- reading --------------------------------------------------------------------------------- */

static struct tbi_alloc memory;
static struct tbi_netwatch *watch;

static void begin(void)
{
    memset(answers, 0, sizeof answers);
    answers_len = answers_next = reads = 0;
    for_ever = false;
    refused = 0;
    ck_assert_int_eq(tbi_alloc_init(&memory, NULL), 0);
    ck_assert_int_eq(tbi_netwatch_new(&watch, &memory), 0);
}

static void end(void)
{
    tbi_netwatch_free(watch);
}

static bool changed(void)
{
    bool failed;
    bool yes = tbi_netwatch_read(watch, &failed);
    ck_assert(!failed);
    return yes;
}

START_TEST(it_reads_until_there_is_no_more)
{
    ck_assert(!changed());
    add(&answers[0], RTM_NEWROUTE, &to_a_network, sizeof to_a_network, 0);
    answers[1].error = EINTR;
    add(&answers[2], RTM_DELADDR, &address, sizeof address, 0);
    add(&answers[3], RTM_NEWROUTE, &to_a_network, sizeof to_a_network, 0);
    answers_len = 4;
    answers_next = reads = 0;
    ck_assert(changed());
    ck_assert_uint_eq(reads, 5);
    ck_assert(!changed());
}
END_TEST

START_TEST(lost_news_are_news)
{
    answers[0].error = ENOBUFS;
    answers_len = 1;
    ck_assert(changed());
    ck_assert_uint_eq(reads, 2); /* and it goes on */
    answers_next = 0;
    add(&answers[0], RTM_NEWROUTE, &to_a_network, sizeof to_a_network, 0);
    answers[0].error = 0;
    answers[0].flags = MSG_TRUNC;
    ck_assert(changed());
}
END_TEST

/* Any program of root may write to a netlink socket. */
START_TEST(only_the_kernel_is_believed)
{
    add(&answers[0], RTM_DELADDR, &address, sizeof address, 0);
    answers[0].from = 4711;
    answers_len = 1;
    ck_assert(!changed());
}
END_TEST

START_TEST(a_flood_does_not_hold_up_the_loop)
{
    for_ever = true;
    add(&answers[0], RTM_NEWADDR, &address, sizeof address, 0);
    ck_assert(changed());
    ck_assert_uint_eq(reads, 64);
    answers[0].error = EINTR;
    ck_assert(!changed());
    ck_assert_uint_eq(reads, 128);
}
END_TEST

START_TEST(a_socket_that_fails_is_told)
{
    bool failed = false;
    answers[0].error = EBADF;
    answers_len = 1;
    ck_assert(tbi_netwatch_read(watch, &failed));
    ck_assert(failed);
}
END_TEST

START_TEST(opening)
{
    struct tbi_netwatch *w;
    ck_assert_int_eq(fcntl(tbi_netwatch_fd(watch), F_GETFD), FD_CLOEXEC);
    ck_assert_int_ne(fcntl(tbi_netwatch_fd(watch), F_GETFL) & O_NONBLOCK, 0);
    refused = EPERM;
    ck_assert_int_eq(tbi_netwatch_new(&w, &memory), TBQ_ERR_IO);
    ck_assert_ptr_null(w);
    tbi_netwatch_free(NULL);
}
END_TEST

static void open_one(const struct tbi_alloc *a, void *arg)
{
    struct tbi_netwatch *w;
    (void)arg;
    int rv = tbi_netwatch_new(&w, a);
    ck_assert(rv == 0 || rv == TBQ_ERR_NOMEM);
    tbi_netwatch_free(w);
}

START_TEST(without_memory)
{
    tbi_walk_allocations(open_one, NULL);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("netwatch");
    TCase *tc = tcase_create("messages");
    suite_add_tcase(suite, tc);
    tcase_add_test(tc, what_counts_as_a_change);
    tcase_add_test(tc, one_of_several_is_enough);
    tcase_add_test(tc, what_is_malformed_counts);
    tc = tcase_create("reading");
    suite_add_tcase(suite, tc);
    tcase_add_checked_fixture(tc, begin, end);
    tcase_add_test(tc, it_reads_until_there_is_no_more);
    tcase_add_test(tc, lost_news_are_news);
    tcase_add_test(tc, only_the_kernel_is_believed);
    tcase_add_test(tc, a_flood_does_not_hold_up_the_loop);
    tcase_add_test(tc, a_socket_that_fails_is_told);
    tcase_add_test(tc, opening);
    tcase_add_test(tc, without_memory);
    return tbi_test_main(suite);
}
