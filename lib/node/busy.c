/* node/busy.c - full nodes (docs/protocol.md, section 5.5).
 *
 * Of the connections that a node may have, a share is kept for its own dials to bootstrap and
 * pinned peers, and the last of the others are for an answer: BUSY, with a few records of peers
 * that may have room. Who dialled no certain peer follows that, at most twice. Beyond, the endpoint
 * refuses without state. */
#include <string.h>

#include "node/parts.h"

#define SHARE 16                      /* one connection of so many is kept */
#define SHARE_FROM 8                  /* connections from which on there is a share */
#define SHARE_MAX 16                  /* connections */
#define CLOSE_AFTER_NS (TBI_NS_PER_S) /* the client closes, when all is well */
#define FOLLOWS_MAX 2

size_t tbi_busy_share(size_t max_connections)
{
    if (max_connections < SHARE_FROM) {
        return 0;
    }
    size_t share = (max_connections + SHARE - 1) / SHARE;
    return share < SHARE_MAX ? share : SHARE_MAX;
}

bool tbi_busy_is(const struct tbi_session *s)
{
    size_t most = s->node->cfg.settings.max_connections;

    return !s->dialled &&
           tbi_endpoint_stats(s->node->endpoint)->connections + 2 * tbi_busy_share(most) > most;
}

/* --- Being full ------------------------------------------------------------------------------- */

static void name_some(struct tbi_session *s, struct tbi_busy *busy)
{
    struct tbi_book_entry *entry[TBI_BUSY_RECORDS_MAX];
    size_t n =
        tbi_book_sample(&s->node->discovery.book, 0, &s->peer_id, entry, TBI_BUSY_RECORDS_MAX);
    size_t room = TBI_CONTROL_FRAME_MAX - 1; /* the count */

    for (size_t i = 0; i < n; i++) {
        const struct tbi_block *record = entry[i]->record;
        if (record->size + 2 <= room) {
            room -= record->size + 2;
            busy->at[busy->len].record = record->data;
            busy->at[busy->len++].size = record->size;
        }
    }
}

void tbi_busy_tell(struct tbi_session *s)
{
    uint8_t bytes[TBI_CONTROL_FRAME_MAX + TBI_FRAME_HEAD_MAX];
    struct tbi_prologue p = {.type = TBI_STREAM_CONTROL};
    struct tbi_busy busy = {0};
    struct tbi_writer w;

    if (s->closing) {
        return;
    }
    name_some(s, &busy);
    tbi_put_init(&w, bytes, sizeof bytes);
    tbi_put_busy(&w, &busy);
    if (tbi_session_open(s, &p, 0, &s->control_out) < 0) {
        tbi_session_close(s, TBI_CLOSE_BUSY, tbi_close_text(TBI_CLOSE_BUSY));
    } else if (tbi_session_write_control(s, &w) == 0) {
        tbi_timer_set(&s->node->timers, &s->timer, s->node->now.mono_ns + CLOSE_AFTER_NS);
    }
    s->node->busy_told++;
}

/* --- Hearing it ------------------------------------------------------------------------------- */

static void take_referrals(struct tbi_session *s, const struct tbi_busy *busy)
{
    struct tbi_contact *c = s->contact;

    if (c == NULL || !c->dialled || c->dial->target.pinned || c->follows == FOLLOWS_MAX) {
        return;
    }
    c->follows++;
    c->dial->referrals = 0;
    for (size_t i = 0; i < busy->len; i++) {
        tbq_peer_id about;
        if (tbi_discovery_hear(s->node, busy->at[i].record, busy->at[i].size, &s->remote, &about) ==
            0) {
            c->dial->referral[c->dial->referrals++] = about;
        }
    }
}

void tbi_busy_heard(struct tbi_session *s, struct tbi_cursor body)
{
    struct tbi_busy busy;
    const uint8_t *data;
    size_t size;
    int rv = tbi_get_busy(body, &busy);

    if (rv < 0) {
        tbi_session_violation(s, rv, "BUSY is not as it must be");
        return;
    }
    s->busy_heard = true;
    if (s->trusted) {
        take_referrals(s, &busy);
        tbi_session_close(s, TBI_CLOSE_NONE, "");
        return;
    }
    data = tbi_cur_rest(&body, &size);
    s->referrals = tbi_block_copy(s->node->alloc, data, size);
    if (s->referrals == NULL) {
        tbi_session_close(s, TBI_CLOSE_INTERNAL, tbq_strerror(TBQ_ERR_NOMEM));
    }
}

void tbi_busy_trusted(struct tbi_session *s)
{
    struct tbi_busy busy;
    struct tbi_cursor body;

    if (s->referrals == NULL || s->closing) {
        return;
    }
    tbi_cur_init(&body, s->referrals->data, s->referrals->size);
    if (tbi_get_busy(body, &busy) == 0) { /* as it was when it came */
        take_referrals(s, &busy);
    }
    tbi_session_close(s, TBI_CLOSE_NONE, "");
}

static bool is_connected(struct tbi_node *node, const tbq_peer_id *id)
{
    struct tbi_peer *peer = tbi_peer_get(node, id, false);
    struct tbi_bond *b = peer != NULL ? tbi_peer_newest(peer) : NULL;
    return b != NULL && b->session != NULL;
}

bool tbi_busy_follow(struct tbi_contact *c)
{
    while (c->dial->referrals > 0) {
        const tbq_peer_id *id = &c->dial->referral[--c->dial->referrals];
        size_t n = is_connected(c->node, id) ? 0
                                             : tbi_discovery_places(c->node, id, c->dial->addrs,
                                                                    TBI_CONTACT_ADDRESSES_MAX);
        if (n > 0) {
            c->dial->via = *id;
            c->following = true;
            c->dial->addrs_len = n;
            return true;
        }
    }
    return false;
}
