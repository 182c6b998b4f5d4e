/* node/race.c - a contact's addresses are dialled a head start apart, and the first at which the
 * right peer may speak wins (RFC 8305, "Happy Eyeballs").
 *
 * A round has one time limit for all of its attempts. Addresses that are another's claims are
 * paced: one dial a second into each network (docs/protocol.md, section 11). */
#include <string.h>

#include "node/parts.h"

#define HEAD_START_NS (250 * TBI_NS_PER_MS) /* RFC 8305, section 8 */

static int family(const struct tbi_addr *a)
{
    return a->u.sa.sa_family;
}

/* RFC 8305, section 4: IPv6 goes first, then the families take turns; within one, as they came. */
void tbi_race_order(struct tbi_addr *addrs, size_t n)
{
    int wanted = AF_INET6;

    for (size_t i = 0; i < n; i++) {
        size_t k = i;
        while (k < n && family(&addrs[k]) != wanted) {
            k++;
        }
        if (k == n) {
            k = i; /* none is left of that family */
        }
        struct tbi_addr chosen = addrs[k];
        memmove(&addrs[i + 1], &addrs[i], (k - i) * sizeof *addrs);
        addrs[i] = chosen;
        wanted = family(&chosen) == AF_INET6 ? AF_INET : AF_INET6;
    }
}

static const tbq_peer_id *dialled_id(const struct tbi_contact *c)
{
    return c->following ? &c->dial->via : &c->dial->target.id;
}

/* Whether the socket has that family: bound to an IPv4 address it has only that, bound to one IPv6
 * address only that. */
static bool can_reach(const struct tbi_node *node, const struct tbi_addr *to)
{
    const struct tbi_addr *local = &node->cfg.local;

    return family(to) == family(local) || (family(local) == AF_INET6 && tbi_addr_is_any(local));
}

/* Of claims the first one goes at once: discovery has asked already, or the application wants it.
 */
static int may_dial(struct tbi_contact *c, const struct tbi_addr *to)
{
    bool claims = c->following || (!c->dial->target.numeric && c->dial->target.host[0] == '\0');
    bool at_once = c->paced && !c->following;

    c->paced = false;
    if (!claims || (at_once && c->by_itself)) {
        return 0;
    }
    int rv = tbi_discovery_may_dial(c->node, dialled_id(c), to);
    return rv == TBQ_ERR_AGAIN && at_once ? 0 : rv;
}

/* It was tried often enough, whoever claimed it. */
static void leave_out(struct tbi_contact *c, size_t i)
{
    c->dial->addrs_len--;
    memmove(&c->dial->addrs[i], &c->dial->addrs[i + 1],
            (c->dial->addrs_len - i) * sizeof *c->dial->addrs);
    if (c->last_reason == 0) {
        c->last_reason = TBQ_ERR_NO_ROUTE;
        tbi_text(c->dial->last_text, sizeof c->dial->last_text,
                 "nobody was ever reached where it claims to be");
    }
}

/* The next address that may be dialled now, or NULL. */
static const struct tbi_addr *next_address(struct tbi_contact *c)
{
    size_t i = c->dial->addrs_next;

    while (i < c->dial->addrs_len) {
        struct tbi_addr to = c->dial->addrs[i];
        int rv = may_dial(c, &to);
        if (rv == 0) {
            c->dial->addrs[i] = c->dial->addrs[c->dial->addrs_next];
            c->dial->addrs[c->dial->addrs_next] = to;
            return &c->dial->addrs[c->dial->addrs_next++];
        }
        if (rv == TBQ_ERR_LIMIT) {
            leave_out(c, i);
        } else {
            i++;
        }
    }
    return NULL;
}

/* in_place: of a connection that was just closed for it. */
static int dial(struct tbi_contact *c, const struct tbi_addr *to, bool in_place)
{
    struct tbi_node *node = c->node;
    struct tbi_dial_options options = {
        .needed = tbi_contact_named(c),
        .in_place = in_place,
        .early = node->cfg.settings.early_data,
    };
    uint64_t conn = 0;

    if (!can_reach(node, to)) {
        return TBQ_ERR_ADDRESS;
    }
    bool certain = c->following || c->dial->target.pinned; /* to whom it shall lead */
    tbi_resume_prepare(node, certain ? dialled_id(c) : NULL, to, &options);
    int rv = tbi_endpoint_dial(node->endpoint, node->now, to, &options, &conn);
    if (rv < 0) {
        return rv;
    }
    struct tbi_session *s = tbi_session_new(node, conn, true, to);
    if (s == NULL) {
        tbi_conn_close(tbi_endpoint_conn(node->endpoint, conn), node->now, TBI_CLOSE_INTERNAL,
                       tbq_strerror(TBQ_ERR_NOMEM));
        return TBQ_ERR_NOMEM;
    }
    s->contact = c;
    tbi_list_push(&c->attempts, &s->attempt);
    return 0;
}

void tbi_race_lost(struct tbi_contact *c, const struct tbi_addr *remote, int reason,
                   const char *text, bool final)
{
    if (!c->refused) { /* which says more than that another address did not answer */
        c->last_reason = reason;
        tbi_text(c->dial->last_text, sizeof c->dial->last_text, "%s", text);
    }
    c->refused = c->refused || final;
    tbi_discovery_unreached(c->node, dialled_id(c), remote, reason);
}

/* All connections are taken: another one may make room. What is dialled for company waits. */
static int dial_in_place(struct tbi_contact *c, const struct tbi_addr *to)
{
    int rv = c->by_itself && !c->was_up ? TBQ_ERR_LIMIT : tbi_room_make(c->node);

    return rv == 0 ? dial(c, to, true) : rv;
}

/* The next address is dialled. False: there is none that may be, now. */
static bool attempt(struct tbi_contact *c)
{
    const struct tbi_addr *to;
    int rv = -1;

    while (rv < 0 && (to = next_address(c)) != NULL) {
        rv = dial(c, to, false);
        if (rv == TBQ_ERR_LIMIT) {
            rv = dial_in_place(c, to);
        }
        if (rv < 0 && !c->refused) {
            c->last_reason = rv == TBQ_ERR_AGAIN ? TBQ_ERR_LIMIT : rv;
            tbi_text(c->dial->last_text, sizeof c->dial->last_text, "%s",
                     tbq_strerror(c->last_reason));
        }
        if (rv == TBQ_ERR_AGAIN) {
            c->dial->addrs_next--; /* it has its turn again when there is room */
            return false;
        }
    }
    return rv == 0;
}

static void out_of_time(struct tbi_contact *c)
{
    TBI_LIST_FOREACH(it, &c->attempts)
    {
        struct tbi_session *s = TBI_CONTAINER(it, struct tbi_session, attempt);
        tbi_race_lost(c, &s->remote, TBQ_ERR_TIMEOUT, "no answer in time", false);
    }
    if (c->session != NULL) {
        tbi_race_lost(c, &c->session->remote, TBQ_ERR_TIMEOUT, "no answer in time", false);
    }
    tbi_race_abandon(c, TBI_CLOSE_TIMEOUT, "no answer in time");
    c->dial->addrs_next = c->dial->addrs_len;
    c->dial->referrals = 0;
}

void tbi_race_begin(struct tbi_contact *c)
{
    struct tbi_node *node = c->node;
    uint64_t timeout = (uint64_t)node->cfg.settings.connection_timeout_ms * TBI_NS_PER_MS;

    c->state = TBI_CONTACT_DIALLING;
    c->dial->addrs_next = 0;
    c->round_ends_at = c->was_up || c->persistent ? node->now.mono_ns + timeout : c->give_up_at;
    tbi_race_run(c);
}

/* Until the next address has its turn: all of them shall have one, however short the time is. */
static uint64_t head_start(const struct tbi_contact *c, uint64_t now, bool dialled)
{
    uint64_t time = c->round_ends_at - now;
    size_t left = c->dial->addrs_len - c->dial->addrs_next;

    if (left == 0 || (!dialled && time < HEAD_START_NS)) {
        return time;
    }
    return dialled && time / (left + 1) < HEAD_START_NS ? time / (left + 1) : HEAD_START_NS;
}

void tbi_race_run(struct tbi_contact *c)
{
    struct tbi_node *node = c->node;
    uint64_t now = node->now.mono_ns;
    bool dialled = false;

    if (now >= c->round_ends_at) {
        out_of_time(c);
    } else {
        dialled = attempt(c);
    }
    if (c->session == NULL && tbi_list_empty(&c->attempts) &&
        c->dial->addrs_next == c->dial->addrs_len) {
        if (tbi_busy_follow(c)) {
            tbi_race_begin(c);
        } else {
            tbi_contact_round_failed(c);
        }
        return;
    }
    tbi_timer_set(&node->timers, &c->timer, now + head_start(c, now, dialled));
}

void tbi_race_won(struct tbi_session *s)
{
    struct tbi_contact *c = s->contact;

    if (c == NULL || c->session != NULL) {
        return;
    }
    c->session = s;
    tbi_list_remove(&s->attempt);
    TBI_LIST_FOREACH(it, &c->attempts)
    {
        struct tbi_session *slower = TBI_CONTAINER(it, struct tbi_session, attempt);
        tbi_list_remove(it);
        slower->contact = NULL;
        tbi_session_close(slower, TBI_CLOSE_NONE, "another address answered first");
    }
    tbi_timer_set(&c->node->timers, &c->timer, c->round_ends_at);
}

void tbi_race_abandon(struct tbi_contact *c, uint64_t code, const char *text)
{
    TBI_LIST_FOREACH(it, &c->attempts)
    {
        struct tbi_session *s = TBI_CONTAINER(it, struct tbi_session, attempt);
        tbi_list_remove(it);
        s->contact = NULL;
        tbi_session_close(s, code, text);
    }
    if (c->session != NULL) {
        c->session->contact = NULL;
        tbi_session_close(c->session, code, text);
        c->session = NULL;
    }
}
