/* tests/sim/test_sim_two.c - two nodes talk: the first stories to read. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sim.h"
#include "../unit/harness.h"

#define TEN_MIB_MESSAGES 1000
#define TEN_MIB_SIZE 10486 /* bytes of each: 1,000 make 10 MiB */

struct story {
    struct sim *sim;
    struct sim_node *a, *b;
    size_t to_send, sent, message_size;
    size_t got, out_of_order, damaged;
    size_t fates[4];
    size_t connected;
    bool stopped;
};

static void fill(uint8_t *data, size_t size, size_t number)
{
    for (size_t i = 0; i < size; i++) {
        data[i] = (uint8_t)(number * 31 + i * 7 + (i >> 8));
    }
    memcpy(data, &number, sizeof number);
}

static void send_more(struct story *t)
{
    uint8_t data[TEN_MIB_SIZE];
    while (t->sent < t->to_send) {
        fill(data, t->message_size, t->sent);
        tbq_message m = tbq_transition(data, t->message_size);
        tbq_send_options o;
        tbq_send_options_init(&o);
        o.tag = t->sent;
        int rv =
            tbi_node_send_to(t->a->node, sim_now(t->sim), tbi_identity_id(t->b->identity), &m, &o);
        if (rv == TBQ_ERR_AGAIN) {
            return;
        }
        ck_assert_int_eq(rv, 0);
        t->sent++;
    }
}

static bool on_a(struct sim_node *n, tbq_event *e)
{
    struct story *t = n->user;
    switch (e->type) {
    case TBQ_EVENT_CONNECTED:
        t->connected++;
        sim_say(n, "B is up");
        send_more(t);
        break;
    case TBQ_EVENT_DISCONNECTED:
        sim_say(n, "B is gone: %s", e->text);
        break;
    case TBQ_EVENT_WRITABLE:
        send_more(t);
        break;
    case TBQ_EVENT_FATE:
        t->fates[e->fate]++;
        if (e->fate != TBQ_DELIVERED) {
            sim_say(n, "message %llu: fate %d, %s", (unsigned long long)e->tag, (int)e->fate,
                    e->text);
        }
        break;
    case TBQ_EVENT_STOPPED:
        t->stopped = true;
        break;
    default:
        break;
    }
    return true;
}

static bool on_b(struct sim_node *n, tbq_event *e)
{
    struct story *t = n->user;
    uint8_t expected[TEN_MIB_SIZE];
    size_t number;

    if (e->type != TBQ_EVENT_MESSAGE || e->message->kind != TBQ_TRANSITION) {
        return true;
    }
    memcpy(&number, e->message->u.transition.data, sizeof number);
    fill(expected, t->message_size, number);
    t->out_of_order += number != t->got;
    t->damaged += e->message->u.transition.size != t->message_size ||
                  memcmp(e->message->u.transition.data, expected, t->message_size) != 0;
    t->got++;
    if (t->got % 100 == 0) {
        sim_say(n, "has %zu messages", t->got);
    }
    return true;
}

static void begin(struct story *t, uint64_t seed, struct sim_link link)
{
    memset(t, 0, sizeof *t);
    t->sim = sim_new(seed);
    t->a = sim_add(t->sim);
    t->b = sim_add(t->sim);
    t->a->user = t->b->user = t;
    t->a->on_event = on_a;
    t->b->on_event = on_b;
    sim_both(t->a, t->b, link);
    sim_boot(t->a);
    sim_boot(t->b);
}

static bool all_told(void *arg)
{
    struct story *t = arg;
    return t->fates[1] + t->fates[2] + t->fates[3] == t->to_send;
}

/* The transcript, when the story did not go as it should, or somebody wants to read it. */
static void show(const struct story *t, bool good)
{
    if (!good || getenv("SIM_SHOW") != NULL) {
        printf("# fates: %zu %zu %zu, arrived %zu\n%s", t->fates[1], t->fates[2], t->fates[3],
               t->got, sim_transcript(t->sim));
    }
}

static char *ten_mib(uint64_t seed)
{
    struct story t;
    begin(&t, seed, (struct sim_link){.delay_ms = 100, .loss = 50});
    t.to_send = TEN_MIB_MESSAGES;
    t.message_size = TEN_MIB_SIZE;
    sim_dial(t.a, t.b, true);
    bool done = sim_run(t.sim, 600000, all_told, &t);
    show(&t, done);
    ck_assert(done);
    ck_assert_uint_eq(t.fates[TBQ_DELIVERED], TEN_MIB_MESSAGES);
    ck_assert_uint_eq(t.got, TEN_MIB_MESSAGES);
    ck_assert_uint_eq(t.out_of_order, 0);
    ck_assert_uint_eq(t.damaged, 0);
    char *transcript = strdup(sim_transcript(t.sim));
    sim_free(t.sim);
    return transcript;
}

START_TEST(ten_mib_arrive_whole_in_order_and_once)
{
    char *first = ten_mib(7);
    char *again = ten_mib(7);
    char *other = ten_mib(8);
    ck_assert_str_eq(first, again);
    ck_assert_str_ne(first, other);
    free(first);
    free(again);
    free(other);
}
END_TEST

START_TEST(a_node_says_when_it_stops)
{
    struct story t;
    begin(&t, 1, (struct sim_link){.delay_ms = 20});
    t.to_send = 10;
    t.message_size = 100;
    sim_dial(t.a, t.b, true);
    bool done = sim_run(t.sim, 10000, all_told, &t);
    show(&t, done);
    ck_assert(done);
    tbi_node_stop(t.a->node, sim_now(t.sim), 1000);
    sim_run(t.sim, 2000, NULL, NULL);
    ck_assert(t.stopped);
    ck_assert_uint_eq(t.fates[TBQ_DELIVERED], 10);
    sim_free(t.sim);
}
END_TEST

START_TEST(a_killed_receiver_comes_back_and_every_message_has_one_fate)
{
    struct story t;
    begin(&t, 3, (struct sim_link){.delay_ms = 20});
    t.to_send = 500;
    t.message_size = 2000;
    sim_dial(t.a, t.b, true);
    sim_run(t.sim, 150, NULL, NULL);
    sim_kill(t.b);
    sim_run(t.sim, 3000, NULL, NULL);
    sim_boot(t.b);
    bool done = sim_run(t.sim, 120000, all_told, &t);
    show(&t, done);
    ck_assert(done);
    ck_assert_uint_eq(t.fates[1] + t.fates[2] + t.fates[3], 500);
    ck_assert_uint_ge(t.got, t.fates[TBQ_DELIVERED]);
    ck_assert_uint_ge(t.connected, 2);
    ck_assert_uint_lt(sim_ms(t.sim), 10000); /* noticed long before the idle timeout */
    sim_free(t.sim);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("two nodes");
    TCase *c = tcase_create("stories");
    tcase_set_timeout(c, 120);
    tcase_add_test(c, a_node_says_when_it_stops);
    tcase_add_test(c, ten_mib_arrive_whole_in_order_and_once);
    tcase_add_test(c, a_killed_receiver_comes_back_and_every_message_has_one_fate);
    suite_add_tcase(s, c);
    return tbi_test_main(s);
}
