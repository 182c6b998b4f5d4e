/* server/book.c - where the node can be reached, and its peer book on disk.
 *
 * The book is `state_dir`/peers: read at start, written when it has changed, ten seconds later at
 * the soonest, every five minutes while it goes on changing, and at the end. Writing waits for the
 * disk, so it is not done often; session tickets (tickets.c) are written with it. */
#include <stdio.h>
#include <string.h>

#include "io/interfaces.h"
#include "server/parts.h"

#define BOOK_FILE "peers"
#define BOOK_SIZE_MAX ((size_t)64 << 20)
#define FIRST_WRITE_NS (10 * TBI_NS_PER_S)
#define NEXT_WRITE_NS (300 * TBI_NS_PER_S)
#define NAMES_DEADLINE_NS (30 * TBI_NS_PER_S)

/* Tells the node what it may claim: numbers, and the names that were looked up so far. */
static int tell_addresses(struct tbq_server *s, struct tbi_now now)
{
    struct tbi_addr interface[TBI_ADVERTISE_MAX];
    const struct tbi_addr *local = tbi_udp_local(s->udp);
    size_t n = 0;

    if (tbi_addr_is_any(local)) {
        n = tbi_interfaces(interface, TBI_ADVERTISE_MAX, tbi_addr_port(local),
                           local->u.sa.sa_family == AF_INET);
    }
    return tbi_node_set_addresses(s->node, now, s->advertised, s->advertised_len, interface, n);
}

int tbi_server_find_addresses(struct tbq_server *s, struct tbi_now now)
{
    uint64_t deadline = now.mono_ns + NAMES_DEADLINE_NS;

    for (size_t i = 0; i < s->settings.advertise_len; i++) {
        const struct tbi_target *t = &s->settings.advertise[i];
        if (t->numeric) {
            s->advertised[s->advertised_len++] = t->addr;
            continue;
        }
        int rv = tbi_names_start(s->names, t->host, t->port, deadline, TBI_COOKIE_ADVERTISE);
        if (rv < 0) {
            return rv;
        }
    }
    return tell_addresses(s, now);
}

void tbi_server_found_address(struct tbq_server *s, struct tbi_now now,
                              const struct tbi_names_result *result)
{
    if (result->error != 0) {
        tbi_log(&s->log, TBQ_LOG_WARNING, "an address to advertise was not found: %s", result->why);
        return;
    }
    for (size_t i = 0; i < result->n && s->advertised_len < TBI_ADVERTISE_MAX; i++) {
        s->advertised[s->advertised_len++] = result->addrs[i];
    }
    (void)tell_addresses(s, now);
}

int tbi_server_load_book(struct tbq_server *s, struct tbi_now now)
{
    const tbq_config *c = &s->settings.c;
    char path[TBI_PATH_SIZE];
    uint8_t *data = NULL;
    size_t size = 0;

    s->book_at = TBI_NEVER;
    if (c->state_dir == NULL) {
        return 0;
    }
    int rv = tbi_file_join(path, sizeof path, c->state_dir, BOOK_FILE);
    if (rv == 0) {
        rv = tbi_file_read(&s->alloc, path, BOOK_SIZE_MAX, TBI_FILE_MAY_MISS, &data, &size,
                           c->error_text, c->error_text_size);
    }
    if (rv == 0 && data != NULL) {
        rv = tbi_node_book_read(s->node, now, data, size);
        if (rv < 0) {
            tbi_text(c->error_text, c->error_text_size,
                     "%s is damaged, or of another version (%s); move it away to begin a new one",
                     path, tbq_strerror(rv));
            rv = rv == TBQ_ERR_NOMEM ? rv : TBQ_ERR_FILE;
        }
    }
    tbi_free(&s->alloc, data);
    return rv;
}

static void save_book(struct tbq_server *s)
{
    char path[TBI_PATH_SIZE];
    char why[TBI_PATH_SIZE + 128];
    struct tbi_block *bytes = NULL;

    if (s->settings.c.state_dir == NULL || s->node == NULL || !tbi_node_book_changed(s->node) ||
        tbi_file_join(path, sizeof path, s->settings.c.state_dir, BOOK_FILE) < 0) {
        return;
    }
    int rv = tbi_node_book_write(s->node, &bytes);
    if (rv == 0) {
        rv = tbi_file_replace(path, bytes->data, bytes->size, 0600, why, sizeof why);
    } else {
        tbi_text(why, sizeof why, "%s", tbq_strerror(rv));
    }
    if (rv < 0) {
        tbi_log(&s->log, TBQ_LOG_WARNING, "the peer book was not written: %s", why);
    }
    tbi_block_unref(bytes);
}

void tbi_server_save_state(struct tbq_server *s)
{
    save_book(s);
    tbi_server_save_tickets(s);
}

void tbi_server_tend_state(struct tbq_server *s, struct tbi_now now)
{
    if (s->book_at <= now.mono_ns) {
        tbi_server_save_state(s);
        s->book_at = TBI_NEVER;
        s->book_next = now.mono_ns + NEXT_WRITE_NS;
    }
    if (s->book_at == TBI_NEVER && s->settings.c.state_dir != NULL &&
        (tbi_node_book_changed(s->node) || tbi_node_tickets_changed(s->node))) {
        uint64_t soon = now.mono_ns + FIRST_WRITE_NS;
        s->book_at = soon > s->book_next ? soon : s->book_next;
    }
}
