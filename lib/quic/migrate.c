/* quic/migrate.c - which of our addresses a connection uses, and how it comes to another one.
 *
 * Only the client's role may choose (RFC 9000, section 9). ngtcp2 sees a number in place of our
 * address, another one for each that was ever chosen: so an address may be left to the kernel and
 * learnt from the answers, and what was left and is chosen again is a new path. A server has the
 * number 0 for ever: it sends from where it was reached last, and follows the client's address. */
#include <string.h>

#include "quic/parts.h"

const ngtcp2_path *tbi_path_set(struct tbi_path *p, unsigned number, const struct tbi_addr *remote)
{
    p->local = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)number)};
    p->path = (ngtcp2_path){
        .local = {.addr = (ngtcp2_sockaddr *)&p->local, .addrlen = sizeof p->local},
        .remote = {.addr = (ngtcp2_sockaddr *)(uintptr_t)&remote->u.sa, .addrlen = remote->len}};
    return &p->path;
}

static unsigned number_of(const ngtcp2_path *path)
{
    struct sockaddr_in in;
    memcpy(&in, path->local.addr, sizeof in);
    return ntohs(in.sin_port);
}

static bool is_trying(const struct tbi_conn *c)
{
    return c->next_number != c->from_number;
}

/* --- Packets ---------------------------------------------------------------------------------- */

unsigned tbi_conn_reached_at(struct tbi_conn *c, const struct tbi_addr *local)
{
    if (c->server) {
        c->from = *local;
        return c->from_number;
    }
    if (is_trying(c) && !tbi_addr_equal(local, &c->from)) {
        if (c->next.len == 0) {
            c->next = *local;
        }
        if (tbi_addr_equal(local, &c->next)) {
            return c->next_number;
        }
    }
    /* What was under way to the address that was left says nothing about the new one. */
    if (c->from.len == 0 && !tbi_addr_equal(local, &c->left)) {
        c->from = *local;
    }
    return c->from_number;
}

void tbi_conn_before_write(struct tbi_conn *c)
{
    c->in_flight = c->probing ? tbi_conn_in_flight(c) : 0;
}

void tbi_conn_wrote(struct tbi_conn *c, const ngtcp2_path *path, size_t size)
{
    bool in_use = number_of(path) == c->from_number;

    (void)tbi_addr_from_sockaddr(&c->remote, path->remote.addr, path->remote.addrlen);
    c->out = in_use ? c->from : c->next;
    /* Not a packet that tries whether larger ones pass: its loss would say nothing. */
    if (c->probing && in_use && tbi_conn_in_flight(c) > c->in_flight &&
        size <= ngtcp2_conn_get_path_max_tx_udp_payload_size(c->qc)) {
        c->probing = false;
        ngtcp2_conn_set_keep_alive_timeout(c->qc, c->keep_alive_ns);
    }
}

/* --- Asking whether the path lives ------------------------------------------------------------ */

void tbi_conn_probe(struct tbi_conn *c, struct tbi_now now)
{
    c->ep->now = now;
    if (c->state == TBI_CONN_ALIVE && !c->want_close && !c->half_open) {
        /* ngtcp2 has no call for a PING: a keep-alive that is due at once is one. */
        c->probing = true;
        ngtcp2_conn_set_keep_alive_timeout(c->qc, 1);
        tbi_conn_ready(c);
    }
}

/* --- Another address -------------------------------------------------------------------------- */

static unsigned new_number(struct tbi_conn *c)
{
    do {
        c->last_number++;
    } while (c->last_number == c->from_number);
    return c->last_number;
}

static bool is_forbidden(const struct tbi_conn *c)
{
    const ngtcp2_transport_params *p = ngtcp2_conn_get_remote_transport_params(c->qc);
    return p != NULL && p->disable_active_migration;
}

/* What the new address is, now that ngtcp2 has taken its number. */
static void take(struct tbi_conn *c, unsigned number, const struct tbi_addr *local, bool at_once)
{
    c->next_number = (uint16_t)number;
    c->next = *local;
    if (at_once) {
        c->left = c->from;
        c->from = c->next;
        c->from_number = c->next_number;
    }
    tbi_conn_ready(c);
}

int tbi_conn_migrate(struct tbi_conn *c, struct tbi_now now, const struct tbi_addr *local,
                     bool at_once)
{
    struct tbi_addr to = *local;
    struct tbi_path p;

    if (c->state != TBI_CONN_ALIVE || c->want_close) {
        return TBQ_ERR_CLOSED;
    }
    if (tbi_addr_is_any(&to)) {
        to.len = 0;
    }
    if (c->server || is_forbidden(c)) {
        return TBQ_ERR_UNSUPPORTED;
    }
    if (to.len > 0 && to.u.sa.sa_family != c->remote.u.sa.sa_family) {
        return TBQ_ERR_ADDRESS;
    }
    if (to.len > 0 && tbi_addr_equal(&to, &c->from)) {
        tbi_conn_probe(c, now);
        return 0;
    }
    unsigned number = new_number(c);
    tbi_path_set(&p, number, &c->remote);
    int rv = at_once ? ngtcp2_conn_initiate_immediate_migration(c->qc, &p.path, now.mono_ns)
                     : ngtcp2_conn_initiate_migration(c->qc, &p.path, now.mono_ns);
    if (rv == NGTCP2_ERR_INVALID_STATE || rv == NGTCP2_ERR_CONN_ID_BLOCKED) {
        return TBQ_ERR_AGAIN;
    }
    if (rv != 0) { /* halfway */
        tbi_conn_fail(c, rv);
        return TBQ_ERR_NOMEM;
    }
    take(c, number, &to, at_once);
    return 0;
}

void tbi_conn_forget_local(struct tbi_conn *c)
{
    c->left = c->from;
    c->from.len = 0;
}

const struct tbi_addr *tbi_conn_local(const struct tbi_conn *c)
{
    return &c->from;
}

void tbi_conn_path_tried(struct tbi_conn *c, const ngtcp2_path *path, bool answers)
{
    unsigned number = number_of(path);

    if (answers) {
        c->ep->stats.paths_proved++;
    } else {
        c->ep->stats.paths_unproved++;
    }
    if (is_trying(c) && number == c->next_number) {
        if (answers) {
            c->left = c->from;
            c->from = c->next;
            c->from_number = c->next_number;
        } else {
            c->next_number = c->from_number;
        }
    }
    if (!answers ||
        tbi_addr_from_sockaddr(&c->remote, path->remote.addr, path->remote.addrlen) < 0) {
        return;
    }
    if (c->server) {
        tbi_token_give(c); /* the one that it has is of its old address */
    }
    struct tbi_queued_action *a = tbi_endpoint_action(c->ep, c, TBI_QUIC_PATH);
    if (a != NULL) { /* without memory it is not told, and goes on */
        a->action.path.remote = c->remote;
        a->action.path.local = c->from;
    }
}
