/* tests/unit/test_link_random.c - the promise about messages, held against thousands of histories.
 *
 * Both sides send, take late and out of order, refuse, let expire; connections are cut at any byte
 * and made again, up to three are there at once and fall silent; processes restart or forget. A
 * model keeps what each side's application saw and was told, and the two must agree. Of a history
 * that fails all steps are left out that it fails without, and the rest is told on standard error.
 * TBQ_SEED=NUMBER runs one alone, TBQ_STORY=1 tells it whole, TBQ_HISTORIES=COUNT runs more. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"
#include "link_world.h"
#include "shrink.h"

#define MESSAGES 2000

struct sent {
    tbq_lane lane;
    bool unordered;
    bool ttl;
    bool dead; /* its sender died without having been told */
    bool told; /* its fate */
    tbq_fate fate;
    int reason;
    unsigned seen;      /* how often handed over */
    unsigned seen_life; /* in which life of the receiver last */
    unsigned taken;
    unsigned refused;
};

struct model {
    struct sent sent[2][MESSAGES]; /* [sender] */
    size_t sent_len[2];
    unsigned life[2];                 /* of this side's receiving process */
    unsigned long last[2][TBQ_LANES]; /* [receiver] the last ordered message in this life */
    unsigned restarts;
    bool met; /* there was a connection before */
    struct {
        uint32_t id;
        unsigned life;
    } held[2][WORLD_HELD]; /* beside the world's */
    bool tidy;             /* no restart, no refusal, no expiry: then everything arrives */
    bool no_refusals;      /* as if one were forbidden, to see how a failure is told */
};

static struct model model;
static struct world world;
static struct tbi_rng chances; /* of one step */

/* --- What the applications see -------------------------------------------------------------- */

static void on_deliver(struct world *w, int at, struct tbi_delivery *d)
{
    uint32_t id;

    (void)w;
    ck_assert_uint_ge(d->body->size, sizeof id);
    memcpy(&id, d->body->data, sizeof id);
    ck_assert_uint_lt(id, model.sent_len[1 - at]);
    struct sent *s = &model.sent[1 - at][id];
    ck_assert_int_eq(d->lane, s->lane);
    for (size_t i = sizeof id; i < d->body->size; i++) {
        if (d->body->data[i] != (uint8_t)(id + i)) {
            ck_abort_msg("message %u came with other bytes", id);
        }
    }
    if (s->seen > 0) {
        ck_assert_msg(s->seen_life != model.life[at], "message %u came twice to one process", id);
        ck_assert_msg(d->repeat, "message %u came again and did not say so", id);
    }
    s->seen++;
    s->seen_life = model.life[at];
    if (!s->unordered) {
        ck_assert_msg(model.last[at][s->lane] <= id, "message %u came too late in its lane", id);
        model.last[at][s->lane] = id + 1UL;
    }
    d->user = s;
}

static void on_fate(struct world *w, int at, const struct tbi_link_fate *f)
{
    (void)w;
    ck_assert_uint_lt(f->tag, model.sent_len[at]);
    struct sent *s = &model.sent[at][f->tag];
    ck_assert_msg(!s->told, "message %llu has two fates", (unsigned long long)f->tag);
    s->told = true;
    s->fate = f->fate;
    s->reason = f->reason;
    if (f->fate == TBQ_DELIVERED) {
        ck_assert_msg(s->taken > 0, "message %u was not taken", (unsigned)f->tag);
    } else if (f->fate == TBQ_NOT_DELIVERED) {
        ck_assert_msg(s->taken == 0, "message %u was taken", (unsigned)f->tag);
    }
}

/* --- What they do --------------------------------------------------------------------------- */

static unsigned below(unsigned n)
{
    return (unsigned)tbi_rng_below(&chances, n);
}

static void send_one(int from)
{
    static uint8_t body[WORLD_MAX];
    uint32_t id = (uint32_t)model.sent_len[from];
    struct sent *s = &model.sent[from][id];
    size_t size = sizeof id + (below(8) == 0 ? below(sizeof body - sizeof id) : below(40));

    if (id == MESSAGES) {
        return;
    }
    memcpy(body, &id, sizeof id);
    for (size_t i = sizeof id; i < size; i++) {
        body[i] = (uint8_t)(id + i);
    }
    *s = (struct sent){.lane = (tbq_lane)below(TBQ_LANES), .unordered = below(4) == 0};
    s->ttl = !model.tidy && below(3) == 0;
    const struct tbi_outgoing m = {.lane = s->lane,
                                   .unordered = s->unordered,
                                   .ttl_ns = s->ttl ? (1 + below(200)) * TBI_NS_PER_MS : 0,
                                   .tag = id,
                                   .want_fate = true};
    model.sent_len[from]++; /* before: its fate may come from within */
    int rv = world_send_more(&world, from, &m, body, size);
    if (rv < 0) {
        ck_assert_int_eq(rv, TBQ_ERR_AGAIN);
        ck_assert(!s->told);
        model.sent_len[from]--;
    }
}

static void answer_one(int at, bool refuse)
{
    struct world_end *e = &world.end[at];

    if (e->held_len == 0) {
        return;
    }
    size_t i = below(3) == 0 ? below((unsigned)e->held_len) : 0;
    struct sent *s = e->held[i]->user;
    if (refuse) {
        ck_assert(!model.no_refusals);
        s->refused++;
        world_refuse(&world, at, i, TBI_DECLINE_REFUSED);
    } else {
        s->taken++; /* before: the fate may come from within */
        world_take(&world, at, i);
    }
}

/* Who dies is told no fates. */
static void die(int at)
{
    for (size_t i = 0; i < model.sent_len[at]; i++) {
        model.sent[at][i].dead = !model.sent[at][i].told;
    }
}

static void begin_life(int at)
{
    model.life[at]++;
    model.restarts++;
    memset(model.last[at], 0, sizeof model.last[at]);
}

static void connect_anew(void)
{
    world_confirm(&world);
    if (model.met && (world.end[A].confirm.known == 0 || world.end[B].confirm.known == 0)) {
        model.restarts++; /* too little came over the one before: it looks like a loss of state */
    }
    model.met = true;
}

static void cut_and_connect(void)
{
    if (!world.up) {
        connect_anew();
        world_ahead(&world, A); /* where it has never sent anything */
        if (!world.end[A].ahead || below(2) == 0) {
            world_attach(&world, A);
        }
        if (below(6) != 0) { /* else B never hears of it, and what A writes is lost */
            world_attach(&world, B);
        }
    } else if (world.end[A].ahead && below(2) == 0) {
        world_attach(&world, A); /* B's CONFIRM is there at last */
    } else if (below(3) == 0) {
        world_cut(&world);
    }
}

static bool may_join(int path)
{
    return world.up && !world.end[A].ahead && world.end[A].path != NULL &&
           world.end[B].path != NULL && world_end_of(&world, path, A)->path == NULL &&
           tbi_link_may_join(world.end[A].link) && tbi_link_may_join(world.end[B].link);
}

/* One more path, one less, or what is thought of one. */
static void change_paths(void)
{
    int path = (int)below(WORLD_PATHS);

    for (int at = A; at <= B; at++) {
        world_end_of(&world, path, at)->rtt_ns = below(100) * TBI_NS_PER_MS;
        world_end_of(&world, path, at)->rate = below(100000);
    }
    switch (below(4)) {
    case 0:
        if (path > 0 && may_join(path)) {
            world_join(&world, path);
        }
        break;
    case 1:
        if (below(3) == 0) {
            world.up = world.up && path > 0;
            world_part(&world, path);
        }
        break;
    default:
        world_suspect(&world, path, below(3) == 0);
    }
}

static int errors(void)
{
    int n = 0;
    for (int i = 0; i < 2 * WORLD_PATHS; i++) {
        n += world_end_of(&world, i / 2, i % 2)->errors;
    }
    return n;
}

static void step(void)
{
    int at = (int)below(2);

    switch (below(17)) {
    case 0:
    case 1:
    case 2:
    case 3:
        send_one(at);
        break;
    case 4:
    case 5:
    case 6:
        answer_one(at, false);
        break;
    case 7:
        answer_one(at, !model.tidy && below(2) == 0);
        break;
    case 8:
    case 9:
    case 10:
    case 11:
    case 12:
        for (unsigned n = below(12); n > 0; n--) {
            (void)world_move_on(&world, (int)below(WORLD_PATHS), (int)below(2),
                                (int)below(TBQ_LANES + WORLD_STREAMS + 1) - 1,
                                below(2) == 0 ? 1 + below(30) : SIZE_MAX);
        }
        break;
    case 13:
        world.now.mono_ns += below(30) * TBI_NS_PER_MS;
        tbi_link_tick(world.end[at].link, world.now);
        world_drain(&world, at);
        break;
    case 14:
        cut_and_connect();
        break;
    case 15:
        change_paths();
        break;
    default:
        if (!model.tidy && below(40) == 0) {
            bool restart = below(2) == 0;
            die(at);
            if (restart) {
                world_restart(&world, at);
                begin_life(1 - at); /* a link of its own, to the new process: new numbers */
                begin_life(at);
            } else {
                world_forget(&world, at);
                begin_life(at);
            }
        }
    }
    ck_assert_int_eq(errors(), 0);
}

/* --- How it must end ------------------------------------------------------------------------ */

static void quiesce(void)
{
    if (world.end[A].ahead) {
        world_attach(&world, A);
    }
    if (world.end[A].path == NULL || world.end[B].path == NULL) {
        world_cut(&world);
        connect_anew();
        world_attach(&world, A);
        world_attach(&world, B);
    }
    for (int i = 0; i < 60; i++) {
        world_wait(&world, 30);
        while (world.end[A].held_len > 0) {
            answer_one(A, false);
        }
        while (world.end[B].held_len > 0) {
            answer_one(B, false);
        }
    }
    world_wait(&world, 1100); /* SETTLED */
}

static void check_end(int at)
{
    struct tbi_link_stats stats;

    ck_assert_msg(tbi_link_outbox_empty(world.end[at].link), "something is without a fate");
    ck_assert_msg(tbi_link_idle(world.end[at].link), "something is not settled");
    tbi_link_stats(world.end[at].link, &stats);
    ck_assert_uint_eq(stats.outbox_bytes, 0);
    ck_assert_uint_eq(stats.held_messages, 0);
    ck_assert_uint_eq(stats.held_bytes, 0);
    for (int path = 0; path < WORLD_PATHS; path++) {
        const struct world_end *e = world_end_of(&world, path, at);
        for (size_t i = 0; i < TBQ_LANES; i++) {
            ck_assert_uint_eq(e->passed[i], e->consumed[i]);
        }
        for (size_t i = 0; i < WORLD_STREAMS; i++) {
            ck_assert(!e->stream[i].open);
        }
    }
    for (size_t i = 0; i < model.sent_len[at]; i++) {
        const struct sent *s = &model.sent[at][i];
        if (s->dead) {
            continue;
        }
        ck_assert_msg(s->told, "message %zu has no fate", i);
        if (model.tidy) {
            ck_assert_msg(s->fate == TBQ_DELIVERED && s->taken == 1, "message %zu is lost", i);
        }
        if (model.restarts == 0) {
            ck_assert_msg(s->fate != TBQ_UNKNOWN, "message %zu: nobody died", i);
            ck_assert_msg((s->fate == TBQ_DELIVERED) == (s->taken == 1), "message %zu", i);
            ck_assert_uint_le(s->seen, 1);
        }
        if (s->fate == TBQ_NOT_DELIVERED) {
            ck_assert_msg(s->refused > 0 || (s->ttl && s->reason == TBQ_ERR_EXPIRED),
                          "message %zu: not delivered without a reason", i);
        }
    }
}

struct history {
    uint64_t seed;
    bool tidy, no_refusals;
    bool aloud; /* tells what happens on standard error */
};

static void draw_from(uint64_t seed, unsigned step)
{
    uint8_t key[TBI_RNG_SEED_SIZE] = {0};

    memcpy(key, &seed, sizeof seed);
    memcpy(key + sizeof seed, &step, sizeof step);
    tbi_rng_init(&chances, key);
}

static unsigned steps_of(const struct history *h)
{
    draw_from(h->seed, 0);
    return 300 + below(1500);
}

static void run_history(void *arg, const bool *skip)
{
    const struct history *h = arg;
    tbq_schedule schedule[TBQ_LANES];

    memset(&model, 0, sizeof model);
    model.tidy = h->tidy;
    model.no_refusals = h->no_refusals;
    for (size_t i = 0; i < TBQ_LANES; i++) {
        schedule[i] = (tbq_schedule)((h->seed + i) % (TBQ_REDUNDANT + 1));
    }
    world_init_as(&world, h->seed, schedule);
    world.aloud = world.keep_story = world.show_control = h->aloud;
    world.on_deliver = on_deliver;
    world.on_fate = on_fate;
    unsigned steps = steps_of(h);
    world.room = 1 + below(3) * 2000;
    world.takes = below(4);
    for (unsigned i = 0; i < steps; i++) {
        draw_from(h->seed, i + 1);
        if (skip == NULL || !skip[i]) {
            step();
        }
    }
    quiesce();
    check_end(A);
    check_end(B);
    world_free(&world);
}

/* How many steps of it are enough to fail; told when it is to be told. */
static size_t shortest(struct history *h)
{
    static bool skip[SHRINK_STEPS_MAX];

    memset(skip, 0, sizeof skip);
    size_t left = shrink(run_history, h, skip, steps_of(h));
    h->aloud = true;
    (void)shrink_fails(run_history, h, skip);
    return left;
}

static void histories(bool tidy)
{
    const char *one = getenv("TBQ_SEED");
    const char *many = getenv("TBQ_HISTORIES");
    const char *fork = getenv("CK_FORK"); /* under valgrind */
    uint64_t first = one != NULL ? strtoull(one, NULL, 0) : 1;
    uint64_t usual = one != NULL ? 1 : 150 / tbi_test_shallow();
    uint64_t count = many != NULL ? strtoull(many, NULL, 0) : usual;
    bool apart = fork == NULL || strcmp(fork, "no") != 0;

    for (uint64_t seed = first; seed < first + count; seed++) {
        struct history h = {.seed = seed, .tidy = tidy, .aloud = getenv("TBQ_STORY") != NULL};
        fprintf(stderr, "# history %llu\r", (unsigned long long)seed);
        if (!apart) {
            run_history(&h, NULL);
        } else if (shrink_fails(run_history, &h, NULL)) {
            size_t left = shortest(&h);
            ck_abort_msg("history %llu fails; %zu of its steps are enough, see above",
                         (unsigned long long)seed, left);
        }
    }
}

START_TEST(where_nobody_dies_nothing_is_lost)
{
    histories(true);
}
END_TEST

START_TEST(where_processes_die_and_messages_expire_every_fate_is_true)
{
    histories(false);
}
END_TEST

START_TEST(a_history_that_fails_is_told_in_a_few_steps)
{
    struct history h = {.seed = 2, .no_refusals = true};
    const char *fork = getenv("CK_FORK");

    if (fork == NULL || strcmp(fork, "no") != 0) {
        ck_assert(shrink_fails(run_history, &h, NULL));
        ck_assert_uint_le(shortest(&h), 8); /* connect, send, carry over, refuse */
        h.no_refusals = h.aloud = false;
        ck_assert(!shrink_fails(run_history, &h, NULL));
    }
}
END_TEST

int main(void)
{
    Suite *s = suite_create("link/random");
    TCase *t = tcase_create("histories");

    tcase_set_timeout(t, 300);
    tcase_add_test(t, where_nobody_dies_nothing_is_lost);
    tcase_add_test(t, a_history_that_fails_is_told_in_a_few_steps);
    tcase_add_test(t, where_processes_die_and_messages_expire_every_fate_is_true);
    suite_add_tcase(s, t);
    return tbi_test_main(s);
}
