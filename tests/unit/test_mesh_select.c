/* tests/unit/test_mesh_select.c - the choice among peers: by key, by round trip, of two at random.
 */
#include <check.h>
#include <nettle/sha2.h>
#include <string.h>

#include "base/now.h"
#include "harness.h"
#include "mesh/select.h"

#define NODES 10
#define KEYS 10000

static struct tbi_rng rng;
static struct tbi_candidate node[NODES], scratch[NODES];
static int hash_fails;
static bool hash_is_flat;

static int hash(void *self, const void *data, size_t size, uint8_t to[TBI_HASH_SIZE])
{
    struct sha256_ctx sha;

    (void)self;
    if (hash_is_flat) {
        memset(to, 0, TBI_HASH_SIZE);
        return 0;
    }
    sha256_init(&sha);
    sha256_update(&sha, size, data);
    sha256_digest(&sha, TBI_HASH_SIZE, to);
    return hash_fails;
}

static const struct tbi_crypto crypto = {.hash = hash};

static void begin(void)
{
    static const uint8_t seed[TBI_RNG_SEED_SIZE] = "a choice";

    tbi_rng_init(&rng, seed);
    hash_fails = 0;
    hash_is_flat = false;
    for (size_t i = 0; i < NODES; i++) {
        node[i] = (struct tbi_candidate){.rtt_ns = TBI_NEVER};
        node[i].id.bytes[0] = (uint8_t)i;
        node[i].id.bytes[31] = 0x77;
    }
}

static size_t number_of(const tbq_peer_id *id)
{
    ck_assert_uint_lt(id->bytes[0], NODES);
    return id->bytes[0];
}

/* The order of the first n nodes, as their numbers; returns how many were told. */
static int choose(tbq_select_policy policy, uint32_t key, bool ignore_load, size_t n, size_t *order,
                  size_t max)
{
    const struct tbi_selection how = {
        .policy = policy, .key = {&key, sizeof key}, .ignore_load = ignore_load};
    tbq_peer_id out[NODES];

    memcpy(scratch, node, sizeof node);
    int rv = tbi_select(&how, &crypto, &rng, scratch, n, out, max);
    for (int i = 0; i < rv; i++) {
        order[i] = number_of(&out[i]);
    }
    return rv;
}

static size_t home_of(uint32_t key, size_t n)
{
    size_t first;
    ck_assert_int_eq(choose(TBQ_SELECT_RENDEZVOUS, key, false, n, &first, 1), 1);
    return first;
}

static bool near_to(size_t got, size_t want, size_t most)
{
    return got <= want + most && want <= got + most;
}

/* --- By key -------------------------------------------------------------------------------------
 */

/* The values are 2^32 * log2(2^64 / score), from 40 digits, rounded up. */
START_TEST(a_distance_is_a_logarithm)
{
    static const struct {
        uint64_t score;
        uint64_t distance;
    } known[] = {
        {UINT64_C(1), UINT64_C(274877906944)},
        {UINT64_C(2), UINT64_C(270582939648)},
        {UINT64_C(3), UINT64_C(268070544839)},
        {UINT64_C(1) << 63, UINT64_C(4294967296)},
        {UINT64_C(3) << 62, UINT64_C(1782572487)},
        {UINT64_C(0xcccccccccccccccc), UINT64_C(1382670640)},
        {UINT64_C(5634947347308597896), UINT64_C(7348225883)},
        {UINT64_C(17389230770438662825), UINT64_C(365811308)},
    };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        uint64_t d = tbi_select_distance(known[i].score);
        ck_assert_msg(near_to(d, known[i].distance, 16), "%zu: %llu", i, (unsigned long long)d);
    }
    ck_assert_uint_eq(tbi_select_distance(0), tbi_select_distance(1));
    ck_assert_uint_ge(tbi_select_distance(UINT64_MAX), 1);
    ck_assert_uint_le(tbi_select_distance(UINT64_MAX), 16);
}
END_TEST

START_TEST(a_higher_score_is_never_further_away)
{
    for (unsigned i = 0; i < 20000 / tbi_test_shallow(); i++) {
        uint64_t low = tbi_rng_u64(&rng) >> tbi_rng_below(&rng, 64);
        uint64_t step = tbi_rng_u64(&rng) >> tbi_rng_below(&rng, 64);
        uint64_t high = low + step >= low ? low + step : UINT64_MAX;
        ck_assert_uint_ge(tbi_select_distance(low), tbi_select_distance(high));
    }
}
END_TEST

START_TEST(peers_of_one_capacity_stand_in_the_order_of_their_scores)
{
    for (uint32_t key = 0; key < 200; key++) {
        size_t order[NODES];
        uint64_t before = UINT64_MAX;
        ck_assert_int_eq(choose(TBQ_SELECT_RENDEZVOUS, key, false, NODES, order, NODES), NODES);
        for (size_t i = 0; i < NODES; i++) {
            uint64_t score = 0;
            ck_assert_int_eq(tbi_node_score(&crypto, &key, sizeof key, &node[order[i]].id, &score),
                             0);
            ck_assert_uint_lt(score, before);
            before = score;
        }
    }
}
END_TEST

START_TEST(keys_are_shared_out_evenly)
{
    size_t count[NODES] = {0};

    for (uint32_t key = 0; key < KEYS; key++) {
        count[home_of(key, NODES)]++;
    }
    for (size_t i = 0; i < NODES; i++) { /* four times sqrt(10000 * 0.1 * 0.9) */
        ck_assert_msg(near_to(count[i], KEYS / NODES, 120), "node %zu has %zu", i, count[i]);
    }
}
END_TEST

START_TEST(who_leaves_moves_only_its_own_keys)
{
    for (uint32_t key = 0; key < 2000; key++) {
        size_t all[NODES];
        choose(TBQ_SELECT_RENDEZVOUS, key, false, NODES, all, 2);
        size_t without_last = home_of(key, NODES - 1);
        ck_assert_uint_eq(without_last, all[0] != NODES - 1 ? all[0] : all[1]);
    }
}
END_TEST

START_TEST(keys_go_by_capacity)
{
    size_t count[4] = {0};

    for (size_t i = 0; i < 4; i++) {
        node[i].load.capacity = (uint16_t)(100 * (i + 1));
    }
    for (uint32_t key = 0; key < KEYS; key++) {
        count[home_of(key, 4)]++;
    }
    for (size_t i = 0; i < 4; i++) { /* four times sqrt(10000 * 0.4 * 0.6), at most */
        ck_assert_msg(near_to(count[i], KEYS / 10 * (i + 1), 196), "%zu has %zu", i, count[i]);
    }
}
END_TEST

START_TEST(only_the_ratio_of_capacities_counts_and_untold_ones_are_100)
{
    for (uint32_t key = 0; key < 1000; key++) {
        size_t one[3], other[3];
        node[0].load.capacity = 0;
        node[1].load.capacity = 50;
        node[2].load.capacity = 300;
        choose(TBQ_SELECT_RENDEZVOUS, key, false, 3, one, 3);
        node[0].load.capacity = 20000;
        node[1].load.capacity = 10000;
        node[2].load.capacity = 60000;
        choose(TBQ_SELECT_RENDEZVOUS, key, false, 3, other, 3);
        ck_assert_mem_eq(one, other, sizeof one);
    }
}
END_TEST

START_TEST(who_grows_takes_keys_and_moves_no_others)
{
    size_t taken = 0;

    for (uint32_t key = 0; key < 2000; key++) {
        node[3].load.capacity = 100;
        size_t before = home_of(key, NODES);
        node[3].load.capacity = 300;
        size_t after = home_of(key, NODES);
        ck_assert(after == before || after == 3);
        taken += after != before;
    }
    ck_assert_uint_gt(taken, 200); /* from one of ten to three of twelve: 300 */
}
END_TEST

START_TEST(equal_scores_go_to_the_lower_id)
{
    size_t order[NODES];

    hash_is_flat = true;
    ck_assert_int_eq(choose(TBQ_SELECT_RENDEZVOUS, 1, false, NODES, order, NODES), NODES);
    for (size_t i = 0; i < NODES; i++) {
        ck_assert_uint_eq(order[i], i);
    }
}
END_TEST

/* --- Bounded loads ------------------------------------------------------------------------------
 */

START_TEST(nobody_has_more_than_a_quarter_above_the_average)
{
    size_t total = 0, most = 0, hot = home_of(7, NODES);

    for (size_t i = 0; i < NODES; i++) {
        node[i].load = (struct tbi_load){.told = true};
    }
    for (uint32_t i = 0; i < KEYS / 2; i++) { /* half of all asks for one and the same key */
        for (int both = 0; both < 2; both++) {
            struct tbi_candidate *n = &node[home_of(both != 0 ? 7 : 1000 + i, NODES)];
            n->load.load++;
            total++;
            most = n->load.load > most ? n->load.load : most;
            ck_assert_msg(most <= TBI_SELECT_IDLE + 1 || 4 * (most - 1) * NODES <= 5 * total,
                          "%zu of %zu", most, total);
        }
    }
    ck_assert_uint_eq(total, KEYS);
    ck_assert_uint_ge(node[hot].load.load, KEYS / NODES); /* and it has its share */
}
END_TEST

START_TEST(who_is_passed_over_comes_last_but_comes)
{
    size_t plain[NODES], loaded[NODES], all[NODES];

    choose(TBQ_SELECT_RENDEZVOUS, 3, false, NODES, plain, NODES);
    for (size_t i = 0; i < NODES; i++) {
        node[i].load = (struct tbi_load){.told = true, .load = 400};
    }
    node[plain[0]].load.load = node[plain[4]].load.load = 600; /* the average is 440 */
    node[plain[1]].load.load = 540;
    ck_assert_int_eq(choose(TBQ_SELECT_RENDEZVOUS, 3, false, NODES, loaded, NODES), NODES);
    ck_assert_uint_eq(loaded[0], plain[1]);
    ck_assert_uint_eq(loaded[NODES - 2], plain[0]);
    ck_assert_uint_eq(loaded[NODES - 1], plain[4]);
    choose(TBQ_SELECT_RENDEZVOUS, 3, true, NODES, all, NODES); /* load is not asked for */
    ck_assert_mem_eq(all, plain, sizeof plain);
}
END_TEST

START_TEST(a_little_load_and_a_load_untold_pass_nobody_over)
{
    size_t first = home_of(5, NODES);

    for (size_t i = 0; i < NODES; i++) {
        node[i].load = (struct tbi_load){.told = true};
    }
    node[first].load.load = TBI_SELECT_IDLE;
    ck_assert_uint_eq(home_of(5, NODES), first);
    node[first].load.load++;
    ck_assert_uint_ne(home_of(5, NODES), first);
    node[first].load.told = false;
    ck_assert_uint_eq(home_of(5, NODES), first);
}
END_TEST

START_TEST(a_liar_moves_the_average_by_its_share_at_most)
{
    size_t order[NODES];

    choose(TBQ_SELECT_RENDEZVOUS, 11, false, NODES, order, NODES);
    for (size_t i = 0; i < NODES; i++) {
        node[i].load = (struct tbi_load){.told = true, .load = 100};
    }
    node[order[0]].load.load = 900; /* honest */
    node[order[5]].load = (struct tbi_load){true, UINT16_MAX, UINT16_MAX};
    ck_assert_uint_eq(home_of(11, NODES), order[1]);
}
END_TEST

/* --- Round trips, two choices -------------------------------------------------------------------
 */

START_TEST(the_shortest_round_trip_comes_first_and_the_unknown_last)
{
    static const size_t want[] = {4, 2, 9, 0, 1, 3, 5, 6, 7, 8};
    size_t order[NODES];

    node[9].rtt_ns = node[2].rtt_ns = 7 * TBI_NS_PER_MS; /* the lower id first */
    node[4].rtt_ns = 1;
    ck_assert_int_eq(choose(TBQ_SELECT_LEAST_RTT, 0, false, NODES, order, NODES), NODES);
    ck_assert_mem_eq(order, want, sizeof want);
    ck_assert_int_eq(choose(TBQ_SELECT_LEAST_RTT, 0, false, NODES, order, 2), 2);
    ck_assert_mem_eq(order, want, 2 * sizeof want[0]);
}
END_TEST

START_TEST(the_less_loaded_of_two_keeps_all_nearly_equal)
{
    size_t order[NODES], most = 0;

    for (size_t i = 0; i < NODES; i++) {
        node[i].load = (struct tbi_load){.told = true};
    }
    for (uint32_t i = 0; i < KEYS; i++) {
        ck_assert_int_eq(choose(TBQ_SELECT_TWO_CHOICES, 0, false, NODES, order, 1), 1);
        most = ++node[order[0]].load.load > most ? node[order[0]].load.load : most;
    }
    /* log2 ln 10 and a little above the average; one choice alone ends 26 above. */
    ck_assert_uint_le(most, KEYS / NODES + 8);
}
END_TEST

START_TEST(two_choices_name_everybody_once_and_the_busiest_last)
{
    for (size_t i = 0; i < NODES; i++) {
        node[i].load = (struct tbi_load){.told = i != 5, .load = (uint16_t)(i == 3 ? 900 : 100)};
    }
    for (int i = 0; i < 100; i++) {
        size_t order[NODES];
        unsigned seen = 0;
        ck_assert_int_eq(choose(TBQ_SELECT_TWO_CHOICES, 0, false, NODES, order, NODES), NODES);
        for (size_t k = 0; k < NODES; k++) {
            seen |= 1U << order[k];
        }
        ck_assert_uint_eq(seen, (1U << NODES) - 1);
        ck_assert_uint_eq(order[NODES - 1], 3); /* it loses against every other */
    }
}
END_TEST

/* --- Edges --------------------------------------------------------------------------------------
 */

START_TEST(of_nobody_nobody_is_chosen_and_of_one_that_one)
{
    static const tbq_select_policy policies[] = {TBQ_SELECT_RENDEZVOUS, TBQ_SELECT_LEAST_RTT,
                                                 TBQ_SELECT_TWO_CHOICES};
    size_t order[NODES] = {99};

    node[0].load = (struct tbi_load){.told = true, .load = UINT16_MAX};
    for (size_t i = 0; i < 3; i++) {
        ck_assert_int_eq(choose(policies[i], 1, false, 0, order, NODES), 0);
        ck_assert_int_eq(choose(policies[i], 1, false, NODES, order, 0), 0);
        ck_assert_int_eq(choose(policies[i], 1, false, 1, order, NODES), 1);
        ck_assert_uint_eq(order[0], 0);
    }
}
END_TEST

START_TEST(what_cannot_be_done_is_said)
{
    static const uint8_t key[TBI_SCORE_KEY_MAX + 1];
    struct tbi_selection how = {.policy = TBQ_SELECT_RENDEZVOUS, .key = {key, sizeof key}};
    tbq_peer_id out;
    size_t order[1];

    ck_assert_int_eq(tbi_select(&how, &crypto, &rng, node, NODES, &out, 1), TBQ_ERR_TOO_LARGE);
    how.key.size--;
    ck_assert_int_eq(tbi_select(&how, &crypto, &rng, node, NODES, &out, 1), 1);
    ck_assert_int_eq(choose(TBQ_SELECT_DEFAULT, 1, false, NODES, order, 1), TBQ_ERR_INVALID);
    ck_assert_int_eq(choose((tbq_select_policy)9, 1, false, NODES, order, 1), TBQ_ERR_INVALID);
    hash_fails = TBQ_ERR_TLS;
    ck_assert_int_eq(choose(TBQ_SELECT_RENDEZVOUS, 1, false, NODES, order, 1), TBQ_ERR_TLS);
}
END_TEST

static TCase *part(Suite *s, const char *name)
{
    TCase *c = tcase_create(name);
    tcase_add_checked_fixture(c, begin, NULL);
    suite_add_tcase(s, c);
    return c;
}

int main(void)
{
    Suite *s = suite_create("choices");
    TCase *c = part(s, "by key");
    tcase_add_test(c, a_distance_is_a_logarithm);
    tcase_add_test(c, a_higher_score_is_never_further_away);
    tcase_add_test(c, peers_of_one_capacity_stand_in_the_order_of_their_scores);
    tcase_add_test(c, keys_are_shared_out_evenly);
    tcase_add_test(c, who_leaves_moves_only_its_own_keys);
    tcase_add_test(c, keys_go_by_capacity);
    tcase_add_test(c, only_the_ratio_of_capacities_counts_and_untold_ones_are_100);
    tcase_add_test(c, who_grows_takes_keys_and_moves_no_others);
    tcase_add_test(c, equal_scores_go_to_the_lower_id);
    c = part(s, "bounded loads");
    tcase_add_test(c, nobody_has_more_than_a_quarter_above_the_average);
    tcase_add_test(c, who_is_passed_over_comes_last_but_comes);
    tcase_add_test(c, a_little_load_and_a_load_untold_pass_nobody_over);
    tcase_add_test(c, a_liar_moves_the_average_by_its_share_at_most);
    c = part(s, "others");
    tcase_add_test(c, the_shortest_round_trip_comes_first_and_the_unknown_last);
    tcase_add_test(c, the_less_loaded_of_two_keeps_all_nearly_equal);
    tcase_add_test(c, two_choices_name_everybody_once_and_the_busiest_last);
    c = part(s, "edges");
    tcase_add_test(c, of_nobody_nobody_is_chosen_and_of_one_that_one);
    tcase_add_test(c, what_cannot_be_done_is_said);
    return tbi_test_main(s);
}
