/* link/send.c - messages to the connection: first what must be resent, then what waits.
 *
 * Lanes are filled in the order of their priority; a number is drawn when a message is first
 * written (section 6.2), so that the numbers of a lane stream rise by themselves. */
#include "link/parts.h"

#include <string.h>

/* Frame head, number, flags, kind, and the kind's fixed part. */
#define HEAD_SIZE (TBI_FRAME_HEAD_MAX + 3 * TBI_VARINT_SIZE_MAX + TBI_LINK_HEAD_MAX)

static size_t message_head(const struct tbi_out *m, uint64_t number, uint8_t head[HEAD_SIZE])
{
    struct tbi_writer w;
    struct tbi_message f = {.number = number, .kind = (uint64_t)m->fate.kind};

    f.flags = (m->repeat ? TBI_MESSAGE_REPEAT : 0U) | (m->skippable ? TBI_MESSAGE_SKIPPABLE : 0U);
    tbi_put_init(&w, head, HEAD_SIZE);
    tbi_put_message_head(&w, &f, m->head_size + (m->payload != NULL ? m->payload->size : 0));
    tbi_put_bytes(&w, m->head, m->head_size);
    return tbi_put_size(&w);
}

static bool wrote(struct tbi_link *link, struct tbi_now now, int rv)
{
    if (rv < 0 && rv != TBQ_ERR_AGAIN) {
        link->retry_at = now.mono_ns + link->ack_delay;
    }
    return rv == 0;
}

static bool has_room(struct tbi_link *link, tbq_lane lane)
{
    return link->conn.room(link->conn.user, (int)lane) > 0;
}

/* A message that was taken by send when the peer's limit was not known, or was another's. */
static bool too_large(struct tbi_link *link, struct tbi_out *m)
{
    if (tbi_outbox_payload(m) <= link->peer_max) {
        return false;
    }
    tbi_outbox_settle(link, m, m->written ? TBQ_UNKNOWN : TBQ_NOT_DELIVERED, TBQ_ERR_TOO_LARGE);
    return true;
}

static bool write_message(struct tbi_link *link, struct tbi_now now, struct tbi_out *m,
                          uint64_t number)
{
    uint8_t head[HEAD_SIZE];
    size_t size = message_head(m, number, head);

    return wrote(link, now,
                 link->conn.write(link->conn.user, (int)m->fate.lane, head, size, m->payload));
}

static bool write_unordered(struct tbi_link *link, struct tbi_now now, struct tbi_out *m,
                            uint64_t number)
{
    uint8_t head[HEAD_SIZE];
    size_t size = message_head(m, number, head);

    return wrote(link, now,
                 link->conn.write_unordered(link->conn.user, m->fate.lane, head, size, m->payload));
}

static bool write_elsewhere(struct tbi_link *link, struct tbi_now now, const struct tbi_out *m)
{
    uint8_t frame[TBI_FRAME_HEAD_MAX + TBI_VARINT_SIZE_MAX];
    struct tbi_elsewhere f = {.number = m->fate.number};
    struct tbi_writer w;

    tbi_put_init(&w, frame, sizeof frame);
    tbi_put_elsewhere(&w, &f);
    return wrote(
        link, now,
        link->conn.write(link->conn.user, (int)m->fate.lane, frame, tbi_put_size(&w), NULL));
}

/* The numbers that the lane stream of this connection has still to come by. False: not all were. */
static bool resend(struct tbi_link *link, struct tbi_now now, struct tbi_tx_lane *l, tbq_lane lane)
{
    while (l->resend != NULL) {
        struct tbi_out *m = l->resend;
        if (m->skip && !m->skip_told) {
            return false; /* a number is passed over only behind its SKIP */
        }
        if (!m->received && !m->skip) {
            if (!m->unordered && too_large(link, m)) {
                continue;
            }
            if (!has_room(link, lane)) {
                return false;
            }
            if (!(m->unordered ? write_elsewhere(link, now, m)
                               : write_message(link, now, m, m->fate.number))) {
                return false;
            }
            link->stats.resent += m->unordered ? 0 : 1;
        }
        l->resend = tbi_outbox_next(l, m);
    }
    return true;
}

static void resend_streams(struct tbi_link *link, struct tbi_now now, struct tbi_tx_lane *l)
{
    while (!tbi_list_empty(&l->to_stream)) {
        struct tbi_out *m = TBI_CONTAINER(l->to_stream.next, struct tbi_out, streaming);
        if (too_large(link, m)) {
            continue;
        }
        if (!write_unordered(link, now, m, m->fate.number)) {
            return;
        }
        tbi_list_remove(&m->streaming);
        link->stats.resent++;
    }
}

static struct tbi_out *first(struct tbi_list *list)
{
    struct tbi_link_event *event;

    if (tbi_list_empty(list)) {
        return NULL;
    }
    event = TBI_CONTAINER(list->next, struct tbi_link_event, node);
    return TBI_CONTAINER(event, struct tbi_out, event);
}

/* The message was written with the lane's next number. */
static void number(struct tbi_link *link, struct tbi_tx_lane *l, struct tbi_out *m)
{
    m->fate.numbered = true;
    m->fate.number = l->next++;
    m->written = true;
    tbi_list_remove(&m->event.node);
    tbi_list_push(&l->sent, &m->event.node);
    link->stats.sent++;
}

static bool may_number(const struct tbi_tx_lane *l)
{
    return l->next - l->taken_below < TBI_LINK_WINDOW && l->next <= TBI_NUMBER_MAX;
}

static void send_aside(struct tbi_link *link, struct tbi_now now, struct tbi_tx_lane *l)
{
    struct tbi_out *m;

    while ((m = first(&l->aside)) != NULL && may_number(l)) {
        if (too_large(link, m)) {
            continue;
        }
        if (!write_unordered(link, now, m, l->next)) {
            return;
        }
        number(link, l, m);
        if (l->resend == NULL) {
            l->resend = m; /* its ELSEWHERE takes the way of what must be resent */
        }
        (void)resend(link, now, l, m->fate.lane);
    }
}

void tbi_send_lane(struct tbi_link *link, struct tbi_now now, tbq_lane lane)
{
    struct tbi_tx_lane *l = &link->tx[lane];
    struct tbi_out *m;

    (void)resend(link, now, l, lane);
    resend_streams(link, now, l);
    send_aside(link, now, l);
    while (l->resend == NULL && (m = first(&l->waiting)) != NULL && may_number(l)) {
        if (too_large(link, m)) {
            continue;
        }
        if (!has_room(link, lane) || !write_message(link, now, m, l->next)) {
            return;
        }
        number(link, l, m);
    }
}
