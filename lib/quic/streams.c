/* quic/streams.c - a connection's streams: opened, written to, and given credit. What one of them
 * still holds is in stream.c. */
#include "quic/parts.h"

struct tbi_ostream *tbi_conn_ostream(const struct tbi_conn *c, int64_t stream)
{
    TBI_LIST_FOREACH(it, &c->streams)
    {
        struct tbi_ostream *o = TBI_CONTAINER(it, struct tbi_ostream, entry);
        if (o->id == stream) {
            return o;
        }
    }
    return NULL;
}

void tbi_conn_drop_ostream(struct tbi_conn *c, struct tbi_ostream *o)
{
    (void)c;
    tbi_ostream_free(o);
}

int tbi_conn_open_uni(struct tbi_conn *c, unsigned priority, int64_t *stream)
{
    if (c->state != TBI_CONN_ALIVE || c->want_close) {
        return TBQ_ERR_CLOSED;
    }
    struct tbi_ostream *o = tbi_ostream_new(c->ep->alloc, -1, priority);
    if (o == NULL) {
        return TBQ_ERR_NOMEM;
    }
    int rv = ngtcp2_conn_open_uni_stream(c->qc, &o->id, NULL);
    if (rv != 0) {
        tbi_ostream_free(o);
        return rv == NGTCP2_ERR_NOMEM ? TBQ_ERR_NOMEM : TBQ_ERR_AGAIN;
    }
    struct tbi_list *before = &c->streams; /* behind the last one of the same priority */
    TBI_LIST_FOREACH(it, &c->streams)
    {
        if (TBI_CONTAINER(it, struct tbi_ostream, entry)->priority > priority) {
            before = it;
            break;
        }
    }
    tbi_list_push(before, &o->entry);
    *stream = o->id;
    return 0;
}

/* NULL: nothing more can be written to it. */
static struct tbi_ostream *open_ostream(const struct tbi_conn *c, int64_t stream)
{
    struct tbi_ostream *o = tbi_conn_ostream(c, stream);
    bool open = c->state == TBI_CONN_ALIVE && !c->want_close && o != NULL && !o->closed && !o->fin;

    return open ? o : NULL;
}

/* How many, or an error where none; fin: it ends behind the last one. */
static int write_all(struct tbi_conn *c, int64_t stream, const struct tbi_headed *all, size_t count,
                     bool fin)
{
    struct tbi_ostream *o = open_ostream(c, stream);
    int rv = o != NULL ? 0 : TBQ_ERR_CLOSED;
    size_t n = 0;

    while (rv == 0 && n < count) {
        rv = tbi_ostream_push(o, &all[n]);
        n += rv == 0;
    }
    if (n == 0) {
        return rv;
    }
    o->fin = fin && n == count;
    if (o->unsent >= TBI_STREAM_UNSENT_MAX) {
        o->was_full = true;
    }
    tbi_conn_ready(c);
    return (int)n;
}

int tbi_conn_write(struct tbi_conn *c, int64_t stream, const uint8_t *head, size_t head_size,
                   struct tbi_block *body, bool fin)
{
    struct tbi_headed one = {.head = head, .head_size = head_size, .body = body};
    int rv = write_all(c, stream, &one, 1, fin);
    return rv < 0 ? rv : 0;
}

int tbi_conn_write_all(struct tbi_conn *c, int64_t stream, const struct tbi_headed *all,
                       size_t count)
{
    return write_all(c, stream, all, count, false);
}

size_t tbi_conn_unsent(const struct tbi_conn *c, int64_t stream)
{
    const struct tbi_ostream *o = tbi_conn_ostream(c, stream);
    return o != NULL ? o->unsent : 0;
}

void tbi_conn_consume(struct tbi_conn *c, int64_t stream, uint64_t size)
{
    if (size > 0 && c->state == TBI_CONN_ALIVE) {
        ngtcp2_conn_extend_max_stream_offset(c->qc, stream, size);
        tbi_conn_ready(c);
    }
}

void tbi_conn_stream_done(struct tbi_conn *c, int64_t stream)
{
    (void)stream;
    if (c->state == TBI_CONN_ALIVE) {
        ngtcp2_conn_extend_max_streams_uni(c->qc, 1);
        tbi_conn_ready(c);
    }
}

void tbi_conn_stop_sending(struct tbi_conn *c, int64_t stream, uint64_t code)
{
    if (c->state == TBI_CONN_ALIVE) {
        (void)ngtcp2_conn_shutdown_stream_read(c->qc, 0, stream, code);
        tbi_conn_ready(c);
    }
}
