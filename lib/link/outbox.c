/* link/outbox.c - messages on the sender's side: kept until their fate is known, and no longer.
 *
 * A message waits (waiting, aside), is numbered and written (sent), and becomes an event when it
 * is settled. Its bytes go as soon as the peer tells RECEIVED. */
#include "link/parts.h"

#include <string.h>

/* Who was refused is told when the message fits, and one part in so many of the outbox is free:
 * early enough that it does not run empty until more comes, and not for each message. */
#define ROOM 8

static struct tbi_out *out_of(struct tbi_list *node)
{
    struct tbi_link_event *event = TBI_CONTAINER(node, struct tbi_link_event, node);
    return TBI_CONTAINER(event, struct tbi_out, event);
}

static size_t roomy(size_t limit)
{
    size_t free = limit / ROOM;
    return limit - (free > 0 ? free : 1);
}

void tbi_outbox_init(struct tbi_link *link)
{
    for (size_t i = 0; i < TBQ_LANES; i++) {
        struct tbi_tx_lane *l = &link->tx[i];
        tbi_list_init(&l->waiting);
        tbi_list_init(&l->aside);
        tbi_list_init(&l->sent);
        tbi_list_init(&l->again);
        tbi_list_init(&l->announce);
        tbi_ranges_init(&l->told_received, link->alloc, TBI_LINK_RANGES_MAX);
        tbi_ranges_init(&l->told_taken, link->alloc, TBI_LINK_RANGES_MAX);
        l->settled_at = TBI_NEVER;
        l->declined_low = UINT64_MAX;
    }
    link->next_expiry = TBI_NEVER;
    link->roomy_messages = roomy(link->limit_messages);
    link->roomy_bytes = roomy(link->limit_bytes);
}

void tbi_out_free(struct tbi_link *link, struct tbi_out *m)
{
    tbi_piece_free(link->alloc, m, link->out_size);
}

static void free_list(struct tbi_link *link, struct tbi_list *list)
{
    struct tbi_list *node;
    while ((node = tbi_list_shift(list)) != NULL) {
        struct tbi_out *m = out_of(node);
        tbi_block_unref(m->payload);
        tbi_out_free(link, m);
    }
}

void tbi_outbox_free(struct tbi_link *link)
{
    for (size_t i = 0; i < TBQ_LANES; i++) {
        free_list(link, &link->tx[i].waiting);
        free_list(link, &link->tx[i].aside);
        free_list(link, &link->tx[i].sent);
        tbi_ranges_free(&link->tx[i].told_received);
        tbi_ranges_free(&link->tx[i].told_taken);
    }
}

uint64_t tbi_outbox_payload(const struct tbi_out *m)
{
    bool application = m->fate.kind == TBQ_TRANSITION || m->fate.kind == TBQ_RESOURCE_REQUEST ||
                       m->fate.kind == TBQ_RESOURCE_RESPONSE || m->fate.kind == TBQ_BODY;
    return (application ? 0 : m->head_size) + (m->payload != NULL ? m->payload->size : 0);
}

uint64_t tbi_outbox_lowest(const struct tbi_tx_lane *l)
{
    return tbi_list_empty(&l->sent) ? l->next : out_of(l->sent.next)->fate.number;
}

struct tbi_out *tbi_outbox_next(const struct tbi_tx_lane *l, const struct tbi_out *m)
{
    struct tbi_list *node = m != NULL ? m->event.node.next : l->sent.next;
    return node == &l->sent ? NULL : out_of(node);
}

struct tbi_out *tbi_outbox_unheard(struct tbi_tx_lane *l)
{
    while (l->unheard != NULL && l->unheard->received) {
        l->unheard = tbi_outbox_next(l, l->unheard);
    }
    return l->unheard;
}

void tbi_outbox_numbered(struct tbi_tx_lane *l, struct tbi_out *m)
{
    tbi_list_remove(&m->event.node);
    tbi_list_push(&l->sent, &m->event.node);
    l->unheard = l->unheard != NULL ? l->unheard : m;
}

/* --- Sending -------------------------------------------------------------------------------- */

static void starve(struct tbi_link *link, size_t size)
{
    link->wanted = link->starved && link->wanted > size ? link->wanted : size;
    link->starved = true;
}

static int check(const struct tbi_link *link, const struct tbi_outgoing *m)
{
    size_t size = m->payload != NULL ? m->payload->size : 0;

    if ((unsigned)m->lane >= TBQ_LANES || m->head_size > TBI_LINK_HEAD_MAX || m->kind < TBQ_PING ||
        m->kind > TBQ_BODY) {
        return TBQ_ERR_INVALID;
    }
    if (size > TBI_MESSAGE_SIZE_MAX || (link->peer_max != 0 && size > link->peer_max)) {
        return TBQ_ERR_TOO_LARGE;
    }
    /* one message that is larger than the whole outbox is let into an empty one */
    if (link->stats.outbox_messages >= link->limit_messages ||
        (link->stats.outbox_bytes > 0 && (link->stats.outbox_bytes >= link->limit_bytes ||
                                          size > link->limit_bytes - link->stats.outbox_bytes))) {
        return TBQ_ERR_AGAIN;
    }
    return 0;
}

bool tbi_link_spare(const struct tbi_link *link, size_t size)
{
    size_t bytes = link->stats.outbox_bytes;

    return link->control != NULL && link->stats.outbox_messages < link->limit_messages / 2 + 1 &&
           (bytes == 0 || (bytes < link->limit_bytes / 2 && size <= link->limit_bytes / 2 - bytes));
}

uint64_t tbi_link_peer_max(const struct tbi_link *link)
{
    return link->peer_max;
}

static void expires(struct tbi_link *link, const struct tbi_out *m)
{
    if (m->expires_at < link->next_expiry) {
        link->next_expiry = m->expires_at;
    }
}

int tbi_link_send(struct tbi_link *link, struct tbi_now now, const struct tbi_outgoing *o)
{
    int rv = check(link, o);
    if (rv == TBQ_ERR_AGAIN) {
        starve(link, o->payload != NULL ? o->payload->size : 0);
        link->stats.refused++;
    }
    if (rv < 0) {
        return rv;
    }
    struct tbi_out *m = tbi_piece_new(link->alloc, link->out_size);
    if (m == NULL) {
        return TBQ_ERR_NOMEM;
    }
    *m = (struct tbi_out){
        .event.type = TBI_LINK_FATE,
        .fate = {.tag = o->tag,
                 .cookie = o->cookie,
                 .mark = o->mark,
                 .lane = o->lane,
                 .kind = o->kind,
                 .queued_ns = now.mono_ns},
        .payload = tbi_block_ref(o->payload),
        .bytes = o->payload != NULL ? o->payload->size : 0,
        .expires_at = o->ttl_ns == 0 || o->ttl_ns > TBI_NEVER - now.mono_ns
                          ? TBI_NEVER
                          : now.mono_ns + o->ttl_ns,
        .head_size = o->head_size,
        .unordered = o->unordered,
        .skippable = o->skippable,
        .want_fate = o->want_fate,
    };
    tbi_list_init(&m->again);
    tbi_list_init(&m->announce);
    if (o->head_size > 0) {
        memcpy(m->head, o->head, o->head_size);
    }
    tbi_list_push(o->unordered ? &link->tx[o->lane].aside : &link->tx[o->lane].waiting,
                  &m->event.node);
    link->stats.outbox_messages++;
    link->stats.outbox_bytes += m->bytes;
    expires(link, m);
    return 0;
}

/* --- Fates ---------------------------------------------------------------------------------- */

static void release_payload(struct tbi_link *link, struct tbi_out *m)
{
    tbi_block_unref(m->payload);
    m->payload = NULL;
    link->stats.outbox_bytes -= m->bytes;
    m->bytes = 0;
}

void tbi_outbox_check_room(struct tbi_link *link)
{
    size_t bytes = link->stats.outbox_bytes;

    if (!link->starved || link->stats.outbox_messages > link->roomy_messages) {
        return;
    }
    if (bytes == 0 || (bytes <= link->roomy_bytes && link->wanted <= link->limit_bytes - bytes)) {
        link->starved = false;
        link->writable = true;
    }
}

/* Takes a message out of the lane's books; it is in no list afterwards. */
static void unlist(struct tbi_link *link, struct tbi_out *m)
{
    struct tbi_tx_lane *l = &link->tx[m->fate.lane];

    l->skips -= m->skip && !m->skip_told;
    l->unheard = l->unheard == m ? tbi_outbox_next(l, m) : l->unheard;
    tbi_list_remove(&m->again);
    tbi_list_remove(&m->announce);
    tbi_list_remove(&m->event.node);
}

static void hole(struct tbi_tx_lane *l, uint64_t number)
{
    l->holes_to = number >= l->holes_to ? number + 1 : l->holes_to;
    l->holes_told = number < l->holes_told ? number : l->holes_told;
}

void tbi_outbox_settle(struct tbi_link *link, struct tbi_out *m, tbq_fate fate, int reason)
{
    struct tbi_tx_lane *l = &link->tx[m->fate.lane];

    unlist(link, m);
    release_payload(link, m);
    if (m->fate.numbered && fate != TBQ_DELIVERED && !m->fate.declined) {
        hole(l, m->fate.number); /* the receiver may still wait for it */
    }
    m->fate.fate = fate;
    m->fate.reason = reason;
    if (fate == TBQ_DELIVERED) {
        link->stats.delivered++;
    } else if (fate == TBQ_NOT_DELIVERED) {
        link->stats.not_delivered++;
    } else {
        link->stats.unknown++;
    }
    if (m->want_fate) {
        tbi_list_push(&link->events, &m->event.node);
    } else {
        link->stats.outbox_messages--;
        tbi_out_free(link, m);
    }
    tbi_outbox_check_room(link);
}

void tbi_outbox_received(struct tbi_link *link, struct tbi_out *m)
{
    struct tbi_tx_lane *l = &link->tx[m->fate.lane];

    m->received = true;
    release_payload(link, m);
    tbi_list_remove(&m->again);
    tbi_list_remove(&m->announce);
    if (m->skip && !m->skip_told) {
        m->skip_told = true; /* it would change nothing any more */
        l->skips--;
    }
    tbi_outbox_check_room(link);
}

static int decline_reason(const struct tbi_out *m, uint64_t code)
{
    switch (code) {
    case TBI_DECLINE_SKIPPED:
        return m->skip ? TBQ_ERR_EXPIRED : TBQ_ERR_REFUSED;
    case TBI_DECLINE_TOO_LARGE:
        return TBQ_ERR_TOO_LARGE;
    case TBI_DECLINE_UNKNOWN_KIND:
    case TBI_DECLINE_NOT_SERVED:
        return TBQ_ERR_UNSUPPORTED;
    case TBI_DECLINE_MALFORMED:
        return TBQ_ERR_MALFORMED;
    case TBI_DECLINE_NO_BODY:
        return TBQ_ERR_RESTARTED;
    case TBI_DECLINE_FULL:
        return TBQ_ERR_LIMIT;
    default:
        return TBQ_ERR_REFUSED;
    }
}

void tbi_outbox_declined(struct tbi_link *link, struct tbi_out *m, uint64_t code)
{
    m->fate.declined = true;
    m->fate.decline_code = code;
    /* A process that is gone may have taken what this one declines: that nobody can tell. */
    tbi_outbox_settle(link, m, m->repeat ? TBQ_UNKNOWN : TBQ_NOT_DELIVERED,
                      decline_reason(m, code));
}

/* --- Expiry --------------------------------------------------------------------------------- */

static void expire_one(struct tbi_link *link, struct tbi_out *m)
{
    struct tbi_tx_lane *l = &link->tx[m->fate.lane];

    link->stats.expired++;
    m->expires_at = TBI_NEVER;
    if (!m->fate.numbered) {
        tbi_outbox_settle(link, m, m->written ? TBQ_UNKNOWN : TBQ_NOT_DELIVERED, TBQ_ERR_EXPIRED);
        return;
    }
    if (!m->received) { /* else it goes its way, and nothing can call it back */
        m->skip = true;
        m->skip_told = false;
        l->skips++;
        release_payload(link, m);
        tbi_list_remove(&m->again);
        tbi_list_remove(&m->announce);
        tbi_outbox_check_room(link);
    }
}

static void expire_list(struct tbi_link *link, struct tbi_list *list, uint64_t now)
{
    TBI_LIST_FOREACH(node, list)
    {
        struct tbi_out *m = out_of(node);
        if (m->expires_at <= now) {
            expire_one(link, m);
        } else {
            expires(link, m);
        }
    }
}

void tbi_outbox_expire(struct tbi_link *link, struct tbi_now now)
{
    if (now.mono_ns < link->next_expiry) {
        return;
    }
    /* All are looked at, but seldom: most are settled long before, and then the next time to look
     * is when the oldest that is left expires. */
    link->next_expiry = TBI_NEVER;
    for (size_t i = 0; i < TBQ_LANES; i++) {
        expire_list(link, &link->tx[i].waiting, now.mono_ns);
        expire_list(link, &link->tx[i].aside, now.mono_ns);
        expire_list(link, &link->tx[i].sent, now.mono_ns);
    }
}

/* --- Paths come and go, another link, the end ------------------------------------------------ */

static void begin_lane(struct tbi_link *link, struct tbi_tx_lane *l, uint64_t base)
{
    TBI_LIST_FOREACH(node, &l->sent)
    {
        struct tbi_out *m = out_of(node);
        m->paths = m->announced = 0;
        if (m->received) {
            tbi_outbox_settle(link, m, TBQ_UNKNOWN, TBQ_ERR_RESTARTED);
        } else {
            m->repeat = true;
        }
    }
    l->taken_below = base;
    l->holes_to = l->next; /* all that were settled above it are news to whoever begins anew */
    l->holes_told = 0;
}

void tbi_outbox_begin(struct tbi_link *link, const uint64_t base[TBQ_LANES])
{
    for (size_t i = 0; i < TBQ_LANES; i++) {
        begin_lane(link, &link->tx[i], base[i]);
    }
}

static void again_lane(struct tbi_tx_lane *l, unsigned usable)
{
    TBI_LIST_FOREACH(node, &l->sent)
    {
        struct tbi_out *m = out_of(node);
        bool owed = usable != 0 && !m->received && !m->skip;
        tbi_list_remove(&m->again);
        tbi_list_remove(&m->announce);
        if (owed && (m->paths & usable) == 0) {
            tbi_list_push(&l->again, &m->again);
        }
        if (owed && m->unordered && (m->announced & usable) == 0) {
            tbi_list_push(&l->announce, &m->announce);
        }
    }
}

void tbi_outbox_again(struct tbi_link *link, unsigned usable)
{
    for (size_t i = 0; i < TBQ_LANES; i++) {
        again_lane(&link->tx[i], usable);
    }
}

void tbi_outbox_off(struct tbi_link *link, unsigned path)
{
    for (size_t i = 0; i < TBQ_LANES; i++) {
        TBI_LIST_FOREACH(node, &link->tx[i].sent)
        {
            struct tbi_out *m = out_of(node);
            m->paths &= ~path;
            m->announced &= ~path;
        }
    }
}

void tbi_outbox_retell(struct tbi_link *link)
{
    for (size_t i = 0; i < TBQ_LANES; i++) {
        struct tbi_tx_lane *l = &link->tx[i];
        l->skips = 0;
        l->holes_told = 0;
        TBI_LIST_FOREACH(node, &l->sent)
        {
            struct tbi_out *m = out_of(node);
            m->skip_told = m->received;
            l->skips += m->skip && !m->skip_told;
        }
        /* SETTLED may have been lost; where something was declined it is due soon */
        l->settled_told = 0;
        l->settled_at = TBI_NEVER;
        if (l->declined) {
            l->declined_low = 0;
        }
    }
}

/* Puts m among the waiting ones of dst, which are in the order of their sends. */
static void adopt(struct tbi_link *dst, struct tbi_link *src, struct tbi_out *m)
{
    struct tbi_tx_lane *l = &dst->tx[m->fate.lane];
    struct tbi_list *head = m->unordered ? &l->aside : &l->waiting;
    struct tbi_list *after = head->prev;

    unlist(src, m);
    src->stats.outbox_messages--;
    src->stats.outbox_bytes -= m->bytes;
    dst->stats.outbox_messages++;
    dst->stats.outbox_bytes += m->bytes;
    m->repeat = m->repeat || m->written;
    m->fate.numbered = false;
    m->fate.number = 0;
    m->paths = m->announced = 0;
    while (after != head && out_of(after)->fate.queued_ns > m->fate.queued_ns) {
        after = after->prev;
    }
    tbi_list_push(after->next, &m->event.node); /* before after->next: push is at a head's end */
    expires(dst, m);
}

static void absorb_list(struct tbi_link *dst, struct tbi_link *src, struct tbi_list *list)
{
    TBI_LIST_FOREACH(node, list)
    {
        struct tbi_out *m = out_of(node);
        if (m->skip) {
            tbi_outbox_settle(src, m, TBQ_UNKNOWN, TBQ_ERR_EXPIRED);
        } else if (m->received) {
            tbi_outbox_settle(src, m, TBQ_UNKNOWN, TBQ_ERR_RESTARTED);
        } else {
            adopt(dst, src, m);
        }
    }
}

void tbi_link_absorb(struct tbi_link *dst, struct tbi_link *src)
{
    for (size_t i = 0; i < TBQ_LANES; i++) {
        absorb_list(dst, src, &src->tx[i].sent);
        absorb_list(dst, src, &src->tx[i].waiting);
        absorb_list(dst, src, &src->tx[i].aside);
    }
    if (src->starved || src->writable) { /* who was told AGAIN waits for WRITABLE, of dst now */
        starve(dst, src->wanted);
    }
    src->starved = src->writable = false;
}

static void give_up_list(struct tbi_link *link, struct tbi_list *list, int reason)
{
    TBI_LIST_FOREACH(node, list)
    {
        struct tbi_out *m = out_of(node);
        tbi_outbox_settle(link, m, m->written ? TBQ_UNKNOWN : TBQ_NOT_DELIVERED, reason);
    }
}

void tbi_link_give_up(struct tbi_link *link, int reason)
{
    for (size_t i = 0; i < TBQ_LANES; i++) {
        give_up_list(link, &link->tx[i].sent, reason);
        give_up_list(link, &link->tx[i].waiting, reason);
        give_up_list(link, &link->tx[i].aside, reason);
    }
}
