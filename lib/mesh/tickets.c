/* mesh/tickets.c - session tickets and address tokens by peer, and as bytes for a file:
 *
 *     "tbq tickets 1\n"
 *     count varint
 *     count times: id 32 bytes, prefixed address, prefixed(ticket), prefixed(token), perhaps empty
 *     SHA-256 of all before, 32 bytes
 *
 * the peer heard of least recently first. The hash tells a damaged file. Nothing is believed of a
 * ticket: who answers to it is asked about as anybody else. */
#include "mesh/tickets.h"

#include <string.h>

#include "base/cursor.h"
#include "wire/fields.h"

#define MAGIC "tbq tickets 1\n"
#define MAGIC_SIZE (sizeof MAGIC - 1)
#define MAGIC_SAME 12 /* bytes of it that all versions share */
#define ADDRESS_SIZE_MAX ((size_t)32)
#define HEAD_SIZE_MAX (TBQ_PEER_ID_SIZE + ADDRESS_SIZE_MAX + 8)

void tbi_tickets_init(struct tbi_tickets *t, const struct tbi_alloc *alloc,
                      const struct tbi_crypto *crypto, const uint8_t secret[16])
{
    t->alloc = alloc;
    t->crypto = crypto;
    t->changed = false;
    tbi_map_init(&t->by_peer, alloc, secret, TBQ_PEER_ID_SIZE, TBI_TICKETS_MAX);
}

static void forget_bytes(struct tbi_block **b)
{
    if (*b != NULL) {
        tbi_wipe((*b)->data, (*b)->size);
        tbi_block_unref(*b);
        *b = NULL;
    }
}

static void forget(struct tbi_tickets *t, struct tbi_ticket *e)
{
    tbi_map_remove(&t->by_peer, e->id.bytes);
    forget_bytes(&e->ticket);
    forget_bytes(&e->token);
    tbi_free(t->alloc, e);
}

void tbi_tickets_forget(struct tbi_tickets *t, struct tbi_ticket *kept)
{
    if (kept != NULL) {
        t->changed = true;
        forget(t, kept);
    }
}

static void forget_all(struct tbi_tickets *t)
{
    struct tbi_map_entry *e;

    while ((e = tbi_map_first(&t->by_peer)) != NULL) {
        forget(t, tbi_map_value(e));
    }
}

void tbi_tickets_free(struct tbi_tickets *t)
{
    forget_all(t);
    tbi_map_free(&t->by_peer);
}

/* The peer's own, at the end of the order; made where there is none. NULL: out of memory. */
static struct tbi_ticket *heard_of(struct tbi_tickets *t, const tbq_peer_id *id,
                                   const struct tbi_addr *addr)
{
    struct tbi_ticket *e = tbi_map_remove(&t->by_peer, id->bytes);

    if (e == NULL && tbi_map_count(&t->by_peer) >= TBI_TICKETS_MAX) {
        forget(t, tbi_map_value(tbi_map_first(&t->by_peer)));
    }
    if (e == NULL && (e = tbi_calloc(t->alloc, 1, sizeof *e)) == NULL) {
        return NULL;
    }
    e->id = *id;
    if (!tbi_addr_equal(&e->addr, addr)) {
        e->addr = *addr;
        forget_bytes(&e->token); /* it is good where it was given */
    }
    t->changed = true;
    if (tbi_map_put(&t->by_peer, id->bytes, e) < 0) {
        forget_bytes(&e->ticket);
        forget_bytes(&e->token);
        tbi_free(t->alloc, e);
        return NULL;
    }
    return e;
}

void tbi_tickets_keep(struct tbi_tickets *t, const tbq_peer_id *id, const struct tbi_addr *addr,
                      const uint8_t *ticket, size_t size)
{
    struct tbi_ticket *e = size <= TBI_TICKET_SIZE_MAX ? heard_of(t, id, addr) : NULL;

    if (e != NULL) {
        forget_bytes(&e->ticket);
        e->ticket = tbi_block_copy(t->alloc, ticket, size);
    }
}

void tbi_tickets_keep_token(struct tbi_tickets *t, const tbq_peer_id *id,
                            const struct tbi_addr *addr, const uint8_t *token, size_t size)
{
    struct tbi_ticket *e = size <= TBI_TICKET_TOKEN_MAX ? heard_of(t, id, addr) : NULL;

    if (e != NULL) {
        forget_bytes(&e->token);
        e->token = tbi_block_copy(t->alloc, token, size);
        e->token_used = false;
    }
}

struct tbi_ticket *tbi_tickets_find(struct tbi_tickets *t, const tbq_peer_id *id,
                                    const struct tbi_addr *addr)
{
    if (id != NULL) {
        return tbi_map_get(&t->by_peer, id->bytes);
    }
    struct tbi_ticket *last = NULL; /* who was heard of last lives there */

    for (struct tbi_map_entry *e = tbi_map_first(&t->by_peer); e != NULL; e = tbi_map_next(e)) {
        struct tbi_ticket *kept = tbi_map_value(e);
        last = tbi_addr_equal(&kept->addr, addr) ? kept : last;
    }
    return last;
}

/* --- As a file -------------------------------------------------------------------------------- */

static int append_prefixed(struct tbi_block *file, const struct tbi_block *b)
{
    uint8_t head[TBI_VARINT_SIZE_MAX];
    struct tbi_writer w;
    size_t size = b != NULL ? b->size : 0;

    tbi_put_init(&w, head, sizeof head);
    tbi_put_varint(&w, size);
    int rv = tbi_block_append(file, head, tbi_put_size(&w));
    return rv < 0 || size == 0 ? rv : tbi_block_append(file, b->data, size);
}

static int append_entry(struct tbi_block *file, const struct tbi_ticket *e)
{
    uint8_t head[HEAD_SIZE_MAX];
    struct tbi_writer w;

    tbi_put_init(&w, head, sizeof head);
    tbi_put_bytes(&w, e->id.bytes, sizeof e->id.bytes);
    tbi_put_address(&w, &e->addr);
    int rv =
        tbi_put_error(&w) < 0 ? TBQ_ERR_INTERNAL : tbi_block_append(file, head, tbi_put_size(&w));
    rv = rv < 0 ? rv : append_prefixed(file, e->ticket);
    return rv < 0 ? rv : append_prefixed(file, e->token_used ? NULL : e->token);
}

int tbi_tickets_write(struct tbi_tickets *t, struct tbi_block **bytes)
{
    uint8_t count[TBI_VARINT_SIZE_MAX], hash[TBI_HASH_SIZE];
    struct tbi_writer w;
    struct tbi_block *file = tbi_block_new(t->alloc, 4096);
    int rv = file != NULL ? tbi_block_append(file, MAGIC, MAGIC_SIZE) : TBQ_ERR_NOMEM;

    tbi_put_init(&w, count, sizeof count);
    tbi_put_varint(&w, tbi_map_count(&t->by_peer));
    rv = rv < 0 ? rv : tbi_block_append(file, count, tbi_put_size(&w));
    for (struct tbi_map_entry *e = tbi_map_first(&t->by_peer); e != NULL && rv == 0;
         e = tbi_map_next(e)) {
        rv = append_entry(file, tbi_map_value(e));
    }
    rv = rv < 0 ? rv : t->crypto->hash(t->crypto->self, file->data, file->size, hash);
    rv = rv < 0 ? rv : tbi_block_append(file, hash, sizeof hash);
    if (rv < 0) {
        forget_bytes(&file);
        return rv;
    }
    t->changed = false;
    *bytes = file;
    return 0;
}

static int read_entry(struct tbi_tickets *t, struct tbi_cursor *c)
{
    tbq_peer_id id;
    struct tbi_addr addr;

    tbi_cur_copy(c, id.bytes, sizeof id.bytes);
    struct tbi_cursor address = tbi_cur_prefixed(c, ADDRESS_SIZE_MAX);
    tbi_get_address(&address, &addr);
    struct tbi_cursor ticket = tbi_cur_prefixed(c, TBI_TICKET_SIZE_MAX);
    struct tbi_cursor token = tbi_cur_prefixed(c, TBI_TICKET_TOKEN_MAX);
    if (tbi_cur_error(c) < 0 || tbi_cur_finish(&address) < 0) {
        return TBQ_ERR_MALFORMED;
    }
    if (tbi_cur_left(&ticket) > 0) {
        tbi_tickets_keep(t, &id, &addr, ticket.at, tbi_cur_left(&ticket));
    }
    if (tbi_cur_left(&token) > 0) {
        tbi_tickets_keep_token(t, &id, &addr, token.at, tbi_cur_left(&token));
    }
    return 0;
}

int tbi_tickets_read(struct tbi_tickets *t, const uint8_t *data, size_t size)
{
    uint8_t hash[TBI_HASH_SIZE];
    struct tbi_cursor c;

    forget_all(t);
    if (size < MAGIC_SIZE + sizeof hash || memcmp(data, MAGIC, MAGIC_SAME) != 0) {
        return TBQ_ERR_MALFORMED;
    }
    if (memcmp(data, MAGIC, MAGIC_SIZE) != 0) {
        return TBQ_ERR_UNSUPPORTED;
    }
    size -= sizeof hash;
    int rv = t->crypto->hash(t->crypto->self, data, size, hash);
    if (rv == 0 && memcmp(hash, data + size, sizeof hash) != 0) {
        rv = TBQ_ERR_MALFORMED;
    }
    tbi_cur_init(&c, data + MAGIC_SIZE, size - MAGIC_SIZE);
    uint64_t count = rv == 0 ? tbi_cur_varint_in(&c, 0, TBI_TICKETS_MAX) : 0;
    for (uint64_t i = 0; i < count && rv == 0; i++) {
        rv = read_entry(t, &c);
    }
    rv = rv < 0 ? rv : tbi_cur_finish(&c);
    if (rv < 0) {
        forget_all(t);
    }
    t->changed = false;
    return rv;
}
