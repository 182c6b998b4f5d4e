/* quic/stream.c - what one outgoing stream still holds: blocks, kept until QUIC has every byte
 * acknowledged, since ngtcp2 sends lost bytes again from where they lie. */
#include <string.h>

#include "quic/parts.h"

struct tbi_ostream *tbi_ostream_new(const struct tbi_alloc *a, int64_t id, unsigned priority)
{
    struct tbi_ostream *o = tbi_calloc(a, 1, sizeof *o);
    if (o != NULL) {
        tbi_list_init(&o->entry);
        o->alloc = a;
        o->id = id;
        o->priority = priority;
    }
    return o;
}

void tbi_ostream_free(struct tbi_ostream *o)
{
    for (size_t i = 0; i < o->count; i++) {
        tbi_block_unref(o->chunk[o->first + i].block);
    }
    tbi_list_remove(&o->entry);
    tbi_free(o->alloc, o->chunk);
    tbi_free(o->alloc, o);
}

/* Room for two more chunks, moving what there is to the front when that is enough. */
static int make_room(struct tbi_ostream *o)
{
    if (o->first + o->count + 2 <= o->capacity) {
        return 0;
    }
    if (o->first > o->count) {
        memmove(o->chunk, o->chunk + o->first, o->count * sizeof *o->chunk);
        o->first = 0;
        return 0;
    }
    void *chunks = o->chunk;
    int rv = tbi_grow(o->alloc, &chunks, &o->capacity, o->first + o->count + 2, sizeof *o->chunk);
    o->chunk = chunks;
    return rv;
}

static void add(struct tbi_ostream *o, struct tbi_block *block, uint8_t *data, size_t size)
{
    o->chunk[o->first + o->count++] =
        (struct tbi_chunk){.block = block, .data = data, .size = size};
    o->unsent += size;
}

int tbi_ostream_push(struct tbi_ostream *o, const struct tbi_headed *what)
{
    size_t head_size = what->head_size;
    struct tbi_block *body = what->body;
    uint8_t *joined = NULL;

    if (make_room(o) < 0) {
        return TBQ_ERR_NOMEM;
    }
    if (head_size > 0 && body != NULL) {
        joined = tbi_block_prefix(body, what->head, head_size);
    }
    if (head_size > 0 && joined == NULL) {
        struct tbi_block *copy = tbi_block_copy(o->alloc, what->head, head_size);
        if (copy == NULL) {
            return TBQ_ERR_NOMEM;
        }
        add(o, copy, copy->data, head_size);
    }
    if (joined != NULL) {
        add(o, tbi_block_ref(body), joined, head_size + body->size);
    } else if (body != NULL && body->size > 0) {
        add(o, tbi_block_ref(body), body->data, body->size);
    }
    return 0;
}

size_t tbi_ostream_gather(const struct tbi_ostream *o, ngtcp2_vec *vec, size_t max, size_t bytes,
                          bool *all)
{
    size_t n = 0;
    size_t used = o->next_used;
    size_t i = o->next;
    size_t got = 0;

    for (; i < o->count && n < max && got < bytes; i++, used = 0) {
        const struct tbi_chunk *c = &o->chunk[o->first + i];
        if (c->size > used) {
            vec[n++] = (ngtcp2_vec){.base = c->data + used, .len = c->size - used};
            got += c->size - used;
        }
    }
    *all = i == o->count;
    return n;
}

void tbi_ostream_sent(struct tbi_ostream *o, size_t size)
{
    o->unsent -= size;
    o->sent += size;
    while (size > 0) {
        size_t left = o->chunk[o->first + o->next].size - o->next_used;
        if (size < left) {
            o->next_used += size;
            return;
        }
        size -= left;
        o->next++;
        o->next_used = 0;
    }
}

void tbi_ostream_acked(struct tbi_ostream *o, uint64_t offset, uint64_t size)
{
    if (offset + size > o->acked) {
        o->acked = offset + size;
    }
    while (o->next > 0 && o->front + o->chunk[o->first].size <= o->acked) {
        o->front += o->chunk[o->first].size;
        tbi_block_unref(o->chunk[o->first].block);
        o->first++;
        o->count--;
        o->next--;
    }
}
