/* node/further.c - further connections to a peer that is connected already.
 *
 * The side that dialled a peer dials it again, at other addresses and from other addresses, until
 * there are as many paths as the configuration asks for; and at once, at any address, when what is
 * under way on all paths is not answered in time: a fresh connection gets through where the old
 * one's way is gone (another address behind a translator, another route). The other side does so a
 * little later, where the first did not: it alone may know of another address. Each is one more
 * path of the link, and the application hears nothing of it. */
#include <string.h>

#include "node/parts.h"

#define AT_ONCE 2          /* dials in one go where everything is silent; */
#define MOST 4             /* and under way at the same time, */
#define APART_MS 250       /* the next so much later: as in race.c */
#define RETRY_FIRST_MS 250 /* between rounds that came to nothing, doubled each time */
#define RETRY_LAST_MS 60000
#define LASTED_NS (10 * TBI_NS_PER_S) /* a connection that was wanted by both sides */
#define OTHER_SIDE_MS 250             /* later than who dialled, where everything is silent; */
#define OTHER_SIDE_CALM_MS 2000       /* and where another path would be welcome */

/* Where one more connection might go. */
struct way {
    struct tbi_addr remote;
    struct tbi_addr local; /* len 0: as the system routes */
};

static bool same_ip(const struct tbi_addr *a, const struct tbi_addr *b)
{
    size_t a_size, b_size;
    const uint8_t *a_ip = tbi_addr_bytes(a, &a_size), *b_ip = tbi_addr_bytes(b, &b_size);

    return a_ip != NULL && b_ip != NULL && a_size == b_size && memcmp(a_ip, b_ip, a_size) == 0;
}

/* Whether the connection goes that way, however it came to it. */
static bool goes(const struct tbi_session *s, const struct way *way)
{
    return tbi_addr_equal(&s->remote, &way->remote) &&
           (way->local.len == 0 || same_ip(tbi_conn_local(tbi_session_conn(s)), &way->local));
}

static bool is_there(const struct tbi_bond *b, const struct way *way)
{
    TBI_LIST_FOREACH(it, &b->carriers)
    {
        const struct tbi_session *s = TBI_CONTAINER(it, struct tbi_session, carries);
        if (!s->closing && goes(s, way)) {
            return true;
        }
    }
    return false;
}

/* From that address of ours to there: the same family, and as far. */
static bool may_lead(const struct tbi_addr *local, const struct tbi_addr *remote)
{
    enum tbi_scope scope = tbi_scope_of(local);

    return local->u.sa.sa_family == remote->u.sa.sa_family && scope != TBI_SCOPE_LINK &&
           scope != TBI_SCOPE_NONE &&
           (scope == TBI_SCOPE_LOOPBACK) == (tbi_scope_of(remote) == TBI_SCOPE_LOOPBACK);
}

/* The n-th way to that peer, those to other addresses of its before those from other addresses of
 * ours. False: there are fewer. Who was dialled sees an address that need not take calls: for it
 * only those of the record count. */
static bool nth_way(struct tbi_bond *b, size_t n, struct way *way)
{
    struct tbi_discovery *d = &b->node->discovery;
    struct tbi_addr places[TBI_CONTACT_ADDRESSES_MAX];
    size_t len = tbi_discovery_places(b->node, &b->peer->id, places, TBI_CONTACT_ADDRESSES_MAX);
    bool dialled = b->session->dialled;

    if (dialled && n == 0) { /* where it is, as far as is known */
        *way = (struct way){.remote = b->session->remote};
        return true;
    }
    n -= dialled ? 1 : 0;
    if (n < len) {
        *way = (struct way){.remote = places[n]};
        return true;
    }
    n -= len;
    if (!dialled || n >= d->interfaces_len || !tbi_addr_is_any(&b->node->cfg.local)) {
        return false;
    }
    *way = (struct way){.remote = b->session->remote, .local = d->interfaces[n]};
    return true;
}

/* Whether one more connection should be dialled, where it has so many; *anywhere: at the same
 * addresses too. */
static bool wanted(const struct tbi_bond *b, struct tbi_tally has, bool *anywhere)
{
    const tbq_config *c = &b->node->cfg.settings;
    size_t all = has.sound + has.suspect;

    *anywhere = has.sound == 0 && has.suspect > 0;
    return b->peer != NULL && b->session != NULL && c->network_mode != TBQ_MODE_SERVER &&
           b->further < (*anywhere ? MOST : 1) && !b->node->stopping &&
           tbi_link_may_join(b->link) && all + b->further + 1 < TBI_LINK_PATHS_MAX &&
           (*anywhere || all < c->paths_max);
}

/* needed: or a full node could not mend what it has. */
static int dial(struct tbi_bond *b, const struct way *way, bool needed)
{
    struct tbi_node *node = b->node;
    struct tbi_dial_options options = {
        .needed = needed,
        .local = way->local.len > 0 ? &way->local : NULL,
    };
    uint64_t conn = 0;

    tbi_resume_prepare(node, &b->peer->id, &way->remote, &options); /* half the work for both */
    int rv = tbi_endpoint_dial(node->endpoint, node->now, &way->remote, &options, &conn);
    if (rv < 0) {
        return rv;
    }
    struct tbi_session *s = tbi_session_new(node, conn, true, &way->remote);
    if (s == NULL) {
        tbi_conn_close(tbi_endpoint_conn(node->endpoint, conn), node->now, TBI_CLOSE_INTERNAL, "");
        return TBQ_ERR_NOMEM;
    }
    s->further = true;
    s->peer_id = b->peer->id; /* whom trust must find there */
    tbi_bond_enter(b, s);
    b->further++;
    tbi_list_push(&b->dials, &s->attempt);
    return 0;
}

static void later(struct tbi_bond *b)
{
    unsigned doublings = b->further_failures < 8 ? b->further_failures : 8;
    uint64_t ms = (uint64_t)RETRY_FIRST_MS << doublings;

    ms = ms < RETRY_LAST_MS ? ms : RETRY_LAST_MS;
    b->further_failures++;
    b->further_at =
        b->node->now.mono_ns + (ms - tbi_rng_below(&b->node->rng, ms / 4 + 1)) * TBI_NS_PER_MS;
}

/* Other addresses of the peer are claims, as for its first connection. */
static bool may_try(struct tbi_bond *b, const struct way *way, bool anywhere)
{
    bool claim = !tbi_addr_equal(&way->remote, &b->session->remote);

    return (way->local.len == 0 || may_lead(&way->local, &way->remote)) &&
           (anywhere || !is_there(b, way)) &&
           (!claim || tbi_discovery_may_dial(b->node, &b->peer->id, &way->remote) == 0);
}

void tbi_further_due(struct tbi_bond *b)
{
    struct way way;
    size_t dialled = 0;
    bool anywhere;

    b->further_at = TBI_NEVER;
    while (wanted(b, tbi_bond_paths(b), &anywhere) && dialled < (anywhere ? AT_ONCE : 1)) {
        if (!nth_way(b, b->further_next++, &way)) {
            b->further_next = 0;
            later(b); /* all were tried */
            return;
        }
        dialled += may_try(b, &way, anywhere) && dial(b, &way, anywhere) == 0;
    }
    if (anywhere) {
        b->further_at = b->node->now.mono_ns + APART_MS * TBI_NS_PER_MS;
    }
}

/* More than are wanted, for one that was thought lost has come back: the one that the peer is known
 * by stays. */
static void close_one(struct tbi_bond *b)
{
    TBI_LIST_FOREACH(it, &b->carriers)
    {
        struct tbi_session *s = TBI_CONTAINER(it, struct tbi_session, carries);
        if (s != b->session && s->contact == NULL && !s->closing) {
            tbi_session_close(s, TBI_CLOSE_REPLACED, tbi_close_text(TBI_CLOSE_REPLACED));
            return;
        }
    }
}

/* What was dialled is not wanted any more: the silence was a short one. To the peer it may be up
 * already, and all that is left, if it has just ended the other one: so this is no good-bye. */
static void close_dials(struct tbi_bond *b)
{
    TBI_LIST_FOREACH(it, &b->dials)
    {
        struct tbi_session *s = TBI_CONTAINER(it, struct tbi_session, attempt);
        tbi_session_close(s, TBI_CLOSE_REPLACED, "the other connection answers again");
    }
}

static uint64_t after_other_side(const struct tbi_bond *b, bool silent)
{
    uint64_t ms = silent ? OTHER_SIDE_MS : OTHER_SIDE_CALM_MS;
    return b->session == NULL || b->session->dialled ? 0 : ms * TBI_NS_PER_MS;
}

void tbi_further_look(struct tbi_bond *b)
{
    struct tbi_tally has = tbi_bond_paths(b);
    bool anywhere, more = wanted(b, has, &anywhere);

    if (has.sound >= b->node->cfg.settings.paths_max) {
        close_dials(b);
    }
    if (has.sound > b->node->cfg.settings.paths_max && b->session != NULL && b->session->dialled) {
        close_one(b);
    } else if (more && (b->further_at == TBI_NEVER || (anywhere && !b->silent))) {
        if (anywhere) { /* silence is what costs most: no waiting for other reasons counts */
            b->further_next = 0;
            b->further_failures = 0;
        }
        b->further_at = b->node->now.mono_ns + after_other_side(b, anywhere);
    }
    b->silent = has.sound == 0 && has.suspect > 0;
}

/* Which side ends one of two that go the same way: who dialled both; else the one with the lower
 * id. */
static bool is_ours_to_end(const struct tbi_session *s, const struct tbi_session *o)
{
    return s->dialled == o->dialled ? s->dialled
                                    : tbq_peer_id_compare(&s->node->id, &s->peer_id) < 0;
}

/* It is up: what it was dialled to replace may end. */
void tbi_further_up(struct tbi_session *s)
{
    struct tbi_bond *b = s->bond;
    struct way way = {.remote = s->remote, .local = *tbi_conn_local(tbi_session_conn(s))};

    if (s->further) {
        b->further--;
        tbi_list_remove(&s->attempt);
    }
    TBI_LIST_FOREACH(it, &b->carriers)
    {
        struct tbi_session *o = TBI_CONTAINER(it, struct tbi_session, carries);
        if (s->joins && o != s && !o->closing && goes(o, &way) && is_ours_to_end(s, o)) {
            tbi_session_close(o->suspect ? o : s, TBI_CLOSE_REPLACED,
                              tbi_close_text(TBI_CLOSE_REPLACED));
            break;
        }
    }
}

void tbi_further_lost(struct tbi_bond *b, struct tbi_session *s, int reason)
{
    if (s->further && !s->up) {
        b->further--;
        tbi_list_remove(&s->attempt);
        tbi_discovery_unreached(b->node, &b->peer->id, &s->remote, reason);
    }
    if (s->further) { /* whoever ends it soon does not want it: that is tried ever more seldom */
        bool lasted = s->up && b->node->now.mono_ns > s->ready_at + LASTED_NS;
        b->further_failures = lasted ? 0 : b->further_failures;
        later(b);
    }
    tbi_further_look(b);
}

/* --- One more comes to a link ------------------------------------------------------------------
 */

/* It counts no more among its peer's connections that are not up. */
void tbi_further_settled(struct tbi_session *s)
{
    if (s->joining) {
        s->joining = false;
        s->bond->peer->joining--;
    }
}

void tbi_further_refuse(struct tbi_session *s, const char *why)
{
    s->node->joins_refused++;
    tbi_session_close(s, TBI_CLOSE_LIMIT, why);
}

/* Also those that are silent to the peer: here nothing may be under way on them, and they look
 * sound. So four of them do not keep out the one that is to save the link. */
bool tbi_further_full(const struct tbi_bond *b)
{
    struct tbi_tally n = tbi_bond_paths(b);
    return n.sound + n.suspect + 1 >= TBI_LINK_PATHS_MAX; /* the last place is not for these */
}

/* It waits until the link may have it. */
void tbi_further_ready(struct tbi_session *s)
{
    struct tbi_bond *b = s->bond;

    s->joins = true;
    if (memcmp(b->boot_id, s->hello.boot_id, sizeof b->boot_id) != 0) {
        tbi_session_close(s, TBI_CLOSE_NONE, "another process of the peer answers");
        tbi_bond_replaced(b, &s->remote);
        return;
    }
    if (!s->dialled && b->peer->joining >= TBI_JOINERS_MAX) {
        tbi_further_refuse(s, "too many connections of the peer wait to join others");
        return;
    }
    s->joining = !s->dialled; /* our own are counted where they are dialled */
    b->peer->joining += s->joining;
    if (tbi_link_may_join(b->link)) {
        tbi_session_join(s);
    } else {
        tbi_list_push(&b->joiners, &s->carries);
    }
}
