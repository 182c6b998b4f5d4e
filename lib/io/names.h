/* io/names.h - host names to addresses through c-ares, without waiting and without threads.
 *
 * Queries are started, the outcomes pulled; nothing calls back. Numbers and `localhost` (RFC 6761)
 * never go to the network. c-ares keeps its own memory and reads its own clock for its retries;
 * the limit per query is ours. */
#ifndef TBI_IO_NAMES_H
#define TBI_IO_NAMES_H

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/alloc.h"

#define TBI_NAMES_QUERIES_MAX 256U /* at once, outcomes not pulled yet included */
#define TBI_NAMES_ADDRS_MAX 16U    /* of one name; more are left out */
#define TBI_NAMES_FDS_MAX 16U

struct tbi_names;

struct tbi_names_config {
    const char *servers;     /* "192.0.2.1:53,..." instead of the system's; NULL: the system's */
    uint32_t try_timeout_ms; /* of one try at one server; 0: 1000 */
};

struct tbi_names_result {
    uint64_t cookie; /* as given to tbi_names_start() */
    int error;       /* 0, TBQ_ERR_NAME, TBQ_ERR_TIMEOUT or TBQ_ERR_NOMEM */
    struct tbi_addr addrs[TBI_NAMES_ADDRS_MAX];
    size_t n;      /* 0 when there was an error */
    char why[384]; /* names the host, and what was wrong */
};

/* config NULL: the defaults. 0 or TBQ_ERR_NOMEM. */
int tbi_names_new(struct tbi_names **names, const struct tbi_alloc *a,
                  const struct tbi_names_config *config);
void tbi_names_free(struct tbi_names *names); /* NULL is fine; open queries end without a result */

/* Starts a query that ends, one way or another, by `deadline` (ns, monotonic; TBI_NEVER: when
 * c-ares gives up). Its result is pulled with tbi_names_next(), perhaps at once. `host` is copied.
 * 0, TBQ_ERR_LIMIT, TBQ_ERR_NOMEM; a name that cannot be one is a result, not an error here. */
int tbi_names_start(struct tbi_names *names, const char *host, uint16_t port, uint64_t deadline,
                    uint64_t cookie);

/* No result will come for the queries with this cookie. */
void tbi_names_cancel(struct tbi_names *names, uint64_t cookie);

/* The descriptors to wait for; ask again before every wait. How many, at most `max`. */
size_t tbi_names_pollfds(struct tbi_names *names, struct pollfd *fds, size_t max);

/* When to call tbi_names_process() at the latest, ns; TBI_NEVER. */
uint64_t tbi_names_deadline(struct tbi_names *names, uint64_t now);

/* Does what can be done now, and ends queries whose time has passed. Never waits. */
void tbi_names_process(struct tbi_names *names, uint64_t now);

/* The next outcome, in the order in which they came; false: none. */
bool tbi_names_next(struct tbi_names *names, struct tbi_names_result *result);

#endif
