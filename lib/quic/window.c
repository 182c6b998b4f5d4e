/* quic/window.c - receive windows that grow: of a stream, as long as its bytes are taken so fast
 * that half a window is gone within a round trip, and of its connection with it.
 *
 * A window of twice what is under way in a round trip never stops its sender, not even while a lost
 * packet holds up what came behind it. So it doubles while it is less, which it tells by what was
 * taken since it was looked at last, a round trip ago at least: taking in bursts is not taking
 * fast. The shortest round trip counts, since a longer one may be a queue that the window itself
 * has filled. QUIC cannot take credit back, so a window keeps what it was given until its
 * connection ends. */
#include "quic/parts.h"

/* What one more byte of window costs, in eighths: that byte, kept until the application takes it;
 * and one of the connection's window, which may wait out of order, with an eighth for the gaps (see
 * tbi_account_limit()). */
#define COST_EIGHTHS 17U

static uint64_t cost_of(uint64_t bytes)
{
    return bytes / 8 * COST_EIGHTHS + bytes % 8 * COST_EIGHTHS / 8;
}

/* No connection gets more than it leaves: so nobody has it all, and there is always some for the
 * next one, if ever less. */
static bool affords(const struct tbi_conn *c, uint64_t more)
{
    uint64_t budget = c->ep->cfg.window_budget, used = cost_of(c->ep->grown + more);

    return used <= budget && cost_of(c->grown + more) <= budget - used;
}

static void grow(struct tbi_conn *c, struct tbi_window *w, int64_t stream)
{
    struct tbi_endpoint *ep = c->ep;
    uint64_t room = ep->cfg.stream_window_max - w->size;
    uint64_t more = w->size < room ? w->size : room;

    if (more == 0) {
        return;
    }
    if (!affords(c, more)) {
        ep->stats.windows_not_grown++;
        return;
    }
    w->size += more;
    c->grown += more;
    ep->grown += more;
    ep->stats.windows_grown++;
    ep->stats.window_bytes = cost_of(ep->grown);
    c->account.limit = tbi_account_limit(tbi_connection_window(ep) + c->grown);
    ngtcp2_conn_extend_max_stream_offset(c->qc, stream, more);
    ngtcp2_conn_extend_max_offset(c->qc, more);
}

void tbi_windows_free(struct tbi_conn *c)
{
    c->ep->grown -= c->grown;
    c->grown = 0;
    c->ep->stats.window_bytes = cost_of(c->ep->grown);
}

void tbi_conn_taken(struct tbi_conn *c, struct tbi_now now, struct tbi_window *w, int64_t stream,
                    uint64_t size)
{
    ngtcp2_conn_info info;

    if (size == 0 || c->state != TBI_CONN_ALIVE) {
        return;
    }
    tbi_conn_consume(c, stream, size);
    w->size = w->size > 0 ? w->size : c->ep->cfg.stream_window;
    w->taken += size;
    if (w->taken < w->size / 2 || w->size >= c->ep->cfg.stream_window_max) {
        return;
    }
    ngtcp2_conn_get_conn_info(c->qc, &info);
    uint64_t took = now.mono_ns - w->since_ns;
    if (took < info.min_rtt) { /* also where it is not known yet: then it is endless */
        return;
    }
    uint64_t rtt = info.min_rtt > 0 ? info.min_rtt : 1;
    if (w->taken * 16 / (w->size / 2) >= took * 16 / rtt) { /* half windows, to round trips */
        grow(c, w, stream);
    }
    w->since_ns = now.mono_ns;
    w->taken = 0;
}
