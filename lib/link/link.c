/* link/link.c - a link's life: made, attached to one connection after another, asked, freed. */
#include "link/parts.h"

#include <string.h>

struct tbi_link *tbi_link_new(const struct tbi_link_config *config)
{
    struct tbi_link *link = tbi_calloc(config->alloc, 1, sizeof *link);

    if (link == NULL) {
        return NULL;
    }
    link->alloc = config->alloc;
    link->log = config->log;
    link->limit_bytes = config->outbox_bytes > 0 ? config->outbox_bytes : TBI_LINK_OUTBOX_BYTES;
    link->limit_messages =
        config->outbox_messages > 0 ? config->outbox_messages : TBI_LINK_OUTBOX_MESSAGES;
    link->max_message_size = config->max_message_size;
    link->ack_delay = config->ack_delay_ns > 0 && config->ack_delay_ns < TBI_LINK_ACK_DELAY_NS
                          ? config->ack_delay_ns
                          : TBI_LINK_ACK_DELAY_NS;
    link->fate_room = config->fate_room > 0;
    link->out_size =
        config->fate_room > sizeof(struct tbi_out) ? config->fate_room : sizeof(struct tbi_out);
    link->delivery_room = config->delivery_room;
    link->retry_at = TBI_NEVER;
    tbi_list_init(&link->paths);
    do {
        link->incarnation = tbi_rng_u64(config->rng);
    } while (link->incarnation == 0); /* 0 says "none" in CONFIRM */
    tbi_list_init(&link->deliveries);
    tbi_list_init(&link->events);
    tbi_outbox_init(link);
    tbi_taken_init(link);
    for (size_t i = 0; i < TBQ_LANES; i++) {
        link->tx[i].schedule = config->schedule[i];
    }
    return link;
}

void tbi_link_free(struct tbi_link *link)
{
    struct tbi_list *node;

    if (link == NULL) {
        return;
    }
    while (!tbi_list_empty(&link->paths)) {
        struct tbi_link_path *path = tbi_path_after(link, NULL);
        tbi_inbox_leave(path);
        tbi_list_remove(&path->node);
        tbi_free(link->alloc, path);
    }
    tbi_inbox_free(link);
    while ((node = tbi_list_shift(&link->events)) != NULL) { /* fates: the deliveries are gone */
        struct tbi_link_event *event = TBI_CONTAINER(node, struct tbi_link_event, node);
        tbi_out_free(link, TBI_CONTAINER(event, struct tbi_out, event));
    }
    tbi_outbox_free(link);
    tbi_taken_free(link);
    tbi_free(link->alloc, link);
}

/* --- Time ----------------------------------------------------------------------------------- */

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

void tbi_link_ack_now(struct tbi_link *link, struct tbi_now now)
{
    for (unsigned i = 0; i < TBQ_LANES; i++) {
        struct tbi_rx_lane *l = &link->rx[i];
        l->ack_at = l->ack_at != TBI_NEVER ? now.mono_ns : TBI_NEVER;
    }
    tbi_link_tick(link, now);
}

uint64_t tbi_link_deadline(const struct tbi_link *link)
{
    uint64_t at = link->next_expiry;

    if (tbi_list_empty(&link->paths)) {
        return at;
    }
    at = earlier(at, link->retry_at);
    if (link->control == NULL || link->control_blocked) {
        return at; /* it goes on when the stream has room */
    }
    for (size_t i = 0; i < TBQ_LANES; i++) {
        at = earlier(at, link->rx[i].ack_at);
        at = earlier(at, link->tx[i].settled_at);
    }
    return at;
}

static void give_credit(struct tbi_link *link)
{
    TBI_FOREACH_PATH(p, link)
    {
        for (unsigned i = 0; i < TBQ_LANES; i++) {
            if (p->owed[i] > 0 && !p->failed) {
                p->conn.consume(p->conn.user, (tbq_lane)i, p->owed[i]);
            }
            p->owed[i] = 0;
        }
    }
}

void tbi_link_tick(struct tbi_link *link, struct tbi_now now)
{
    give_credit(link);
    tbi_outbox_expire(link, now);
    tbi_outbox_check_room(link);
    if (tbi_list_empty(&link->paths)) {
        return;
    }
    if (link->retry_at <= now.mono_ns) {
        link->retry_at = TBI_NEVER;
    }
    tbi_paths_ask_again(link);
    tbi_control_flush(link, now);
    for (unsigned i = 0; i < TBQ_LANES; i++) {
        tbi_send_lane(link, now, (tbq_lane)i);
    }
}

/* --- Joining ---------------------------------------------------------------------------------- */

bool tbi_link_may_join(const struct tbi_link *link)
{
    return link->proven || tbi_list_empty(&link->paths);
}

void tbi_link_confirm(struct tbi_link *link, struct tbi_confirm *confirm)
{
    memset(confirm, 0, sizeof *confirm);
    confirm->incarnation = link->incarnation;
    /* State that was begun anew counts only when the peer has heard of that: else it would go on
     * believing what the lost state had told it. */
    confirm->known = link->proven ? link->known : 0;
    for (size_t i = 0; i < TBQ_LANES; i++) {
        struct tbi_tx_lane *l = &link->tx[i];
        const struct tbi_out *m = tbi_outbox_unheard(l);
        confirm->base[i] = m != NULL ? m->fate.number : l->next;
    }
}

/* --- What comes out ------------------------------------------------------------------------- */

static void fetch(struct tbi_link *link, struct tbi_list *node, struct tbi_link_action *action)
{
    struct tbi_link_event *event = TBI_CONTAINER(node, struct tbi_link_event, node);

    tbi_prefetch(TBI_CONTAINER(link->events.next, struct tbi_link_event, node),
                 sizeof(struct tbi_delivered));
    action->type = event->type;
    if (event->type == TBI_LINK_DELIVER) {
        action->u.delivery = &TBI_CONTAINER(event, struct tbi_delivered, event)->d;
        return;
    }
    struct tbi_out *m = TBI_CONTAINER(event, struct tbi_out, event);
    action->u.fate = m->fate;
    action->room = link->fate_room ? m : NULL;
    action->room_size = link->fate_room ? link->out_size : 0;
    if (!link->fate_room) {
        tbi_out_free(link, m);
    }
    link->stats.outbox_messages--;
    tbi_outbox_check_room(link);
}

static bool fetch_error(struct tbi_link *link, struct tbi_link_action *action)
{
    TBI_FOREACH_PATH(p, link)
    {
        if (p->error) {
            p->error = false;
            *action = (struct tbi_link_action){
                .type = TBI_LINK_ERROR,
                .u.error = {.user = p->conn.user, .code = p->error_code, .text = p->error_text}};
            return true;
        }
    }
    link->errors = false;
    return false;
}

bool tbi_link_next_action(struct tbi_link *link, struct tbi_link_action *action)
{
    struct tbi_list *node;

    if (link->errors && fetch_error(link, action)) {
        return true;
    }
    node = tbi_list_shift(&link->events);
    if (node != NULL) {
        fetch(link, node, action);
        return true;
    }
    if (link->writable) {
        link->writable = false;
        action->type = TBI_LINK_WRITABLE;
        return true;
    }
    return false;
}

/* --- How it stands -------------------------------------------------------------------------- */

bool tbi_link_outbox_empty(const struct tbi_link *link)
{
    return link->stats.outbox_messages == 0;
}

uint64_t tbi_link_generation(const struct tbi_link *link)
{
    return link->generation;
}

bool tbi_link_idle(const struct tbi_link *link)
{
    for (size_t i = 0; i < TBQ_LANES; i++) {
        if (link->rx[i].seen > link->rx[i].settled) {
            return false;
        }
    }
    return tbi_link_outbox_empty(link) && tbi_list_empty(&link->events) &&
           tbi_list_empty(&link->deliveries) && !link->writable;
}

void tbi_link_stats(const struct tbi_link *link, struct tbi_link_stats *stats)
{
    *stats = link->stats;
}
