/* tests/sim/ledger.c - see ledger.h. */
#include "ledger.h"

#include <check.h>
#include <string.h>

void ledger_begin(struct ledger *l, struct sim_node *from, struct sim_node *to)
{
    memset(l, 0, sizeof *l);
    l->from = from;
    l->to = to;
    for (size_t i = 0; i < TBQ_LANES; i++) {
        l->last[i] = -1;
    }
}

int ledger_send(struct ledger *l, size_t size, tbq_lane lane, bool unordered, uint32_t ttl_ms)
{
    static uint8_t bytes[1 << 20];
    tbq_send_options o = {
        .size = sizeof o, .tag = l->sent, .lane = lane, .ttl_ms = ttl_ms, .unordered = unordered};
    tbq_message m = tbq_transition(bytes, size);

    ck_assert_uint_lt(l->sent, LEDGER_MAX);
    memcpy(bytes, &l->sent, sizeof l->sent);
    int rv = tbi_node_send_to(l->from->node, sim_now(l->from->sim),
                              tbi_identity_id(l->to->identity), &m, &o);
    if (rv == 0) {
        l->entry[l->sent].lane = (uint8_t)lane;
        l->entry[l->sent].unordered = unordered;
        l->sent++;
    }
    return rv;
}

static void broken(struct ledger *l, uint32_t number, const char *what)
{
    if (l->broken++ < 10) {
        sim_say(l->to, "message %u: %s", number, what);
    }
}

static void on_message(struct ledger *l, const tbq_event *e)
{
    uint32_t n;
    uint8_t bit = (uint8_t)(1U << (l->life & 7));

    if (e->message->kind != TBQ_TRANSITION || e->message->u.transition.size < sizeof n) {
        return;
    }
    memcpy(&n, e->message->u.transition.data, sizeof n);
    if (n >= l->sent) {
        broken(l, n, "was never sent");
        return;
    }
    l->got++;
    l->repeats += e->repeat;
    if ((l->entry[n].lives & bit) != 0) {
        broken(l, n, "came twice");
    }
    if (l->entry[n].got > 0 && !e->repeat) {
        broken(l, n, "came again after a restart, and is not marked");
    }
    l->entry[n].lives |= bit;
    l->entry[n].got++;
    if (!l->entry[n].unordered && !e->repeat) {
        if ((int64_t)n <= l->last[e->lane]) {
            broken(l, n, "came out of order");
        }
        l->last[e->lane] = n;
    }
}

static void on_fate(struct ledger *l, const tbq_event *e)
{
    if (e->tag >= l->sent) {
        broken(l, (uint32_t)e->tag, "has a fate and was never sent");
        return;
    }
    if (l->entry[e->tag].fates++ > 0) {
        broken(l, (uint32_t)e->tag, "has two fates");
    }
    l->entry[e->tag].fate = (uint8_t)e->fate;
    l->entry[e->tag].reason = e->reason;
    l->told[e->fate]++;
    if (e->fate == TBQ_DELIVERED && l->entry[e->tag].got == 0) {
        broken(l, (uint32_t)e->tag, "was told delivered and was not handed out");
    }
}

void ledger_event(struct ledger *l, struct sim_node *n, const tbq_event *e)
{
    if (e->type == TBQ_EVENT_MESSAGE && n == l->to) {
        on_message(l, e);
    } else if (e->type == TBQ_EVENT_FATE && n == l->from) {
        on_fate(l, e);
    }
}

void ledger_receiver_restarts(struct ledger *l)
{
    l->life++;
    for (size_t i = 0; i < TBQ_LANES; i++) {
        l->last[i] = -1;
    }
}

void ledger_sender_dies(struct ledger *l)
{
    for (uint32_t n = 0; n < l->sent; n++) {
        if (l->entry[n].fates == 0 && !l->entry[n].dead) {
            l->entry[n].dead = true;
            l->dead++;
        }
    }
}

bool ledger_settled(const struct ledger *l)
{
    size_t told = l->told[TBQ_DELIVERED] + l->told[TBQ_NOT_DELIVERED] + l->told[TBQ_UNKNOWN];
    return told + l->dead >= l->sent;
}

size_t ledger_broken(struct ledger *l)
{
    for (uint32_t n = 0; n < l->sent; n++) {
        if (l->entry[n].fates != 1 && !l->entry[n].dead) {
            broken(l, n, "has no fate");
        }
        if (l->entry[n].fates > 0 && l->entry[n].fate == TBQ_NOT_DELIVERED && l->entry[n].got > 0) {
            broken(l, n, "was told not delivered and was handed out");
        }
    }
    return l->broken;
}
