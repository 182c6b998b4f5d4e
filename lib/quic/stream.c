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
        tbi_block_unref(o->block[o->first + i]);
    }
    tbi_list_remove(&o->entry);
    tbi_free(o->alloc, o->block);
    tbi_free(o->alloc, o);
}

/* Room for two more blocks, moving what there is to the front when that is enough. */
static int make_room(struct tbi_ostream *o)
{
    if (o->first + o->count + 2 <= o->capacity) {
        return 0;
    }
    if (o->first > o->count) {
        memmove(o->block, o->block + o->first, o->count * sizeof(struct tbi_block *));
        o->first = 0;
        return 0;
    }
    void *blocks = o->block;
    int rv = tbi_grow(o->alloc, &blocks, &o->capacity, o->first + o->count + 2,
                      sizeof(struct tbi_block *));
    o->block = blocks;
    return rv;
}

int tbi_ostream_push(struct tbi_ostream *o, const uint8_t *head, size_t head_size,
                     struct tbi_block *body)
{
    struct tbi_block *copy = NULL;

    if (make_room(o) < 0) {
        return TBQ_ERR_NOMEM;
    }
    if (head_size > 0) {
        copy = tbi_block_copy(o->alloc, head, head_size);
        if (copy == NULL) {
            return TBQ_ERR_NOMEM;
        }
        o->block[o->first + o->count++] = copy;
        o->unsent += head_size;
    }
    if (body != NULL && body->size > 0) {
        o->block[o->first + o->count++] = tbi_block_ref(body);
        o->unsent += body->size;
    }
    return 0;
}

size_t tbi_ostream_gather(const struct tbi_ostream *o, ngtcp2_vec *vec, size_t max, bool *all)
{
    size_t n = 0;
    size_t used = o->next_used;
    size_t i = o->next;

    for (; i < o->count && n < max; i++, used = 0) {
        struct tbi_block *b = o->block[o->first + i];
        if (b->size > used) {
            vec[n++] = (ngtcp2_vec){.base = b->data + used, .len = b->size - used};
        }
    }
    *all = i == o->count;
    return n;
}

void tbi_ostream_sent(struct tbi_ostream *o, size_t size)
{
    o->unsent -= size;
    while (size > 0) {
        size_t left = o->block[o->first + o->next]->size - o->next_used;
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
    while (o->next > 0 && o->front + o->block[o->first]->size <= o->acked) {
        o->front += o->block[o->first]->size;
        tbi_block_unref(o->block[o->first]);
        o->first++;
        o->count--;
        o->next--;
    }
}
