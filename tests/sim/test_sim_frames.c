/* tests/sim/test_sim_frames.c - a peer that speaks QUIC properly until its handshake is complete,
 * and then says what no QUIC library would: floods of every kind of frame, gaps, and lies. Each
 * story looks at what the peer is told and at the most memory that the node held meanwhile; an
 * honest client is answered within a second during it. */
#include <check.h>
#include <stdio.h>
#include <string.h>

#include "../unit/harness.h"
#include "node/parts.h"
#include "quic/parts.h"
#include "stranger.h"

struct world {
    struct sim *sim;
    struct sim_node *n;
    struct stranger *x, *honest;
};

/* --- Frames, RFC 9000, section 19 ------------------------------------------------------------- */

struct out {
    uint8_t *at, *end;
};

static void byte(struct out *o, uint8_t b)
{
    *o->at++ = b;
}

static void number(struct out *o, uint64_t v) /* as 8 bytes, which QUIC allows */
{
    v |= UINT64_C(3) << 62;
    for (int shift = 56; shift >= 0; shift -= 8) {
        byte(o, (uint8_t)(v >> shift));
    }
}

static void bytes(struct out *o, size_t size, uint64_t seed)
{
    for (size_t i = 0; i < size; i++) {
        byte(o, (uint8_t)(seed >> (8 * (i % 8))) ^ (uint8_t)(i + 1));
    }
}

static size_t room(const struct out *o)
{
    return (size_t)(o->end - o->at);
}

static uint64_t count; /* frames of the present story */

static void new_cid(struct out *o, uint64_t retire)
{
    count++;
    byte(o, 0x18);
    number(o, count);
    number(o, retire);
    byte(o, 8);
    bytes(o, 8, count * 0x9e3779b97f4a7c15);
    bytes(o, 16, count * 0xbf58476d1ce4e5b9);
}

static void too_many_ids(struct out *o)
{
    new_cid(o, 0);
}

static void ids_that_retire_all_before(struct out *o)
{
    new_cid(o, count + 1);
}

static void retire(struct out *o, uint64_t id)
{
    count++;
    byte(o, 0x19);
    number(o, id);
}

static void ids_that_are_retired_again_and_again(struct out *o)
{
    retire(o, 1);
}

static void ids_that_were_never_given(struct out *o)
{
    retire(o, 1000 + count);
}

static void path_challenge(struct out *o)
{
    byte(o, 0x1a);
    bytes(o, 8, ++count);
}

static void ack_of_what_was_never_sent(struct out *o)
{
    byte(o, 0x02);
    number(o, 100000 + count++);
    number(o, 0);
    number(o, 0);
    number(o, 0);
}

static void crypto(struct out *o, uint64_t offset)
{
    byte(o, 0x06);
    number(o, offset);
    number(o, 1);
    byte(o, 0xff);
}

static void crypto_far_away(struct out *o)
{
    crypto(o, (1 << 20) + 2 * count++);
}

static void crypto_with_gaps(struct out *o)
{
    crypto(o, 1 + 2 * (count++ % 16000));
}

/* A TLS message that claims 16 MiB, and comes. */
static void crypto_of_nonsense(struct out *o)
{
    byte(o, 0x06);
    number(o, 40 * count++);
    number(o, 40);
    for (int i = 0; i < 40; i++) {
        byte(o, 0xff);
    }
}

static void stream(struct out *o, uint64_t id, uint64_t offset)
{
    byte(o, 0x0e); /* with an offset and a length */
    number(o, id);
    number(o, offset);
    number(o, 1);
    byte(o, 0x55);
}

static void streams_beyond_the_limit(struct out *o)
{
    stream(o, 2 + 4 * count++, 0);
}

static void streams_that_never_begin(struct out *o) /* their first byte does not come */
{
    stream(o, 2 + 4 * (count++ % TBI_UNI_STREAMS_MAX), 1);
}

static void every_other_byte(struct out *o)
{
    stream(o, 2, 1 + 2 * count++);
}

static void every_other_byte_of_every_stream(struct out *o)
{
    stream(o, 2 + 4 * (count % TBI_UNI_STREAMS_MAX), 1 + 2 * (count / TBI_UNI_STREAMS_MAX));
    count++;
}

/* One byte for every 8 KiB, which is how ngtcp2 keeps them: up to the window of the connection. */
static void a_byte_here_and_there(struct out *o)
{
    size_t in_one = (1 << 20) / 8192;
    stream(o, 2 + 4 * ((count / in_one) % TBI_UNI_STREAMS_MAX), 1 + 8192 * (count % in_one));
    count++;
}

static void bytes_beyond_the_window(struct out *o)
{
    stream(o, 2, (UINT64_C(1) << 40) + count++);
}

static void bidirectional(struct out *o)
{
    stream(o, 0, count++);
}

static void ping(struct out *o)
{
    count++;
    byte(o, 0x01);
}

static void token(struct out *o) /* which only servers give */
{
    count++;
    byte(o, 0x07);
    byte(o, 1);
    byte(o, 1);
}

static void stop_sending_of_nothing(struct out *o)
{
    count++;
    byte(o, 0x05);
    number(o, 3 + 4 * 1000);
    number(o, 0);
}

static void resets(struct out *o)
{
    byte(o, 0x04);
    number(o, 2 + 4 * (count++ % TBI_UNI_STREAMS_MAX));
    number(o, 0);
    number(o, 0);
}

static void max_data(struct out *o)
{
    byte(o, 0x10);
    number(o, ++count);
}

static void unknown_frame(struct out *o)
{
    count++;
    byte(o, 0x3f);
}

/* --- Stories ---------------------------------------------------------------------------------- */

#define GOES_ON UINT64_MAX /* nothing is wrong with it: only with how much there is */
#define FRAME_MAX 64       /* bytes of the largest above */

static const struct flood {
    void (*frame)(struct out *o);
    unsigned packets;
    uint64_t error; /* of the transport, RFC 9000, section 20.1 */
    size_t memory;  /* KiB that the node may take for it, at most */
} floods[] = {
    {too_many_ids, 100, NGTCP2_CONNECTION_ID_LIMIT_ERROR, 256},
    {ids_that_retire_all_before, 100, NGTCP2_CONNECTION_ID_LIMIT_ERROR, 256},
    {ids_that_are_retired_again_and_again, 10, GOES_ON, 256},
    {ids_that_were_never_given, 100, NGTCP2_PROTOCOL_VIOLATION, 256},
    {path_challenge, 1000, GOES_ON, 256},
    {ack_of_what_was_never_sent, 100, NGTCP2_PROTOCOL_VIOLATION, 256},
    {crypto_far_away, 100, NGTCP2_CRYPTO_BUFFER_EXCEEDED, 256},
    {crypto_with_gaps, 1000, NGTCP2_INTERNAL_ERROR, 640},
    {crypto_of_nonsense, 2000, 0x10a, 256},
    {streams_beyond_the_limit, 100, NGTCP2_STREAM_LIMIT_ERROR, 256},
    {streams_that_never_begin, 1000, GOES_ON, 1024},
    {every_other_byte, 4000, NGTCP2_INTERNAL_ERROR, 640},
    /* ngtcp2 allows 5,000 gaps in a stream; in all streams they would be 24 MiB. */
    {every_other_byte_of_every_stream, 8000, NGTCP2_INTERNAL_ERROR, 11 << 10},
    {a_byte_here_and_there, 100, NGTCP2_FLOW_CONTROL_ERROR, 11 << 10},
    {bytes_beyond_the_window, 100, NGTCP2_FLOW_CONTROL_ERROR, 256},
    {bidirectional, 100, NGTCP2_STREAM_LIMIT_ERROR, 256},
    {ping, 1000, GOES_ON, 256},
    {token, 100, NGTCP2_PROTOCOL_VIOLATION, 256},
    {stop_sending_of_nothing, 100, NGTCP2_STREAM_STATE_ERROR, 256},
    {resets, 1000, GOES_ON, 256},
    {max_data, 1000, GOES_ON, 256},
    {unknown_frame, 100, NGTCP2_FRAME_ENCODING_ERROR, 256},
};

static size_t forge(struct stranger *x, uint8_t *frames, size_t size)
{
    const struct flood *f = x->options.forge_arg;
    struct out o = {frames, frames + size};
    while (room(&o) >= FRAME_MAX) {
        f->frame(&o);
    }
    return (size_t)(o.at - frames);
}

static void begin(struct world *w, const struct stranger_options *o)
{
    memset(w, 0, sizeof *w);
    count = 0;
    w->sim = sim_new(41);
    w->n = sim_add(w->sim);
    struct sim_node *px = sim_add(w->sim), *ph = sim_add(w->sim);
    sim_both(w->n, px, (struct sim_link){.delay_ms = 1});
    sim_both(w->n, ph, (struct sim_link){.delay_ms = 10});
    w->x = stranger_new(px, o);
    w->honest =
        stranger_new(ph, &(struct stranger_options){.cert = CERT_ED25519, .alpn = TBI_ALPN});
    sim_boot(w->n);
}

static bool complete(void *arg)
{
    return ((struct stranger *)arg)->complete;
}

static bool attacked(void *arg)
{
    const struct stranger *x = arg;
    return x->gone || x->forged == x->options.forgeries;
}

static const struct tbi_endpoint_stats *stats(const struct world *w)
{
    return tbi_endpoint_stats(w->n->node->endpoint);
}

static void end(struct world *w)
{
    stranger_free(w->x);
    stranger_free(w->honest);
    sim_free(w->sim);
}

START_TEST(a_flood_of_frames)
{
    const struct flood *f = &floods[_i];
    struct world w;
    begin(&w, &(struct stranger_options){.cert = CERT_ED25519,
                                         .alpn = TBI_ALPN,
                                         .forge = forge,
                                         .forge_arg = f,
                                         .forgeries = f->packets});
    size_t before = w.n->memory->live;
    stranger_dial(w.x, w.n);
    ck_assert(sim_run(w.sim, 1000, complete, w.x));
    stranger_dial(w.honest, w.n); /* is answered while the flood comes */
    ck_assert(sim_run(w.sim, 1000, complete, w.honest));
    sim_run(w.sim, 3000, attacked, w.x);
    sim_run(w.sim, 500, NULL, NULL);
    ck_assert_uint_gt(count, 100);
    /* Who was told ids of no one is not heard: the node says its error to them. */
    if (f->error != GOES_ON && f->frame != ids_that_retire_all_before) {
        ck_assert(w.x->closed);
        ck_assert(!w.x->by_code);
        ck_assert_uint_eq(w.x->code, f->error);
    }
    ck_assert_uint_eq(stats(&w)->violations, f->error != GOES_ON);
    ck_assert_uint_eq(stats(&w)->over_memory, f->frame == every_other_byte_of_every_stream);
    ck_assert_uint_le(stats(&w)->connection_memory, w.n->memory->most - before);
    if (f->error == GOES_ON) {
        ck_assert_uint_eq(w.x->forged, f->packets);
        ck_assert(!w.x->closed); /* by the node: its own library may have had enough */
    }
    if (w.n->memory->most - before > f->memory << 10) {
        ck_abort_msg("flood %d: %zu bytes", _i, w.n->memory->most - before);
    }
    /* It is answered, if at all, by what a packet with that many frames can ask for. */
    ck_assert_uint_le(sim_link(w.n, w.x->place)->sent, f->packets / 4 + 16);
    sim_run(w.sim, 60000, NULL, NULL);
    ck_assert_uint_eq(stats(&w)->connections, 0);
    ck_assert_uint_le(w.n->memory->live, before + 4096);
    end(&w);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("frames");
    TCase *c = tcase_create("stories");
    tcase_set_timeout(c, 120);
    tcase_add_loop_test(c, a_flood_of_frames, 0, (int)(sizeof floods / sizeof floods[0]));
    suite_add_tcase(s, c);
    return tbi_test_main(s);
}
