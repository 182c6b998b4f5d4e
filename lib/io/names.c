/* io/names.c - see names.h.
 *
 * c-ares cannot give up one query, only all of a channel. A query that nobody waits for any more
 * therefore stays, as a ghost, until c-ares is through with it; the channel goes as soon as there
 * are only ghosts. The next query makes a new one, and so reads resolv.conf anew: a node that
 * runs for months moves between networks. */
#include "io/names.h"

/* What c-ares 1.34 (Debian 13) calls deprecated has its successors only there, not in the 1.18 of
 * Debian 12, and stays in the library for as long as it is libcares.so.2. */
#define CARES_NO_DEPRECATED
#include <ares.h>
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <netdb.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/list.h"
#include "base/log.h"
#include "base/now.h"
#include <tbquic/error.h>

#define HOST_MAX 253U       /* characters of a name, RFC 1035 section 2.3.4 as text */
#define TRY_TIMEOUT_MS 1000 /* c-ares's own 5 s is the whole time of a dial */
#define TRIES 3             /* per server; the timeout doubles from one to the next */
#define FDS_LIMIT                                                                                  \
    (TBI_NAMES_FDS_MAX < ARES_GETSOCK_MAXNUM ? TBI_NAMES_FDS_MAX : ARES_GETSOCK_MAXNUM)

struct query {
    struct tbi_list link; /* in open, done or ghosts */
    struct tbi_names *names;
    uint64_t deadline;
    uint16_t port;
    bool in_ares; /* c-ares will call back once more */
    bool wanted;  /* in open */
    bool ghost;
    char host[HOST_MAX + 1];
    struct tbi_names_result result;
};

struct tbi_names {
    const struct tbi_alloc *alloc;
    ares_channel channel; /* NULL while there is nothing to do */
    char *servers;
    int try_timeout_ms;
    size_t count; /* in all three lists */
    struct tbi_list open;
    struct tbi_list done;
    struct tbi_list ghosts;
};

static struct query *query_of(struct tbi_list *link)
{
    return TBI_CONTAINER(link, struct query, link);
}

static void query_free(struct query *q)
{
    struct tbi_names *n = q->names;
    tbi_list_remove(&q->link);
    n->count--;
    tbi_free(n->alloc, q);
}

/* Its result is ready. */
static void query_done(struct query *q)
{
    q->wanted = false;
    tbi_list_remove(&q->link);
    tbi_list_push(&q->names->done, &q->link);
}

/* Nobody waits for it: freed, or kept until c-ares has called back. */
static void query_drop(struct query *q)
{
    if (!q->in_ares) {
        query_free(q);
        return;
    }
    q->wanted = false;
    q->ghost = true;
    tbi_list_remove(&q->link);
    tbi_list_push(&q->names->ghosts, &q->link);
}

static void query_fail(struct query *q, int error, const char *why)
{
    q->result.error = error;
    q->result.n = 0;
    tbi_text(q->result.why, sizeof q->result.why, "%s: %s", q->host, why);
    query_done(q);
}

/* ---- c-ares --------------------------------------------------------------------------------- */

static pthread_once_t library_once = PTHREAD_ONCE_INIT;

static void init_library(void)
{
    ares_library_init(ARES_LIB_INIT_ALL);
}

/* Sockets of our own making: closed on exec from the first moment, and no SIGPIPE when a name
 * server closes a TCP connection, which c-ares's writev() would raise. */
static ares_socket_t open_socket(int family, int type, int protocol, void *user)
{
    (void)user;
#if defined(SOCK_CLOEXEC) && defined(SOCK_NONBLOCK)
    return socket(family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, protocol);
#else
    int fd = socket(family, type, protocol);
    if (fd >= 0) {
        fcntl(fd, F_SETFD, FD_CLOEXEC);
        fcntl(fd, F_SETFL, O_NONBLOCK);
    }
    return fd;
#endif
}

static int close_socket(ares_socket_t fd, void *user)
{
    (void)user;
    return close(fd);
}

static int connect_socket(ares_socket_t fd, const struct sockaddr *to, ares_socklen_t len,
                          void *user)
{
    (void)user;
    return connect(fd, to, len);
}

static ares_ssize_t receive_from(ares_socket_t fd, void *data, size_t size, int flags,
                                 struct sockaddr *from, ares_socklen_t *len, void *user)
{
    (void)user;
    return recvfrom(fd, data, size, flags, from, len);
}

static ares_ssize_t send_vectors(ares_socket_t fd, const struct iovec *iov, int n, void *user)
{
    struct msghdr m = {0};
    (void)user;
    m.msg_iov = (struct iovec *)iov; /* not written to */
    m.msg_iovlen = (size_t)n;
#if defined(MSG_NOSIGNAL)
    return sendmsg(fd, &m, MSG_NOSIGNAL);
#else
    return sendmsg(fd, &m, 0);
#endif
}

static const struct ares_socket_functions socket_functions = {
    .asocket = open_socket,
    .aclose = close_socket,
    .aconnect = connect_socket,
    .arecvfrom = receive_from,
    .asendv = send_vectors,
};

/* 0 or an ARES_E...; *channel is set on success only. */
static int open_channel(struct tbi_names *n)
{
    struct ares_options options = {.timeout = n->try_timeout_ms, .tries = TRIES};
    ares_channel channel = NULL;

    int status = ares_init_options(&channel, &options, ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES);
    if (status != ARES_SUCCESS) {
        return status;
    }
    if (n->servers != NULL) {
        status = ares_set_servers_ports_csv(channel, n->servers);
        if (status != ARES_SUCCESS) {
            ares_destroy(channel);
            return status;
        }
    }
    ares_set_socket_functions(channel, &socket_functions, NULL);
    n->channel = channel;
    return 0;
}

/* Not from inside c-ares. Its calls back for the ghosts come from here. */
static void close_idle_channel(struct tbi_names *n)
{
    if (n->channel != NULL && tbi_list_empty(&n->open)) {
        ares_destroy(n->channel);
        n->channel = NULL;
    }
}

static void take_addresses(struct query *q, const struct ares_addrinfo *info)
{
    struct tbi_names_result *r = &q->result;

    for (const struct ares_addrinfo_node *i = info->nodes; i != NULL; i = i->ai_next) {
        struct tbi_addr a;
        bool known = false;
        if (r->n == TBI_NAMES_ADDRS_MAX) {
            break;
        }
        if (tbi_addr_from_sockaddr(&a, i->ai_addr, (size_t)i->ai_addrlen) < 0) {
            continue;
        }
        tbi_addr_set_port(&a, q->port);
        for (size_t k = 0; k < r->n; k++) {
            known = known || tbi_addr_equal(&r->addrs[k], &a);
        }
        if (!known) {
            r->addrs[r->n++] = a;
        }
    }
}

static const char *explain(int status)
{
    switch (status) {
    case ARES_ENOTFOUND:
    case ARES_ENONAME:
        return "there is no such name; check how it is spelt";
    case ARES_ENODATA:
        return "the name exists, but has no address";
    case ARES_EBADNAME:
        return "this is not a host name";
    case ARES_ECONNREFUSED:
    case ARES_ETIMEOUT:
        return "no name server answers; check the network and /etc/resolv.conf, or give an address "
               "in numbers";
    case ARES_ESERVFAIL:
    case ARES_EREFUSED:
        return "the name servers of /etc/resolv.conf could not find out";
    default:
        return ares_strerror(status);
    }
}

static void fail_by_status(struct query *q, int status)
{
    query_fail(q, status == ARES_ENOMEM ? TBQ_ERR_NOMEM : TBQ_ERR_NAME, explain(status));
}

static void on_addresses(void *arg, int status, int timeouts, struct ares_addrinfo *info)
{
    struct query *q = arg;
    (void)timeouts;

    q->in_ares = false;
    if (q->wanted && status == ARES_SUCCESS && info != NULL) {
        take_addresses(q, info);
    }
    if (info != NULL) {
        ares_freeaddrinfo(info);
    }
    if (q->ghost) {
        query_free(q);
    } else if (q->wanted && q->result.n > 0) {
        query_done(q);
    } else if (q->wanted) {
        fail_by_status(q, status == ARES_SUCCESS ? ARES_ENODATA : status);
    }
}

/* ---- names that need no network ------------------------------------------------------------- */

/* "192.0.2.1", "2001:db8::1", "fe80::1%eth0". */
static bool is_number(const char *host, uint16_t port, struct tbi_addr *a)
{
    uint8_t ip[16];
    char plain[HOST_MAX + 1];

    if (inet_pton(AF_INET, host, ip) == 1) {
        return tbi_addr_from_bytes(a, ip, 4, port) == 0;
    }
    size_t n = strcspn(host, "%");
    memcpy(plain, host, n);
    plain[n] = '\0';
    if (inet_pton(AF_INET6, plain, ip) != 1 || tbi_addr_from_bytes(a, ip, 16, port) < 0) {
        return false;
    }
    if (host[n] == '%' && a->u.sa.sa_family == AF_INET6) {
        a->u.in6.sin6_scope_id = if_nametoindex(host + n + 1);
        return a->u.in6.sin6_scope_id != 0;
    }
    return host[n] == '\0';
}

/* RFC 6761 section 6.3: `localhost` and all below it. */
static bool is_localhost(const char *host)
{
    static const char name[] = "localhost";
    size_t n = strlen(host);
    size_t m = sizeof name - 1;

    if (n > 0 && host[n - 1] == '.') {
        n--;
    }
    return n >= m && strncasecmp(host + n - m, name, m) == 0 && (n == m || host[n - m - 1] == '.');
}

/* True: it was answered. */
static bool answer_at_once(struct query *q)
{
    static const uint8_t v4[4] = {127, 0, 0, 1};
    struct tbi_names_result *r = &q->result;

    if (is_number(q->host, q->port, &r->addrs[0])) {
        r->n = 1;
    } else if (is_localhost(q->host)) {
        /* IPv4 first: what listens by default is 127.0.0.1, and no refusal comes back from ::1. */
        tbi_addr_from_bytes(&r->addrs[0], v4, sizeof v4, q->port);
        tbi_addr_from_bytes(&r->addrs[1], in6addr_loopback.s6_addr, 16, q->port);
        r->n = 2;
    } else {
        return false;
    }
    query_done(q);
    return true;
}

/* ---- the interface -------------------------------------------------------------------------- */

int tbi_names_new(struct tbi_names **names, const struct tbi_alloc *a,
                  const struct tbi_names_config *config)
{
    struct tbi_names *n = tbi_calloc(a, 1, sizeof *n);

    *names = NULL;
    if (n == NULL) {
        return TBQ_ERR_NOMEM;
    }
    n->alloc = a;
    n->try_timeout_ms = config != NULL && config->try_timeout_ms > 0
                            ? (int)(config->try_timeout_ms & INT32_MAX)
                            : TRY_TIMEOUT_MS;
    tbi_list_init(&n->open);
    tbi_list_init(&n->done);
    tbi_list_init(&n->ghosts);
    if (config != NULL && config->servers != NULL) {
        n->servers = tbi_strdup(a, config->servers);
        if (n->servers == NULL) {
            tbi_free(a, n);
            return TBQ_ERR_NOMEM;
        }
    }
    pthread_once(&library_once, init_library);
    *names = n;
    return 0;
}

static void drop_all(struct tbi_list *list)
{
    TBI_LIST_FOREACH(it, list)
    {
        query_drop(query_of(it));
    }
}

void tbi_names_free(struct tbi_names *n)
{
    if (n == NULL) {
        return;
    }
    drop_all(&n->open);
    drop_all(&n->done);
    close_idle_channel(n); /* ends the ghosts */
    tbi_free(n->alloc, n->servers);
    tbi_free(n->alloc, n);
}

static void ask_ares(struct query *q)
{
    struct ares_addrinfo_hints hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_DGRAM};
    struct tbi_names *n = q->names;

    if (n->channel == NULL) {
        int status = open_channel(n);
        if (status != 0) {
            fail_by_status(q, status);
            return;
        }
    }
    q->in_ares = true;
    ares_getaddrinfo(n->channel, q->host, NULL, &hints, on_addresses, q);
}

int tbi_names_start(struct tbi_names *n, const char *host, uint16_t port, uint64_t deadline,
                    uint64_t cookie)
{
    if (n->count >= TBI_NAMES_QUERIES_MAX) {
        return TBQ_ERR_LIMIT;
    }
    struct query *q = tbi_calloc(n->alloc, 1, sizeof *q);
    if (q == NULL) {
        return TBQ_ERR_NOMEM;
    }
    q->names = n;
    q->deadline = deadline;
    q->port = port;
    q->wanted = true;
    q->result.cookie = cookie;
    n->count++;
    tbi_list_push(&n->open, &q->link);
    size_t length = strlen(host);
    if (length == 0 || length > HOST_MAX) {
        tbi_text(q->host, sizeof q->host, "%s", length == 0 ? "''" : host);
        query_fail(q, TBQ_ERR_NAME, "a host name has 1 to 253 characters");
        return 0;
    }
    memcpy(q->host, host, length + 1);
    if (!answer_at_once(q)) {
        ask_ares(q);
        close_idle_channel(n); /* where it was answered from /etc/hosts */
    }
    return 0;
}

void tbi_names_cancel(struct tbi_names *n, uint64_t cookie)
{
    struct tbi_list *lists[] = {&n->open, &n->done};

    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
        TBI_LIST_FOREACH(it, lists[i])
        {
            if (query_of(it)->result.cookie == cookie) {
                query_drop(query_of(it));
            }
        }
    }
    close_idle_channel(n);
}

size_t tbi_names_pollfds(struct tbi_names *n, struct pollfd *fds, size_t max)
{
    ares_socket_t sockets[ARES_GETSOCK_MAXNUM];
    size_t count = 0;

    if (n->channel == NULL) {
        return 0;
    }
    unsigned bits = (unsigned)ares_getsock(n->channel, sockets, ARES_GETSOCK_MAXNUM);
    for (unsigned i = 0; i < FDS_LIMIT && count < max; i++) {
        /* Not by c-ares's macros, which shift a signed 1 into the sign. */
        bool in = ((bits >> i) & 1U) != 0;
        bool out = ((bits >> (i + ARES_GETSOCK_MAXNUM)) & 1U) != 0;
        short events = (short)((in ? POLLIN : 0) | (out ? POLLOUT : 0));
        if (events != 0) {
            fds[count++] = (struct pollfd){.fd = sockets[i], .events = events};
        }
    }
    return count;
}

uint64_t tbi_names_deadline(struct tbi_names *n, uint64_t now)
{
    uint64_t nearest = TBI_NEVER;

    if (!tbi_list_empty(&n->done)) {
        return now;
    }
    TBI_LIST_FOREACH(it, &n->open)
    {
        if (query_of(it)->deadline < nearest) {
            nearest = query_of(it)->deadline;
        }
    }
    if (n->channel != NULL) {
        struct timeval tv;
        if (ares_timeout(n->channel, NULL, &tv) != NULL) {
            /* One ms more: c-ares rounds down, and would be asked in a circle until it is due. */
            uint64_t at = now + (uint64_t)tv.tv_sec * TBI_NS_PER_S +
                          (uint64_t)tv.tv_usec * TBI_NS_PER_US + TBI_NS_PER_MS;
            nearest = at < nearest ? at : nearest;
        }
    }
    return nearest;
}

static void end_late_queries(struct tbi_names *n, uint64_t now)
{
    TBI_LIST_FOREACH(it, &n->open)
    {
        if (query_of(it)->deadline <= now) {
            query_fail(query_of(it), TBQ_ERR_TIMEOUT, "no name server answered in time");
        }
    }
}

void tbi_names_process(struct tbi_names *n, uint64_t now)
{
    if (n->channel != NULL) {
        struct pollfd fds[TBI_NAMES_FDS_MAX];
        size_t count = tbi_names_pollfds(n, fds, TBI_NAMES_FDS_MAX);
        if (poll(fds, (nfds_t)count, 0) > 0) {
            for (size_t i = 0; i < count; i++) {
                bool in = (fds[i].revents & (POLLIN | POLLERR | POLLHUP)) != 0;
                bool out = (fds[i].revents & POLLOUT) != 0;
                ares_process_fd(n->channel, in ? fds[i].fd : ARES_SOCKET_BAD,
                                out ? fds[i].fd : ARES_SOCKET_BAD);
            }
        }
        ares_process_fd(n->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD); /* its retries */
    }
    end_late_queries(n, now);
    close_idle_channel(n);
}

bool tbi_names_next(struct tbi_names *n, struct tbi_names_result *result)
{
    if (tbi_list_empty(&n->done)) {
        return false;
    }
    struct query *q = query_of(n->done.next);
    *result = q->result;
    query_drop(q);
    return true;
}
