/* tests/sim/village.c - see village.h. */
#include "village.h"

#include <check.h>
#include <string.h>

#define LOOK_MS 100

static bool on_event(struct sim_node *n, tbq_event *e)
{
    struct village *v = n->user;
    for (size_t i = 0; i < v->nodes; i++) {
        if (v->node[i] == n) {
            v->heard[i] += e->type == TBQ_EVENT_PEER;
            /* Where two dialled each other, one connection has to go. */
            v->lost[i] += e->type == TBQ_EVENT_DISCONNECTED && e->reason != TBQ_ERR_EXISTS;
        }
    }
    v->failed += e->type == TBQ_EVENT_CONNECT_FAILED;
    if (v->also != NULL) {
        v->also(v, n, e);
    }
    return true;
}

void village_build(struct village *v, size_t nodes, uint64_t seed)
{
    memset(v, 0, sizeof *v);
    v->sim = sim_new(seed);
    v->nodes = nodes;
    for (size_t i = 0; i < nodes; i++) {
        v->node[i] = sim_add(v->sim);
        v->node[i]->on_event = on_event;
        v->node[i]->user = v;
        for (size_t k = 0; k < i; k++) {
            sim_both(v->node[i], v->node[k], (struct sim_link){.delay_ms = 10});
        }
    }
}

void village_free(struct village *v)
{
    for (size_t i = 0; i < v->nodes; i++) {
        tbi_block_unref(v->book[i]);
    }
    sim_free(v->sim);
}

/* --- Life ------------------------------------------------------------------------------------- */

void village_boot(struct village *v, size_t i)
{
    sim_boot(v->node[i]);
    if (i > 0) {
        sim_dial(v->node[i], v->node[0], true);
    }
}

void village_boot_all(struct village *v)
{
    for (size_t i = 0; i < v->nodes; i++) {
        village_boot(v, i);
    }
}

void village_keep_books(struct village *v)
{
    for (size_t i = 0; i < v->nodes; i++) {
        if (v->node[i]->alive) {
            tbi_block_unref(v->book[i]);
            ck_assert(tbi_node_book_changed(v->node[i]->node));
            ck_assert_int_eq(tbi_node_book_write(v->node[i]->node, &v->book[i]), 0);
            ck_assert(!tbi_node_book_changed(v->node[i]->node));
        }
    }
}

void village_boot_from_book(struct village *v, size_t i)
{
    const struct tbi_block *book = v->book[i];
    sim_boot(v->node[i]);
    ck_assert_int_eq(tbi_node_book_read(v->node[i]->node, sim_now(v->sim), book->data, book->size),
                     0);
}

/* --- How it stands ---------------------------------------------------------------------------- */

static size_t count(const struct sim_node *n, bool connected)
{
    const tbq_peers *peers = NULL;
    size_t found = 0;
    ck_assert_int_eq(tbi_node_peers(n->node, NULL, &peers), 0);
    for (size_t i = 0; i < peers->len; i++) {
        const tbq_peer *p = peers->peer[i];
        found += connected ? p->connected : p->addresses_len > 0;
    }
    tbi_peers_free(peers);
    return found;
}

size_t village_known(const struct sim_node *n)
{
    return count(n, false);
}

size_t village_connected(const struct sim_node *n)
{
    return count(n, true);
}

static bool all(struct village *v, size_t (*of)(const struct sim_node *n), size_t at_least)
{
    for (size_t i = 0; i < v->nodes; i++) {
        if (v->node[i]->alive && of(v->node[i]) < at_least) {
            return false;
        }
    }
    return true;
}

static size_t others(const struct village *v)
{
    size_t alive = 0;
    for (size_t i = 0; i < v->nodes; i++) {
        alive += v->node[i]->alive;
    }
    return alive - 1;
}

bool village_all_know(struct village *v, size_t n)
{
    return all(v, village_known, n);
}

bool village_all_have(struct village *v, size_t n)
{
    return all(v, village_connected, n);
}

bool village_all_know_all(struct village *v, size_t n)
{
    (void)n;
    return village_all_know(v, others(v));
}

bool village_all_connected(struct village *v, size_t n)
{
    (void)n;
    return village_all_have(v, others(v));
}

static void reach(struct village *v, size_t at, bool *seen)
{
    const tbq_peers *peers = NULL;
    seen[at] = true;
    ck_assert_int_eq(tbi_node_peers(v->node[at]->node, NULL, &peers), 0);
    for (size_t i = 0; i < v->nodes; i++) {
        for (size_t k = 0; k < peers->len && !seen[i] && v->node[i]->alive; k++) {
            if (peers->peer[k]->connected &&
                tbq_peer_id_compare(&peers->peer[k]->id, tbi_identity_id(v->node[i]->identity)) ==
                    0) {
                reach(v, i, seen);
            }
        }
    }
    tbi_peers_free(peers);
}

size_t village_reach(struct village *v, size_t from)
{
    bool seen[SIM_NODES_MAX] = {false};
    size_t n = 0;
    reach(v, from, seen);
    for (size_t i = 0; i < v->nodes; i++) {
        n += seen[i];
    }
    return n;
}

uint64_t village_wait(struct village *v, uint64_t ms, bool (*holds)(struct village *v, size_t n),
                      size_t n)
{
    uint64_t began = sim_ms(v->sim);
    for (;;) {
        if (holds(v, n)) {
            return sim_ms(v->sim) - began;
        }
        if (sim_ms(v->sim) - began >= ms) {
            return UINT64_MAX;
        }
        sim_run(v->sim, LOOK_MS, NULL, NULL);
    }
}
