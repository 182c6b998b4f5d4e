/* tests/sim/test_sim_day.c - one long day of two nodes that never stop talking: 100,000 messages
 * each way in all lanes, while one thing after another happens to what is beneath them. Each of
 * them has one fate, and it is true. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../unit/harness.h"
#include "ledger.h"
#include "node/parts.h"
#include "sim.h"

#define EACH_WAY 100000U
#define AT_ONCE 40 /* messages each way */
#define EVERY_MS 20

/* In the first it is B that dialled in the end; in the other both dial again in one moment. */
static const unsigned days[] = {2, 6};
#define DAYS ((int)(sizeof days / sizeof *days))

static struct {
    struct sim *sim;
    struct sim_node *a, *b; /* b has two addresses */
    struct ledger ab, ba;
    struct tbi_rng rng;
} day;

static bool on_event(struct sim_node *n, tbq_event *e)
{
    ledger_event(&day.ab, n, e);
    ledger_event(&day.ba, n, e);
    return true;
}

static struct sim_node *add(void)
{
    struct sim_node *n = sim_add(day.sim);
    n->on_event = on_event;
    sim_settings(n)->no_discovery = true;
    sim_settings(n)->paths_max = 2;
    sim_settings(n)->schedule[TBQ_LANE_CRITICAL] = TBQ_REDUNDANT;
    sim_settings(n)->schedule[TBQ_LANE_LOW] = TBQ_AGGREGATE;
    return n;
}

static void run(uint64_t ms)
{
    sim_run(day.sim, ms, NULL, NULL);
}

static void some(struct ledger *l, uint32_t until)
{
    for (size_t i = 0; i < AT_ONCE && l->sent < until; i++) {
        bool large = tbi_rng_below(&day.rng, 200) == 0;
        int rv = ledger_send(l, 4 + tbi_rng_below(&day.rng, large ? 80000 : 200),
                             (tbq_lane)tbi_rng_below(&day.rng, TBQ_LANES),
                             tbi_rng_below(&day.rng, 8) == 0, 0);
        if (rv == TBQ_ERR_AGAIN || rv == TBQ_ERR_NO_ROUTE) { /* full, or not met yet */
            return;
        }
        ck_assert_int_eq(rv, 0);
    }
}

/* They go on until each has sent so many in all. */
static void talk(uint32_t until)
{
    while (day.ab.sent < until || day.ba.sent < until) {
        some(&day.ab, until);
        some(&day.ba, until);
        run(EVERY_MS);
    }
}

static void boot_b(void)
{
    sim_boot(day.b);
    struct tbi_now now = sim_now(day.sim);
    ck_assert_int_eq(tbi_node_set_addresses(day.b->node, now, &day.b->alias, 1, NULL, 0), 0);
}

static void both_dial(void)
{
    sim_dial(day.a, day.b, true);
    sim_dial(day.b, day.a, true);
}

/* --- What happens ----------------------------------------------------------------------------- */

static void nothing(uint32_t until)
{
    talk(until);
}

static void connections_die(uint32_t until)
{
    for (uint32_t i = 10; i > 0; i--) {
        struct sim_node *n = i % 2 == 0 ? day.a : day.b;
        for (struct tbi_map_entry *e = tbi_map_first(&n->node->sessions); e != NULL;
             e = tbi_map_next(e)) {
            struct tbi_session *s = tbi_map_value(e);
            tbi_conn_close(tbi_session_conn(s), sim_now(day.sim), TBI_CLOSE_INTERNAL, "lost");
        }
        talk(until - (i - 1) * 1000);
    }
}

static void addresses_change(uint32_t until)
{
    sim_move(day.a, "10.7.0.1:8443");
    talk(until - 7500);
    sim_rebind(day.a, "192.0.2.7:4711"); /* a NAT, unnoticed */
    talk(until - 5000);
    sim_rebind(day.a, "192.0.2.8:4712");
    talk(until - 2500);
    sim_move(day.a, "10.0.0.1:8443");
    talk(until);
}

static void a_way_loses_a_third(uint32_t until)
{
    sim_both(day.a, day.b, (struct sim_link){.delay_ms = 10, .loss = 300});
    talk(until);
    sim_both(day.a, day.b, (struct sim_link){.delay_ms = 10});
}

static void a_way_is_cut(uint32_t until)
{
    talk(until - 9000);
    sim_link(day.a, day.b)->cut = sim_link(day.b, day.a)->cut = true;
    talk(until - 1000);
    sim_link(day.a, day.b)->cut = sim_link(day.b, day.a)->cut = false;
    talk(until);
}

static void cut(bool is)
{
    sim_link(day.a, day.b)->cut = sim_link(day.b, day.a)->cut = is;
    sim_other_link(day.a, day.b)->cut = sim_other_link(day.b, day.a)->cut = is;
}

static void a_minute_of_silence(uint32_t until)
{
    uint64_t since = sim_ms(day.sim);

    cut(true);
    while (sim_ms(day.sim) < since + 60000) {
        some(&day.ab, until); /* until the outboxes are full */
        some(&day.ba, until);
        run(200);
    }
    cut(false);
    talk(until);
}

static void b_restarts(uint32_t until)
{
    for (uint32_t i = 4; i > 0; i--) {
        sim_kill(day.b);
        ledger_receiver_restarts(&day.ab);
        ledger_sender_dies(&day.ba);
        run(1000);
        boot_b();
        sim_dial(day.b, day.a, true);
        talk(until - (i - 1) * 2500);
    }
}

static void the_clock_jumps(uint32_t until)
{
    sim_jump(day.sim, 86400 * INT64_C(1000)); /* a day */
    talk(until - 5000);
    sim_jump(day.sim, -2 * 86400 * INT64_C(1000));
    talk(until);
}

static const struct {
    const char *what;
    void (*happens)(uint32_t until);
} hours[] = {
    {"both dialled at once", nothing},
    {"connections die", connections_die},
    {"addresses change", addresses_change},
    {"one of two ways loses 30 %", a_way_loses_a_third},
    {"a partition of 60 s", a_minute_of_silence},
    {"the wall clock jumps", the_clock_jumps},
    {"one of two ways is cut", a_way_is_cut},
    {"the receiver restarts, four times", b_restarts},
    {"connections die again", connections_die},
    {"all is well", nothing},
};
#define HOURS (sizeof hours / sizeof *hours)

/* --- The day ---------------------------------------------------------------------------------- */

static void begin(uint64_t seed)
{
    memset(&day, 0, sizeof day);
    day.sim = sim_new(seed);
    tbi_test_rng(&day.rng, (unsigned)seed);
    day.a = add();
    day.b = add();
    ck_assert_int_eq(tbi_addr_from_text(&day.b->alias, "10.9.0.2:8443"), 0);
    sim_boot(day.a);
    boot_b();
    sim_both(day.a, day.b, (struct sim_link){.delay_ms = 10});
    sim_other_both(day.a, day.b, (struct sim_link){.delay_ms = 20});
    ledger_begin(&day.ab, day.a, day.b);
    ledger_begin(&day.ba, day.b, day.a);
    both_dial();
}

static bool settled(void *arg)
{
    (void)arg;
    return ledger_settled(&day.ab) && ledger_settled(&day.ba);
}

static void tell(const struct ledger *l, const char *which)
{
    printf("# %s: %u sent: %zu delivered, %zu unknown, %zu not delivered, %zu of a sender that "
           "died; %zu handed out, %zu marked as repeats\n",
           which, l->sent, l->told[TBQ_DELIVERED], l->told[TBQ_UNKNOWN], l->told[TBQ_NOT_DELIVERED],
           l->dead, l->got, l->repeats);
}

START_TEST(whatever_happens_in_a_day_every_message_has_its_fate)
{
    const char *other = getenv("HISTORY"); /* another day */
    size_t restarts = 0;

    begin(other != NULL ? (unsigned)atoi(other) : days[_i]);
    for (size_t i = 0; i < HOURS; i++) {
        sim_say(day.a, "%s", hours[i].what);
        hours[i].happens(EACH_WAY / HOURS * (uint32_t)(i + 1));
        ck_assert_msg(sim_run(day.sim, 120000, settled, NULL), "%s: not all is settled",
                      hours[i].what);
        restarts += hours[i].happens == b_restarts;
        if (restarts == 0) { /* while both live, nothing is lost and nothing unknown */
            ck_assert_uint_eq(day.ab.told[TBQ_DELIVERED], day.ab.sent);
            ck_assert_uint_eq(day.ba.told[TBQ_DELIVERED], day.ba.sent);
            ck_assert_uint_eq(day.ab.got, day.ab.sent); /* and nothing comes twice */
            ck_assert_uint_eq(day.ba.got, day.ba.sent);
        }
        ck_assert_uint_eq(day.ab.told[TBQ_NOT_DELIVERED] + day.ba.told[TBQ_NOT_DELIVERED], 0);
    }
    tell(&day.ab, "there");
    tell(&day.ba, "back");
    size_t broken = ledger_broken(&day.ab) + ledger_broken(&day.ba);
    if (broken > 0) {
        printf("%s", sim_transcript(day.sim));
    }
    ck_assert_uint_eq(broken, 0);
    ck_assert_uint_eq(day.ba.told[TBQ_UNKNOWN], 0); /* the one that is told of never restarted */
    sim_free(day.sim);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("day");
    TCase *c = tcase_create("stories");
    tcase_set_timeout(c, 600);
    tcase_add_loop_test(c, whatever_happens_in_a_day_every_message_has_its_fate, 0,
                        getenv("HISTORY") != NULL ? 1 : DAYS);
    suite_add_tcase(s, c);
    return tbi_test_main(s);
}
