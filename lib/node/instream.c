/* node/instream.c - which incoming stream is which, and where its bytes go (docs/protocol.md,
 * section 3).
 *
 * All of this runs inside the transport's callback: nothing here frees or ends a connection, it
 * only marks it closing. */
#include <string.h>

#include "node/parts.h"

/* Whether it is one message's own. */
static bool is_own(const struct tbi_instream *in)
{
    return in->what == TBI_IN_UNORDERED || in->what == TBI_IN_ASIDE;
}

void tbi_instream_free(struct tbi_instream *in)
{
    tbi_link_stream_free(in->own);
    tbi_block_unref(in->early);
    memset(in, 0, sizeof *in);
    in->id = -1;
}

/* Lane bytes of a peer that did not wait for CONFIRM, or whose CONFIRM was lost on the way and
 * comes behind them: kept, up to a limit, until the link is up. */
static void keep_early(struct tbi_session *s, struct tbi_instream *in, const uint8_t *data,
                       size_t size)
{
    size_t most = s->confirm_sent ? TBI_LATE_BYTES_MAX : TBI_EARLY_BYTES_MAX;

    s->early_bytes += size;
    if (s->early_bytes > most) {
        tbi_session_violation(s, TBQ_ERR_LIMIT, "more lane bytes before CONFIRM than allowed");
        return;
    }
    if (in->early == NULL) {
        in->early = tbi_block_new(s->node->alloc, size);
    }
    if (in->early == NULL || tbi_block_append(in->early, data, size) < 0) {
        tbi_session_close(s, TBI_CLOSE_INTERNAL, "out of memory");
    }
}

static void message_bytes(struct tbi_session *s, struct tbi_instream *in, const uint8_t *data,
                          size_t size, bool fin)
{
    if (s->path == NULL) {
        return;
    }
    if (in->what == TBI_IN_LANE) {
        if (size > 0) {
            tbi_link_lane_data(s->path, s->node->now, in->lane, data, size);
        }
        if (fin) {
            tbi_session_violation(s, TBQ_ERR_PROTOCOL, "a lane stream ended");
        }
        tbi_bond_touch(s->bond);
        return;
    }
    if (in->own == NULL) {
        in->own =
            tbi_link_stream_new(s->path, in->lane, in->what == TBI_IN_UNORDERED, (uint64_t)in->id);
    }
    if (in->own != NULL) {
        tbi_link_stream_data(in->own, s->node->now, data, size, fin);
    }
    if (fin) {
        tbi_instream_free(in);
    }
    tbi_bond_touch(s->bond);
}

void tbi_instreams_to_link(struct tbi_session *s)
{
    for (size_t i = 0; i < s->in_len && !s->closing; i++) {
        struct tbi_instream *in = &s->in[i];
        struct tbi_block *early = in->early;
        if (early != NULL || (in->id >= 0 && is_own(in) && in->fin)) {
            in->early = NULL;
            message_bytes(s, in, early != NULL ? early->data : NULL,
                          early != NULL ? early->size : 0, in->fin);
            tbi_block_unref(early);
        }
    }
}

/* A free place more; NULL: as many as there may be, or out of memory. */
static struct tbi_instream *one_more(struct tbi_session *s)
{
    void *in = s->in;
    size_t capacity = s->in_len;

    if (s->in_len == TBI_INSTREAMS_MAX ||
        tbi_grow(s->node->alloc, &in, &capacity, s->in_len + 1, sizeof *s->in) < 0) {
        return NULL;
    }
    s->in = in;
    for (size_t i = s->in_len; i < capacity; i++) {
        s->in[i] = (struct tbi_instream){.id = -1};
    }
    struct tbi_instream *first = &s->in[s->in_len];
    s->in_len = capacity;
    return first;
}

static struct tbi_instream *find_instream(struct tbi_session *s, int64_t stream)
{
    struct tbi_instream *unused = NULL;
    for (size_t i = 0; i < s->in_len; i++) {
        if (s->in[i].id == stream) {
            return &s->in[i];
        }
        if (s->in[i].id < 0 && unused == NULL) {
            unused = &s->in[i];
        }
    }
    unused = unused != NULL ? unused : one_more(s);
    if (unused != NULL) {
        memset(unused, 0, sizeof *unused);
        unused->id = stream;
    }
    return unused;
}

/* What stream this is: set from its prologue. False: close or ignore was decided. */
static bool know_stream(struct tbi_session *s, struct tbi_instream *in,
                        const struct tbi_prologue *p)
{
    switch (p->type) {
    case TBI_STREAM_CONTROL:
        in->what = TBI_IN_CONTROL;
        break;
    case TBI_STREAM_LANE:
        in->what = TBI_IN_LANE;
        break;
    case TBI_STREAM_UNORDERED:
        in->what = TBI_IN_UNORDERED;
        break;
    case TBI_STREAM_ASIDE:
        in->what = TBI_IN_ASIDE;
        break;
    default:
        if ((p->type & 1) == 0) {
            tbi_session_violation(s, TBQ_ERR_UNSUPPORTED,
                                  "a stream of an unknown type that must be understood");
            return false;
        }
        in->what = TBI_IN_IGNORED;
        tbi_conn_stop_sending(tbi_session_conn(s), in->id, TBI_CLOSE_NONE);
        return false;
    }
    in->lane = p->lane;
    for (size_t i = 0; i < s->in_len; i++) {
        const struct tbi_instream *o = &s->in[i];
        if (o != in && o->id >= 0 && o->what == in->what && !is_own(in) &&
            (in->what == TBI_IN_CONTROL || o->lane == in->lane)) {
            tbi_session_violation(s, TBQ_ERR_PROTOCOL,
                                  "a second control stream, or a second one of a lane");
            return false;
        }
    }
    return true;
}

/* Reads the prologue byte by byte; returns how many bytes it used. */
static size_t prologue_bytes(struct tbi_session *s, struct tbi_instream *in, const uint8_t *data,
                             size_t size)
{
    size_t used = 0;
    while (in->what == TBI_IN_PROLOGUE && used < size && !s->closing) {
        struct tbi_prologue p;
        size_t whole;
        if (in->head_len == sizeof in->head) {
            tbi_session_violation(s, TBQ_ERR_PROTOCOL, "a stream begins with no type");
            break;
        }
        in->head[in->head_len++] = data[used++];
        int rv = tbi_get_prologue(in->head, in->head_len, &p, &whole);
        if (rv == 0) {
            know_stream(s, in, &p);
        } else if (rv != TBQ_ERR_AGAIN) {
            tbi_session_violation(s, rv, "a stream begins with an unknown type or lane");
        }
    }
    return used;
}

void tbi_session_stream(struct tbi_session *s, int64_t stream, const uint8_t *data, size_t size,
                        bool fin)
{
    if (s->busy || s->early_wrong) {
        return; /* nothing that it says is read */
    }
    struct tbi_instream *in = s->closing ? NULL : find_instream(s, stream);
    if (in == NULL) {
        if (!s->closing && s->in_len >= TBI_INSTREAMS_MAX) {
            tbi_session_violation(s, TBQ_ERR_LIMIT, "more streams at once than allowed");
        } else if (!s->closing) {
            tbi_session_close(s, TBI_CLOSE_INTERNAL, "out of memory");
        }
        return;
    }
    size_t used = prologue_bytes(s, in, data, size);
    tbi_conn_consume(tbi_session_conn(s), stream, used);
    if (used > 0) { /* a FIN alone has no bytes, not even an address */
        data += used;
        size -= used;
    }
    if (s->closing) {
        return;
    }
    if (s->up) {
        s->bond->peer->seen_ms = s->node->now.wall_ms;
    }
    switch (in->what) {
    case TBI_IN_PROLOGUE:
        if (fin) {
            tbi_session_violation(s, TBQ_ERR_PROTOCOL, "a stream ended within its type");
        }
        break;
    case TBI_IN_CONTROL:
        tbi_session_control(s, data, size);
        tbi_conn_consume(tbi_session_conn(s), stream, size);
        if (fin) {
            tbi_session_violation(s, TBQ_ERR_PROTOCOL, "the control stream ended");
        }
        break;
    case TBI_IN_LANE:
    case TBI_IN_UNORDERED:
    case TBI_IN_ASIDE:
        in->fin = in->fin || fin;
        if (tbi_conn_is_early(tbi_session_conn(s))) {
            tbi_early_wrong(s); /* whoever sent it, it may have been sent before */
        } else if (s->up) {
            message_bytes(s, in, data, size, fin);
        } else if (size > 0) {
            keep_early(s, in, data, size);
        }
        break;
    case TBI_IN_IGNORED:
        tbi_conn_consume(tbi_session_conn(s), stream, size);
        if (fin) {
            tbi_conn_stream_done(tbi_session_conn(s), stream);
            tbi_instream_free(in);
        }
        break;
    }
}

void tbi_session_stream_reset(struct tbi_session *s, int64_t stream)
{
    for (size_t i = 0; i < s->in_len; i++) {
        struct tbi_instream *in = &s->in[i];
        if (in->id != stream) {
            continue;
        }
        if (in->what == TBI_IN_CONTROL || in->what == TBI_IN_LANE) {
            tbi_session_violation(s, TBQ_ERR_PROTOCOL, "a control or lane stream was reset");
        } else if (in->own == NULL) { /* else the link gives its place back */
            tbi_conn_stream_done(tbi_session_conn(s), stream);
        }
        tbi_instream_free(in);
        return;
    }
    tbi_conn_stream_done(tbi_session_conn(s), stream); /* reset before its first byte came */
}
