/* quic/silence.c - when a path is suspect: what is in flight was not acknowledged in time. */
#include "quic/parts.h"

#define SUSPECT_PTOS 2 /* without an acknowledgement, and at least so long: a path is suspect */
#define SUSPECT_MIN_NS (50 * TBI_NS_PER_MS)

uint64_t tbi_conn_in_flight(const struct tbi_conn *c)
{
    ngtcp2_conn_info info;

    ngtcp2_conn_get_conn_info(c->qc, &info);
    return info.bytes_in_flight;
}

bool tbi_conn_is_owed(const struct tbi_conn *c)
{
    return c->asked_at != 0;
}

/* Loss recovery doubles its patience with each probe; whoever has another way must not. */
uint64_t tbi_conn_suspect_at(const struct tbi_conn *c)
{
    if (c->asked_at == 0 || c->suspect || c->half_open) {
        return TBI_NEVER;
    }
    uint64_t patience = SUSPECT_PTOS * ngtcp2_conn_get_pto(c->qc);
    return c->asked_at + (patience > SUSPECT_MIN_NS ? patience : SUSPECT_MIN_NS);
}

void tbi_conn_set_suspect(struct tbi_conn *c, bool suspect)
{
    if (c->suspect != suspect) {
        struct tbi_queued_action *a = tbi_endpoint_action(c->ep, c, TBI_QUIC_SUSPECT);
        if (a != NULL) { /* without memory this silence is not told, and the next one is */
            a->action.suspect = suspect;
        }
        c->suspect = suspect;
    }
}

void tbi_conn_heard(struct tbi_conn *c, uint64_t before)
{
    uint64_t now = tbi_conn_in_flight(c);

    if (now < before || now == 0) {
        c->asked_at = now > 0 ? c->ep->now.mono_ns : 0;
        tbi_conn_set_suspect(c, false);
    }
}
