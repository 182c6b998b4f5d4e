/* mesh/book_file.c - the peer book as bytes, for a file of the node's own.
 *
 *     "tbq peer book 1\n"
 *     own_sequence varint, count varint
 *     count times: standing u8, id 32 bytes, seen_ms varint, prefixed(record, perhaps empty),
 *                  places varint, then for each: flags u8, prefixed address
 *     SHA-256 of all before, 32 bytes
 *
 * What is in it went through the checks of book.c before; the hash tells a damaged file. Signatures
 * are checked again only when a record is to be passed on. */
#include <string.h>

#include "mesh/book.h"
#include "wire/fields.h"

#define MAGIC "tbq peer book 1\n"
#define MAGIC_SIZE (sizeof MAGIC - 1)
#define MAGIC_SAME 14 /* bytes of it that all versions share */
#define PLACES_MAX ((size_t)2 * TBI_RECORD_ADDRESSES_MAX)
#define PLACE_CLAIMED 0x01U
#define PLACE_PROVEN 0x02U
#define PLACE_ALLOWED 0x04U
#define PLACE_SIZE_MAX ((size_t)32)
#define ENTRY_SIZE_MAX                                                                             \
    (1 + TBQ_PEER_ID_SIZE + 8 + 8 + TBI_RECORD_SIZE_MAX + 8 + PLACES_MAX * PLACE_SIZE_MAX)

static void put_entry(struct tbi_writer *w, const struct tbi_book_entry *e)
{
    size_t places = e->places < PLACES_MAX ? e->places : PLACES_MAX;

    tbi_put_u8(w, (uint8_t)e->standing);
    tbi_put_bytes(w, e->id.bytes, sizeof e->id.bytes);
    tbi_put_varint(w, e->seen_ms);
    tbi_put_prefixed(w, e->record != NULL ? e->record->data : NULL,
                     e->record != NULL ? e->record->size : 0);
    tbi_put_varint(w, places);
    for (size_t i = 0; i < places; i++) {
        const struct tbi_place *p = &e->place[i];
        tbi_put_u8(w, (uint8_t)((p->claimed ? PLACE_CLAIMED : 0) | (p->proven ? PLACE_PROVEN : 0) |
                                (p->allowed ? PLACE_ALLOWED : 0)));
        tbi_put_address(w, &p->addr);
    }
}

int tbi_book_write(const struct tbi_book *b, struct tbi_block **bytes)
{
    uint8_t entry[ENTRY_SIZE_MAX];
    uint8_t hash[TBI_HASH_SIZE];
    struct tbi_writer w;
    struct tbi_block *file = tbi_block_new(b->pool.parent, 4096);
    int rv = file != NULL ? tbi_block_append(file, MAGIC, MAGIC_SIZE) : TBQ_ERR_NOMEM;

    if (rv == 0) {
        tbi_put_init(&w, entry, sizeof entry);
        tbi_put_varint(&w, b->own_sequence);
        tbi_put_varint(&w, tbi_map_count(&b->entries));
        rv = tbi_block_append(file, entry, tbi_put_size(&w));
    }
    for (int s = TBI_BOOK_HEARD; s <= TBI_BOOK_NAMED && rv == 0; s++) {
        TBI_LIST_FOREACH(it, &b->by[s])
        {
            tbi_put_init(&w, entry, sizeof entry);
            put_entry(&w, TBI_CONTAINER(it, struct tbi_book_entry, entry));
            rv = tbi_put_error(&w) < 0 ? TBQ_ERR_INTERNAL
                                       : tbi_block_append(file, entry, tbi_put_size(&w));
            if (rv < 0) {
                break;
            }
        }
    }
    if (rv == 0) {
        rv = b->crypto->hash(b->crypto->self, file->data, file->size, hash);
    }
    if (rv == 0) {
        rv = tbi_block_append(file, hash, sizeof hash);
    }
    if (rv < 0) {
        tbi_block_unref(file);
        return rv;
    }
    *bytes = file;
    return 0;
}

static int get_places(struct tbi_book *b, struct tbi_book_entry *e, struct tbi_cursor *c)
{
    uint64_t places = tbi_cur_varint_in(c, 0, PLACES_MAX);

    e->place = places > 0 ? tbi_calloc(b->alloc, (size_t)places, sizeof *e->place) : NULL;
    if (places > 0 && e->place == NULL) {
        return TBQ_ERR_NOMEM;
    }
    for (uint64_t i = 0; i < places && tbi_cur_error(c) == 0; i++) {
        struct tbi_place *p = &e->place[e->places];
        uint8_t flags = tbi_cur_u8(c);
        struct tbi_cursor address = tbi_cur_prefixed(c, PLACE_SIZE_MAX);
        tbi_get_address(&address, &p->addr);
        if (tbi_cur_finish(&address) < 0) {
            tbi_cur_fail(c, TBQ_ERR_MALFORMED);
        }
        p->claimed = (flags & PLACE_CLAIMED) != 0;
        p->proven = (flags & PLACE_PROVEN) != 0;
        p->allowed = (flags & PLACE_ALLOWED) != 0;
        e->places += tbi_cur_error(c) == 0;
    }
    return tbi_cur_error(c);
}

static int get_record(struct tbi_book *b, struct tbi_book_entry *e, struct tbi_cursor bytes)
{
    struct tbi_record r;
    tbq_peer_id id;

    if (tbi_cur_left(&bytes) == 0) {
        return 0;
    }
    int rv = tbi_get_record(bytes, &r);
    if (rv == 0) {
        rv = tbi_book_id(b, r.key, &id);
    }
    if (rv == 0 && tbq_peer_id_compare(&id, &e->id) != 0) {
        rv = TBQ_ERR_MALFORMED;
    }
    if (rv == 0 && (e->record = tbi_block_copy(b->alloc, bytes.at, tbi_cur_left(&bytes))) == NULL) {
        rv = TBQ_ERR_NOMEM;
    }
    e->sequence = r.sequence;
    e->role = r.role;
    e->capabilities = r.capabilities;
    return rv;
}

static int get_entry(struct tbi_book *b, struct tbi_cursor *c)
{
    uint8_t standing = tbi_cur_u8(c);
    tbq_peer_id id;

    tbi_cur_copy(c, id.bytes, sizeof id.bytes);
    if (tbi_cur_error(c) == 0 && (standing > TBI_BOOK_NAMED || tbi_book_get(b, &id) != NULL)) {
        tbi_cur_fail(c, TBQ_ERR_MALFORMED);
    }
    if (tbi_cur_error(c) < 0) {
        return tbi_cur_error(c);
    }
    struct tbi_book_entry *e = tbi_calloc(b->alloc, 1, sizeof *e);
    if (e == NULL || tbi_map_put(&b->entries, id.bytes, e) < 0) {
        tbi_free(b->alloc, e);
        return TBQ_ERR_NOMEM;
    }
    e->id = id;
    e->standing = (enum tbi_book_standing)standing;
    tbi_list_push(&b->by[standing], &e->entry);
    e->seen_ms = tbi_cur_varint(c);
    struct tbi_cursor record = tbi_cur_prefixed(c, TBI_RECORD_SIZE_MAX);
    int rv = tbi_cur_error(c) == 0 ? get_record(b, e, record) : tbi_cur_error(c);
    return rv == 0 ? get_places(b, e, c) : rv;
}

static int read_all(struct tbi_book *b, struct tbi_cursor *c)
{
    b->own_sequence = tbi_cur_varint(c);
    uint64_t count = tbi_cur_varint_in(c, 0, UINT64_C(1) << 20);
    int rv = tbi_cur_error(c);

    for (uint64_t i = 0; i < count && rv == 0; i++) {
        rv = get_entry(b, c);
    }
    return rv < 0 ? rv : tbi_cur_finish(c);
}

int tbi_book_read(struct tbi_book *b, const uint8_t *data, size_t size)
{
    uint8_t hash[TBI_HASH_SIZE];
    struct tbi_cursor c;

    if (size < MAGIC_SIZE + sizeof hash || memcmp(data, MAGIC, MAGIC_SAME) != 0) {
        return TBQ_ERR_MALFORMED;
    }
    if (memcmp(data, MAGIC, MAGIC_SIZE) != 0) {
        return TBQ_ERR_UNSUPPORTED;
    }
    size -= sizeof hash;
    int rv = b->crypto->hash(b->crypto->self, data, size, hash);
    if (rv == 0 && memcmp(hash, data + size, sizeof hash) != 0) {
        rv = TBQ_ERR_MALFORMED;
    }
    if (rv == 0) {
        tbi_cur_init(&c, data + MAGIC_SIZE, size - MAGIC_SIZE);
        rv = read_all(b, &c);
    }
    if (rv < 0) {
        tbi_book_clear(b);
    }
    b->changed = false;
    return rv;
}
