/* mesh/book.c - see book.h. */
#include "mesh/book.h"

#include <string.h>

/* --- Entries -----------------------------------------------------------------------------------
 */

void tbi_book_init(struct tbi_book *b, const struct tbi_alloc *a, const struct tbi_crypto *crypto,
                   struct tbi_rng *rng, const tbq_peer_id *self, size_t limit)
{
    uint8_t secret[16];

    memset(b, 0, sizeof *b);
    tbi_pool_init(&b->pool, a);
    b->alloc = &b->pool.alloc;
    b->crypto = crypto;
    b->rng = rng;
    b->self = *self;
    b->limit = limit;
    tbi_rng_bytes(rng, secret, sizeof secret);
    tbi_map_init(&b->entries, b->alloc, secret, TBQ_PEER_ID_SIZE, SIZE_MAX);
    for (size_t i = 0; i < 3; i++) {
        tbi_list_init(&b->by[i]);
    }
}

static void forget(struct tbi_book *b, struct tbi_book_entry *e)
{
    tbi_list_remove(&e->entry);
    tbi_map_remove(&b->entries, e->id.bytes);
    tbi_block_unref(e->record);
    tbi_free(b->alloc, e->place);
    tbi_free(b->alloc, e);
    b->changed = true;
}

void tbi_book_clear(struct tbi_book *b)
{
    struct tbi_map_entry *e;
    while ((e = tbi_map_first(&b->entries)) != NULL) {
        forget(b, tbi_map_value(e));
    }
}

void tbi_book_free(struct tbi_book *b)
{
    tbi_book_clear(b);
    tbi_map_free(&b->entries);
}

struct tbi_book_entry *tbi_book_get(const struct tbi_book *b, const tbq_peer_id *id)
{
    return tbi_map_get(&b->entries, id->bytes);
}

/* Makes room for an entry of that standing, at the cost of one that does not stand higher. */
static int make_room(struct tbi_book *b, enum tbi_book_standing standing)
{
    size_t limit = standing == TBI_BOOK_NAMED ? 2 * b->limit : b->limit;

    if (tbi_map_count(&b->entries) < limit) {
        return 0;
    }
    for (int s = TBI_BOOK_HEARD; s <= (int)standing && s < TBI_BOOK_NAMED; s++) {
        if (!tbi_list_empty(&b->by[s])) {
            forget(b, TBI_CONTAINER(b->by[s].next, struct tbi_book_entry, entry));
            b->stats.forgotten++;
            return 0;
        }
    }
    b->stats.full++;
    return TBQ_ERR_LIMIT;
}

static void stand(struct tbi_book *b, struct tbi_book_entry *e, enum tbi_book_standing standing)
{
    e->standing = standing;
    tbi_list_remove(&e->entry);
    tbi_list_push(&b->by[standing], &e->entry);
    b->changed = true;
}

/* The entry of that peer, new where there is none; it stands at least so high afterwards. */
static int enter(struct tbi_book *b, const tbq_peer_id *id, enum tbi_book_standing standing,
                 struct tbi_book_entry **found)
{
    struct tbi_book_entry *e = tbi_book_get(b, id);
    int rv;

    if (e == NULL) {
        if (tbq_peer_id_compare(id, &b->self) == 0) {
            return TBQ_ERR_SELF;
        }
        if ((rv = make_room(b, standing)) < 0) {
            return rv;
        }
        if ((e = tbi_calloc(b->alloc, 1, sizeof *e)) == NULL) {
            return TBQ_ERR_NOMEM;
        }
        e->id = *id;
        tbi_list_init(&e->entry);
        if ((rv = tbi_map_put(&b->entries, id->bytes, e)) < 0) {
            tbi_free(b->alloc, e);
            return rv;
        }
        stand(b, e, standing);
    } else if (standing >= e->standing) {
        stand(b, e, standing); /* and it goes to the end of its list: it is the freshest */
    }
    *found = e;
    return 0;
}

int tbi_book_id(const struct tbi_book *b, const uint8_t key[TBQ_PUBLIC_KEY_SIZE], tbq_peer_id *id)
{
    return b->crypto->hash(b->crypto->self, key, TBQ_PUBLIC_KEY_SIZE, id->bytes);
}

/* --- Places ------------------------------------------------------------------------------------
 */

static struct tbi_place *find_place(const struct tbi_book_entry *e, const struct tbi_addr *addr)
{
    for (size_t i = 0; i < e->places; i++) {
        if (tbi_addr_equal(&e->place[i].addr, addr)) {
            return &e->place[i];
        }
    }
    return NULL;
}

/* One more place; the places that it was met at are bounded like those that it claims. */
static int add_place(struct tbi_book *b, struct tbi_book_entry *e, const struct tbi_addr *addr)
{
    size_t met = 0;
    size_t oldest = 0;

    for (size_t i = e->places; i-- > 0;) {
        if (!e->place[i].claimed) {
            met++;
            oldest = i;
        }
    }
    if (met >= TBI_RECORD_ADDRESSES_MAX) {
        memmove(e->place + oldest, e->place + oldest + 1,
                (e->places - oldest - 1) * sizeof *e->place);
        e->places--;
    }
    struct tbi_place *more = tbi_realloc(b->alloc, e->place, (e->places + 1) * sizeof *e->place);
    if (more == NULL) {
        return TBQ_ERR_NOMEM;
    }
    e->place = more;
    more[e->places++] = (struct tbi_place){.addr = *addr};
    b->changed = true;
    return 0;
}

/* What a new record claims, and what was known of these places; where it was met stays. */
static int set_claims(struct tbi_book *b, struct tbi_book_entry *e, const struct tbi_record *r,
                      const struct tbi_addr *from)
{
    struct tbi_place *next = tbi_calloc(b->alloc, e->places + r->addresses_len + 1, sizeof *next);
    size_t n = 0;

    if (next == NULL) {
        return TBQ_ERR_NOMEM;
    }
    for (size_t i = 0; i < r->addresses_len; i++) {
        const struct tbi_addr *addr = &r->address[i].addr;
        const struct tbi_place *old = find_place(e, addr);
        if (r->address[i].kind == TBI_ADDRESS_VIA) {
            continue;
        }
        next[n] = old != NULL ? *old : (struct tbi_place){.addr = *addr};
        next[n].claimed = true;
        next[n].allowed = next[n].allowed || (from != NULL && tbi_scope_may_dial(addr, from));
        n++;
    }
    size_t claimed = n;
    for (size_t i = 0; i < e->places; i++) {
        bool again = false;
        for (size_t k = 0; k < claimed; k++) {
            again = again || tbi_addr_equal(&next[k].addr, &e->place[i].addr);
        }
        if (!again && e->place[i].proven) {
            next[n] = e->place[i];
            next[n++].claimed = false;
        }
    }
    tbi_free(b->alloc, e->place);
    e->place = next;
    e->places = n;
    return 0;
}

static bool may_try(const struct tbi_place *p)
{
    return p->proven || (p->allowed && p->tries < TBI_BOOK_TRIES_UNPROVEN);
}

static size_t places_due(const struct tbi_book_entry *e, bool proven, uint64_t at_ns,
                         struct tbi_addr *to, size_t max)
{
    size_t n = 0;
    for (size_t i = 0; i < e->places && n < max; i++) {
        const struct tbi_place *p = &e->place[i];
        if (p->proven == proven && may_try(p) && p->try_at <= at_ns) {
            to[n++] = p->addr;
        }
    }
    return n;
}

size_t tbi_book_places(const struct tbi_book_entry *e, uint64_t now_ns, struct tbi_addr *to,
                       size_t max)
{
    size_t n = places_due(e, true, now_ns, to, max);
    return n + places_due(e, false, now_ns, to + n, max - n);
}

size_t tbi_book_ways(const struct tbi_book_entry *e, uint64_t now_ns, struct tbi_addr *to,
                     size_t max)
{
    size_t n = places_due(e, true, TBI_NEVER, to, max);
    return n + places_due(e, false, now_ns, to + n, max - n);
}

bool tbi_book_is_proven(const struct tbi_book_entry *e, const struct tbi_addr *addr)
{
    const struct tbi_place *p = find_place(e, addr);
    return p != NULL && p->proven;
}

/* --- What happens ------------------------------------------------------------------------------
 */

static int check(const struct tbi_book *b, struct tbi_now now, struct tbi_record *r,
                 const uint8_t *record, size_t size, tbq_peer_id *id)
{
    struct tbi_cursor c;

    tbi_cur_init(&c, record, size);
    int rv = tbi_get_record(c, r);
    if (rv == 0) {
        rv = tbi_book_id(b, r->key, id);
    }
    if (rv < 0) {
        return rv;
    }
    const struct tbi_book_entry *e = tbi_book_get(b, id);
    if (e != NULL && e->record != NULL && r->sequence <= e->sequence) {
        return TBQ_ERR_EXISTS;
    }
    if (r->sequence > now.wall_ms + TBI_BOOK_AHEAD_MS) {
        return TBQ_ERR_EXPIRED;
    }
    return tbi_record_verify(r, b->crypto);
}

/* The record that is on the page from now on; its form was checked. */
static int put_record(struct tbi_book *b, struct tbi_book_entry *e, const struct tbi_record *r,
                      const uint8_t *record, size_t size, const struct tbi_addr *from)
{
    struct tbi_block *copy = tbi_block_copy(b->alloc, record, size);
    int rv = copy != NULL ? set_claims(b, e, r, from) : TBQ_ERR_NOMEM;

    if (rv < 0) {
        tbi_block_unref(copy);
        return rv;
    }
    tbi_block_unref(e->record);
    e->record = copy;
    e->sequence = r->sequence;
    e->role = r->role;
    e->capabilities = r->capabilities;
    b->changed = true;
    return 0;
}

int tbi_book_learn(struct tbi_book *b, struct tbi_now now, const uint8_t *record, size_t size,
                   const struct tbi_addr *from)
{
    struct tbi_record r;
    tbq_peer_id id;
    struct tbi_book_entry *e;

    int rv = check(b, now, &r, record, size, &id);
    if (rv == TBQ_ERR_EXISTS) {
        b->stats.known++;
        return rv;
    }
    if (rv < 0) {
        b->stats.refused++;
        return rv;
    }
    rv = enter(b, &id, TBI_BOOK_HEARD, &e);
    if (rv == 0) {
        rv = put_record(b, e, &r, record, size, from);
    }
    if (rv == 0) {
        e->verified = true;
        b->stats.learnt++;
    }
    return rv;
}

int tbi_book_name(struct tbi_book *b, const tbq_peer_id *id, const struct tbi_addr *addr)
{
    struct tbi_book_entry *e;
    int rv = enter(b, id, TBI_BOOK_NAMED, &e);

    if (rv == 0 && addr != NULL && find_place(e, addr) == NULL) {
        rv = add_place(b, e, addr);
    }
    if (rv == 0 && addr != NULL) {
        find_place(e, addr)->allowed = true; /* the operator's word, not a claim */
    }
    return rv;
}

int tbi_book_met(struct tbi_book *b, struct tbi_now now, const tbq_peer_id *id,
                 const struct tbi_addr *addr)
{
    struct tbi_book_entry *e = tbi_book_get(b, id);
    enum tbi_book_standing standing =
        e != NULL && e->standing == TBI_BOOK_NAMED ? TBI_BOOK_NAMED : TBI_BOOK_MET;
    int rv = enter(b, id, standing, &e);

    if (rv < 0) {
        return rv;
    }
    e->seen_ms = now.wall_ms;
    e->lost = false;
    struct tbi_place *p = find_place(e, addr);
    if (p == NULL) {
        rv = add_place(b, e, addr);
        p = rv == 0 ? find_place(e, addr) : NULL;
    }
    if (p != NULL) {
        p->proven = true;
        p->tries = 0;
        p->try_at = 0;
    }
    return rv;
}

void tbi_book_parted(struct tbi_book *b, struct tbi_now now, const tbq_peer_id *id, bool in_peace)
{
    struct tbi_book_entry *e = tbi_book_get(b, id);

    if (e != NULL && in_peace) {
        e->seen_ms = now.wall_ms;
        b->changed = true;
    } else if (e != NULL) {
        e->lost = true;
    }
}

bool tbi_book_alive(const struct tbi_book *b, struct tbi_now now, struct tbi_book_entry *e,
                    uint64_t recent_ms)
{
    bool claims = false; /* a client's record says no place: nobody can dial it */
    bool reached = false;

    if (e->lost || e->seen_ms == 0 || now.wall_ms > e->seen_ms + recent_ms) {
        return false;
    }
    for (size_t i = 0; i < e->places; i++) {
        claims = claims || e->place[i].claimed;
        reached = reached || (e->place[i].proven && e->place[i].tries == 0);
    }
    return claims && reached && tbi_book_genuine(b, e);
}

void tbi_book_failed(struct tbi_book *b, struct tbi_now now, const tbq_peer_id *id,
                     const struct tbi_addr *addr)
{
    struct tbi_book_entry *e = tbi_book_get(b, id);
    struct tbi_place *p = e != NULL ? find_place(e, addr) : NULL;

    if (p != NULL) {
        uint64_t ms = (uint64_t)TBI_BOOK_RETRY_FIRST_MS << (p->tries < 10 ? p->tries : 10);
        ms = ms < TBI_BOOK_RETRY_LAST_MS ? ms : TBI_BOOK_RETRY_LAST_MS;
        p->tries++;
        p->try_at = now.mono_ns + (ms - tbi_rng_below(b->rng, ms / 4 + 1)) * TBI_NS_PER_MS;
    }
}

/* --- Picking -----------------------------------------------------------------------------------
 */

/* Whether it has a place to dial now; *when falls to the time of the next that it will have. */
static bool dialable(const struct tbi_book_entry *e, uint64_t now_ns, uint64_t *when)
{
    bool now = false;
    for (size_t i = 0; i < e->places; i++) {
        if (!may_try(&e->place[i])) {
            continue;
        }
        if (e->place[i].try_at <= now_ns) {
            now = true;
        } else if (e->place[i].try_at < *when) {
            *when = e->place[i].try_at;
        }
    }
    return now;
}

struct tbi_book_entry *tbi_book_pick(struct tbi_book *b, uint64_t now_ns,
                                     bool (*skip)(void *user, const tbq_peer_id *id), void *user,
                                     uint64_t *when)
{
    struct tbi_book_entry *picked[2] = {NULL, NULL}; /* one heard of, one met or named */
    uint64_t seen[2] = {0, 0};

    *when = TBI_NEVER;
    for (struct tbi_map_entry *m = tbi_map_first(&b->entries); m != NULL; m = tbi_map_next(m)) {
        struct tbi_book_entry *e = tbi_map_value(m);
        int met = e->standing != TBI_BOOK_HEARD;
        if (!skip(user, &e->id) && dialable(e, now_ns, when) &&
            tbi_rng_below(b->rng, ++seen[met]) == 0) {
            picked[met] = e; /* each of those seen so far with the same chance */
        }
    }
    if (picked[0] == NULL || picked[1] == NULL) {
        return picked[0] != NULL ? picked[0] : picked[1];
    }
    return picked[tbi_rng_below(b->rng, 2)];
}

bool tbi_book_genuine(const struct tbi_book *b, struct tbi_book_entry *e)
{
    struct tbi_record r;
    struct tbi_cursor c;

    if (e->record != NULL && !e->verified) {
        tbi_cur_init(&c, e->record->data, e->record->size);
        if (tbi_get_record(c, &r) < 0 || tbi_record_verify(&r, b->crypto) < 0) {
            tbi_block_unref(e->record);
            e->record = NULL;
        }
        e->verified = e->record != NULL;
    }
    return e->record != NULL;
}

/* Reservoir sampling (Vitter's algorithm R) over one standing. */
static size_t sample_standing(struct tbi_book *b, enum tbi_book_standing standing,
                              uint64_t capabilities, const tbq_peer_id *except,
                              struct tbi_book_entry **to, size_t max)
{
    size_t n = 0;
    uint64_t seen = 0;

    TBI_LIST_FOREACH(it, &b->by[standing])
    {
        struct tbi_book_entry *e = TBI_CONTAINER(it, struct tbi_book_entry, entry);
        if (e->record == NULL || e->places == 0 ||
            (e->capabilities & capabilities) != capabilities ||
            (except != NULL && tbq_peer_id_compare(&e->id, except) == 0)) {
            continue;
        }
        seen++;
        uint64_t at = n < max ? n++ : tbi_rng_below(b->rng, seen);
        if (at < max) {
            to[at] = e;
        }
    }
    return n;
}

size_t tbi_book_sample(struct tbi_book *b, uint64_t capabilities, const tbq_peer_id *except,
                       struct tbi_book_entry **to, size_t max)
{
    static const enum tbi_book_standing order[] = {TBI_BOOK_NAMED, TBI_BOOK_MET, TBI_BOOK_HEARD};
    size_t n = 0;
    size_t good = 0;

    for (size_t i = 0; i < 3; i++) {
        n += sample_standing(b, order[i], capabilities, except, to + n, max - n);
    }
    for (size_t i = 0; i < n; i++) {
        if (tbi_book_genuine(b, to[i])) {
            to[good++] = to[i];
        }
    }
    return good;
}
