/* bench/floor_flow.c - see floor.h. Messages behind each other on one stream.
 *
 * What is sent is made in place, in chunks that stay until they are acknowledged: ngtcp2 sends
 * again from there. An answer is made while its request is read, so that nobody keeps a request. */
#include "floor.h"

#include <stdlib.h>
#include <string.h>

#define HEAD_SIZE 4U
#define TYPE_BITS 3U
#define STEP UINT64_C(0xd6e8feb86659fd93) /* from one word of the pattern to the next; odd */
#define SIZE_MAX_OF_MESSAGE ((UINT32_C(1) << (32 - TYPE_BITS)) - 1)

/* ---- the pattern ---- */

/* Words of different numbers, and of different offsets, differ. */
static uint64_t pattern_base(uint64_t number)
{
    return (number + 1) * UINT64_C(0x9e3779b97f4a7c15);
}

static uint64_t pattern_word(uint64_t base, uint64_t index)
{
    return base + index * STEP;
}

/* Eight bytes of it from any offset on. Little-endian, as both sides are one machine. */
static uint64_t pattern_at(uint64_t base, size_t offset)
{
    unsigned shift = 8 * (offset % 8);
    uint64_t word = pattern_word(base, offset / 8);

    return shift == 0 ? word : word >> shift | pattern_word(base, offset / 8 + 1) << (64 - shift);
}

/* What every x86-64 and every arm64 adds at once; a wider one gcc takes apart in memory. */
typedef uint64_t pair __attribute__((vector_size(16)));

/* The first and the last eight bytes are done by themselves, and overlap with the others. */
static void pattern_fill(uint8_t *to, size_t size, uint64_t base, size_t offset)
{
    uint64_t word = pattern_at(base, offset);

    if (size < sizeof word) {
        memcpy(to, &word, size);
        return;
    }
    memcpy(to, &word, sizeof word);
    size_t n = -offset % 8;
    uint64_t index = (offset + n) / 8;
    pair words = {pattern_word(base, index), pattern_word(base, index + 1)};
    for (; size - n >= sizeof words; n += sizeof words, words += 2 * STEP) {
        memcpy(to + n, &words, sizeof words);
    }
    word = pattern_at(base, offset + size - sizeof word);
    memcpy(to + size - sizeof word, &word, sizeof word);
    if (size - n >= sizeof word) {
        memcpy(to + n, &words, sizeof word);
    }
}

static bool pattern_is(const uint8_t *at, size_t size, uint64_t base, size_t offset)
{
    uint64_t word = pattern_at(base, offset), first = 0, last, middle;

    if (size < sizeof first) {
        memcpy(&first, at, size);
        return (word ^ first) << (64 - 8 * size) == 0;
    }
    memcpy(&first, at, sizeof first);
    memcpy(&last, at + size - sizeof last, sizeof last);
    uint64_t differs = (word ^ first) | (pattern_at(base, offset + size - sizeof last) ^ last);
    size_t n = -offset % 8;
    uint64_t index = (offset + n) / 8;
    pair words = {pattern_word(base, index), pattern_word(base, index + 1)}, differ = {0, 0}, got;
    for (; size - n >= sizeof words; n += sizeof words, words += 2 * STEP) {
        memcpy(&got, at + n, sizeof got);
        differ |= got ^ words;
    }
    if (size - n >= sizeof middle) {
        memcpy(&middle, at + n, sizeof middle);
        differs |= middle ^ words[0];
    }
    return (differs | differ[0] | differ[1]) == 0;
}

/* ---- what goes out ---- */

static struct chunk *chunk_take(struct pool *pool)
{
    struct chunk *chunk = pool->spare;

    if (chunk != NULL) {
        pool->spare = chunk->next;
    } else if ((chunk = malloc(sizeof *chunk)) == NULL) {
        die("no memory");
    }
    chunk->next = NULL;
    chunk->used = 0;
    return chunk;
}

static void chunk_give(struct pool *pool, struct chunk *chunk)
{
    chunk->next = pool->spare;
    pool->spare = chunk;
}

/* Where up to `size` more bytes go: how many of them, which then count as made. */
static uint8_t *make_room(struct conn *c, size_t *size)
{
    struct out *o = &c->out;

    if (o->last == NULL) {
        o->first = o->last = o->next = chunk_take(&c->floor->pool);
    } else if (o->last->used == sizeof o->last->bytes) {
        o->last->next = chunk_take(&c->floor->pool);
        o->last = o->last->next;
    }
    size_t left = sizeof o->last->bytes - o->last->used;
    uint8_t *at = o->last->bytes + o->last->used;
    *size = *size < left ? *size : left;
    o->last->used += *size;
    o->unsent += *size;
    return at;
}

static void put_bytes(struct conn *c, const uint8_t *bytes, size_t size)
{
    while (size > 0) {
        size_t n = size;
        uint8_t *to = make_room(c, &n);
        memcpy(to, bytes, n);
        bytes += n;
        size -= n;
    }
}

static void put_head(struct conn *c, enum type type, size_t size)
{
    uint32_t head = (uint32_t)(size << TYPE_BITS | type);
    put_bytes(c, (const uint8_t *)&head, HEAD_SIZE);
}

static void put_pattern(struct conn *c, size_t offset, size_t size)
{
    uint64_t base = pattern_base(c->out.number);

    while (size > 0) {
        size_t n = size;
        uint8_t *at = make_room(c, &n);
        pattern_fill(at, n, base, offset);
        offset += n;
        size -= n;
    }
}

void flow_put(struct conn *c, enum type type, const void *bytes, size_t size)
{
    if (size > SIZE_MAX_OF_MESSAGE) {
        die("a message of %zu bytes is too large", size);
    }
    put_head(c, type, size);
    if (bytes != NULL) {
        put_bytes(c, bytes, size);
    } else {
        put_pattern(c, 0, size);
    }
    c->out.number++;
}

/* Two chunks are more than any packet takes. */
size_t flow_gather(struct out *o, ngtcp2_vec vec[2])
{
    size_t n = 0;

    if (o->unsent == 0) {
        return 0;
    }
    if (o->next_used == o->next->used) {
        o->next = o->next->next;
        o->next_used = 0;
    }
    vec[n++] =
        (ngtcp2_vec){.base = o->next->bytes + o->next_used, .len = o->next->used - o->next_used};
    struct chunk *after = o->next->next;
    if (after != NULL) {
        vec[n++] = (ngtcp2_vec){.base = after->bytes, .len = after->used};
    }
    return n;
}

void flow_sent(struct out *o, size_t size)
{
    size_t left = size;

    while (left > o->next->used - o->next_used) {
        left -= o->next->used - o->next_used;
        o->next = o->next->next;
        o->next_used = 0;
    }
    o->next_used += left;
    o->unsent -= size;
}

void flow_acked(struct floor *f, struct out *o, uint64_t up_to)
{
    while (o->first != o->last && o->front + o->first->used <= up_to) {
        struct chunk *done = o->first;
        if (o->next == done) { /* all of it is in packets */
            o->next = done->next;
            o->next_used = 0;
        }
        o->front += done->used;
        o->first = done->next;
        chunk_give(&f->pool, done);
    }
}

void flow_free(struct floor *f, struct out *o)
{
    while (o->first != NULL) {
        struct chunk *done = o->first;
        o->first = done->next;
        chunk_give(&f->pool, done);
    }
}

/* ---- what comes in ---- */

static void begin(struct conn *c)
{
    struct in *in = &c->in;
    uint32_t head;

    memcpy(&head, in->head, sizeof head);
    in->size = head >> TYPE_BITS;
    in->type = (enum type)(head & ((1U << TYPE_BITS) - 1));
    in->at = 0;
    if (in->type > SUM || (in->type == SUM && in->size != sizeof in->sum)) {
        die("message %llu has type %d", (unsigned long long)in->number, (int)in->type);
    }
    if (in->type == ASK) {
        put_head(c, ANSWER, in->size);
    }
}

/* A part of a message. */
static void take(struct conn *c, const uint8_t *data, size_t size)
{
    struct in *in = &c->in;

    if (in->type == SUM) {
        memcpy((uint8_t *)&in->sum + in->at, data, size);
    } else if (!pattern_is(data, size, pattern_base(in->number), in->at)) {
        die("message %llu is not what was sent", (unsigned long long)in->number);
    }
    if (in->type == ASK) {
        put_pattern(c, in->at, size);
    }
    in->at += size;
}

static void end(struct conn *c)
{
    struct in *in = &c->in;

    if (in->type == ASK) {
        c->out.number++;
    }
    in->number++;
    in->head_got = 0;
    c->floor->on_message(c, in->type, in->size);
}

void flow_receive(struct conn *c, const uint8_t *data, size_t size)
{
    struct in *in = &c->in;

    while (size > 0) {
        size_t n;
        if (in->head_got < HEAD_SIZE) {
            n = HEAD_SIZE - in->head_got < size ? HEAD_SIZE - in->head_got : size;
            memcpy(in->head + in->head_got, data, n);
            in->head_got += n;
            if (in->head_got == HEAD_SIZE) {
                begin(c);
            }
        } else {
            n = in->size - in->at < size ? in->size - in->at : size;
            take(c, data, n);
        }
        data += n;
        size -= n;
        if (in->head_got == HEAD_SIZE && in->at == in->size) {
            end(c);
        }
    }
}
