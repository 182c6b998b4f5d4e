/* quic/replay.c - which tickets may bring early data, each once (RFC 8446, section 8.1).
 *
 * Remembered is what may still be used, not what was used: a ticket that is not here, for whatever
 * reason, brings no early data. So nothing that is forgotten, be it for want of memory, of room or
 * by a restart, lets a replay in; it costs a client a round trip. A used ticket stays for its time
 * only to be counted when it comes again. */
#include <string.h>

#include "quic/parts.h"

struct holder;

struct ticket {
    struct holder *holder; /* NULL: this place is free */
    uint8_t hash[TBI_HASH_SIZE];
    uint64_t issued_ns;
    bool used;
};

struct holder {
    struct ticket ticket[TBI_EARLY_TICKETS]; /* a ring */
    size_t next;                             /* the place of the next one */
    uint64_t newest_ns;
};

void tbi_replay_init(struct tbi_replay *r, const struct tbi_alloc *a, const uint8_t secret[16],
                     size_t peers)
{
    tbi_map_init(&r->holders, a, secret, TBQ_PUBLIC_KEY_SIZE, peers);
    tbi_map_init(&r->tickets, a, secret, TBI_HASH_SIZE, peers * TBI_EARLY_TICKETS);
}

static void forget(struct tbi_replay *r, struct ticket *t)
{
    if (t->holder != NULL) {
        tbi_map_remove(&r->tickets, t->hash);
        t->holder = NULL;
    }
}

static void drop(struct tbi_replay *r, struct holder *h)
{
    for (size_t i = 0; i < TBI_EARLY_TICKETS; i++) {
        forget(r, &h->ticket[i]);
    }
    tbi_free(r->holders.alloc, h);
}

static void drop_first(struct tbi_replay *r)
{
    uint8_t key[TBQ_PUBLIC_KEY_SIZE];

    memcpy(key, tbi_map_key(tbi_map_first(&r->holders)), sizeof key);
    drop(r, tbi_map_remove(&r->holders, key));
}

void tbi_replay_free(struct tbi_replay *r)
{
    while (tbi_map_first(&r->holders) != NULL) {
        drop_first(r);
    }
    tbi_map_free(&r->holders);
    tbi_map_free(&r->tickets);
}

/* The holders are in the order of their newest tickets: each new one puts its holder at the end. */
static void make_room(struct tbi_replay *r, uint64_t now_ns)
{
    struct tbi_map_entry *e;

    while ((e = tbi_map_first(&r->holders)) != NULL) {
        const struct holder *h = tbi_map_value(e);
        bool old = now_ns - h->newest_ns > TBI_EARLY_TICKET_NS;
        if (!old && tbi_map_count(&r->holders) < r->holders.limit) {
            break;
        }
        drop_first(r);
    }
}

int tbi_replay_issued(struct tbi_replay *r, uint64_t now_ns, const uint8_t key[TBQ_PUBLIC_KEY_SIZE],
                      const uint8_t hash[TBI_HASH_SIZE])
{
    struct holder *h = tbi_map_remove(&r->holders, key);

    make_room(r, now_ns);
    if (h == NULL && (h = tbi_calloc(r->holders.alloc, 1, sizeof *h)) == NULL) {
        return TBQ_ERR_NOMEM;
    }
    struct ticket *t = &h->ticket[h->next];
    forget(r, t);
    h->newest_ns = now_ns;
    int rv = tbi_map_put(&r->holders, key, h);
    if (rv < 0) {
        drop(r, h);
        return rv;
    }
    rv = tbi_map_put(&r->tickets, hash, t);
    if (rv < 0) {
        return rv;
    }
    h->next = (h->next + 1) % TBI_EARLY_TICKETS;
    memcpy(t->hash, hash, sizeof t->hash);
    t->holder = h;
    t->issued_ns = now_ns;
    t->used = false;
    return 0;
}

enum tbi_replay_answer tbi_replay_take(struct tbi_replay *r, uint64_t now_ns,
                                       const uint8_t hash[TBI_HASH_SIZE])
{
    struct ticket *t = tbi_map_get(&r->tickets, hash);

    if (t != NULL && t->used) {
        return TBI_REPLAY_AGAIN;
    }
    if (t == NULL || now_ns - t->issued_ns > TBI_EARLY_TICKET_NS) {
        return TBI_REPLAY_UNKNOWN;
    }
    t->used = true;
    return TBI_REPLAY_FIRST;
}
