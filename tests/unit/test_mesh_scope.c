/* tests/unit/test_mesh_scope.c - which claimed addresses are dialled, how often, and what a node
 * believes of its own. */
#include <check.h>
#include <stdio.h>
#include <string.h>

#include "base/now.h"
#include "harness.h"
#include "mesh/budget.h"
#include "mesh/observed.h"
#include "mesh/scope.h"
#include "mesh/tries.h"

static struct tbi_addr at(const char *text)
{
    struct tbi_addr a;
    ck_assert_msg(tbi_addr_from_text(&a, text) == 0, "%s", text);
    return a;
}

static bool may(const char *claim, const char *from)
{
    struct tbi_addr c = at(claim), f = at(from);
    return tbi_scope_may_dial(&c, &f);
}

START_TEST(every_address_has_its_scope)
{
    static const struct {
        const char *text;
        enum tbi_scope scope;
    } known[] = {
        {"127.0.0.1:1", TBI_SCOPE_LOOPBACK},
        {"[::1]:1", TBI_SCOPE_LOOPBACK},
        {"169.254.7.7:1", TBI_SCOPE_LINK},
        {"[fe80::1]:1", TBI_SCOPE_LINK},
        {"[febf::1]:1", TBI_SCOPE_LINK},
        {"10.1.2.3:1", TBI_SCOPE_PRIVATE},
        {"172.16.0.1:1", TBI_SCOPE_PRIVATE},
        {"172.31.255.1:1", TBI_SCOPE_PRIVATE},
        {"172.32.0.1:1", TBI_SCOPE_GLOBAL},
        {"192.168.0.1:1", TBI_SCOPE_PRIVATE},
        {"100.64.0.1:1", TBI_SCOPE_PRIVATE},
        {"100.128.0.1:1", TBI_SCOPE_GLOBAL},
        {"[fd00::1]:1", TBI_SCOPE_PRIVATE},
        {"[fc00::1]:1", TBI_SCOPE_PRIVATE},
        {"198.51.100.1:1", TBI_SCOPE_GLOBAL},
        {"[2001:db8::1]:1", TBI_SCOPE_GLOBAL},
        {"224.0.0.1:1", TBI_SCOPE_NONE},
        {"255.255.255.255:1", TBI_SCOPE_NONE},
        {"[ff02::1]:1", TBI_SCOPE_NONE},
        {"0.0.0.0:1", TBI_SCOPE_NONE},
        {"[::]:1", TBI_SCOPE_NONE},
        {"198.51.100.1:0", TBI_SCOPE_NONE},
        {"[::ffff:10.0.0.1]:1", TBI_SCOPE_PRIVATE},
    };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        struct tbi_addr a = at(known[i].text);
        ck_assert_msg(tbi_scope_of(&a) == known[i].scope, "%s", known[i].text);
    }
    struct tbi_addr none = {0};
    ck_assert_int_eq((int)tbi_scope_of(&none), TBI_SCOPE_NONE);
}
END_TEST

START_TEST(a_claim_is_dialled_only_where_it_can_be_true)
{
    ck_assert(may("198.51.100.1:1", "203.0.113.9:1"));
    ck_assert(may("198.51.100.1:1", "10.0.0.1:1"));
    ck_assert(may("10.0.0.2:1", "10.0.0.1:1"));
    ck_assert(may("10.0.0.2:1", "127.0.0.1:1")); /* who is on this machine is in its network */
    ck_assert(!may("10.0.0.2:1", "203.0.113.9:1"));
    ck_assert(!may("127.0.0.1:1", "203.0.113.9:1"));
    ck_assert(!may("127.0.0.1:1", "10.0.0.1:1"));
    ck_assert(may("127.0.0.1:1", "127.0.0.1:2"));
    ck_assert(!may("[fe80::1]:1", "203.0.113.9:1"));
    ck_assert(!may("224.0.0.1:1", "127.0.0.1:1"));
    ck_assert(!may("[::]:1", "[::1]:1"));
}
END_TEST

START_TEST(a_network_is_dialled_once_a_second)
{
    static const uint8_t secret[16];
    struct tbi_alloc alloc;
    struct tbi_pace p;
    struct tbi_addr a = at("198.51.100.1:1"), same = at("198.51.100.77:2"),
                    other = at("198.51.101.1:1"), six = at("[2001:db8:0:1ff::1]:1"),
                    six_same = at("[2001:db8:0:100::2]:1"), six_other = at("[2001:db8:0:200::1]:1"),
                    loop = at("127.0.0.1:1");

    ck_assert_int_eq(tbi_alloc_init(&alloc, NULL), 0);
    tbi_pace_init(&p, &alloc, secret);
    ck_assert(tbi_pace_allows(&p, 5, &a));
    ck_assert(!tbi_pace_allows(&p, 5, &same));
    ck_assert(tbi_pace_allows(&p, 5, &other));
    ck_assert(tbi_pace_allows(&p, 5, &six));
    ck_assert(!tbi_pace_allows(&p, 6, &six_same));
    ck_assert(tbi_pace_allows(&p, 6, &six_other));
    ck_assert(!tbi_pace_allows(&p, 4 + TBI_NS_PER_S, &same));
    ck_assert(tbi_pace_allows(&p, 5 + TBI_NS_PER_S, &same));
    ck_assert(tbi_pace_allows(&p, 5, &loop) && tbi_pace_allows(&p, 5, &loop));
    ck_assert_uint_eq(p.refused, 3);
    tbi_pace_free(&p);
}
END_TEST

START_TEST(the_networks_remembered_have_a_limit)
{
    static const uint8_t secret[16];
    struct tbi_alloc alloc;
    struct tbi_pace p;
    char text[32];
    size_t allowed = 0;

    ck_assert_int_eq(tbi_alloc_init(&alloc, NULL), 0);
    tbi_pace_init(&p, &alloc, secret);
    for (unsigned i = 0; i < 2 * TBI_PACE_NETWORKS_MAX; i++) {
        snprintf(text, sizeof text, "20.%u.%u.1:1", i >> 8, i & 0xff);
        struct tbi_addr a = at(text);
        allowed += tbi_pace_allows(&p, 0, &a);
    }
    ck_assert_uint_eq(allowed, TBI_PACE_NETWORKS_MAX);
    ck_assert_uint_eq(p.refused, TBI_PACE_NETWORKS_MAX);
    struct tbi_addr a = at("30.0.0.1:1");
    ck_assert(tbi_pace_allows(&p, TBI_NS_PER_S, &a)); /* a second later all have gone */
    ck_assert_uint_eq(tbi_map_count(&p.networks), 1);
    tbi_pace_free(&p);
}
END_TEST

START_TEST(an_address_is_tried_so_often_whoever_claims_it)
{
    static const uint8_t secret[16];
    struct tbi_alloc alloc;
    struct tbi_tries t;
    char text[32];
    struct tbi_addr a = at("198.51.100.1:1"), port = at("198.51.100.1:2"),
                    six = at("[c633:6401::]:1"); /* the same four bytes in front */

    ck_assert_int_eq(tbi_alloc_init(&alloc, NULL), 0);
    tbi_tries_init(&t, &alloc, secret);
    ck_assert_uint_eq(tbi_tries_of(&t, &a), 0);
    tbi_tries_dialled(&t, &a);
    tbi_tries_dialled(&t, &a);
    ck_assert_uint_eq(tbi_tries_of(&t, &a), 2);
    ck_assert_uint_eq(tbi_tries_of(&t, &port) + tbi_tries_of(&t, &six), 0);
    tbi_tries_reached(&t, &a);
    tbi_tries_reached(&t, &port); /* which nobody tried */
    ck_assert_uint_eq(tbi_tries_of(&t, &a), 0);

    for (unsigned i = 0; i < TBI_TRIES_ADDRESSES_MAX + 10; i++) {
        snprintf(text, sizeof text, "20.0.%u.%u:1", i >> 8, i & 0xff);
        struct tbi_addr one = at(text);
        tbi_tries_dialled(&t, &one);
    }
    struct tbi_addr first = at("20.0.0.0:1"), last = at("20.0.4.9:1");
    ck_assert_uint_eq(tbi_tries_of(&t, &first), 0);
    ck_assert_uint_eq(tbi_tries_of(&t, &last), 1);
    ck_assert_uint_eq(t.forgotten, 10);
    tbi_tries_free(&t);
}
END_TEST

static void try_once(const struct tbi_alloc *a, void *arg)
{
    static const uint8_t secret[16];
    struct tbi_tries t;
    struct tbi_addr addr = at("198.51.100.1:1");

    (void)arg;
    tbi_tries_init(&t, a, secret);
    tbi_tries_dialled(&t, &addr);
    ck_assert_uint_le(tbi_tries_of(&t, &addr), 1); /* without memory it is not remembered */
    tbi_tries_free(&t);
}

START_TEST(tries_leak_nothing_when_memory_is_out)
{
    tbi_walk_allocations(try_once, NULL);
}
END_TEST

static void note(struct tbi_observed *o, const char *from, const char *addr)
{
    struct tbi_addr f = at(from), a = at(addr);
    tbi_observed_note(o, &f, &a);
}

START_TEST(an_own_address_counts_when_three_networks_agree)
{
    struct tbi_observed o = {0};
    struct tbi_addr us = at("198.51.100.9:8443");

    note(&o, "20.0.0.1:1", "198.51.100.9:8443");
    note(&o, "20.0.0.2:1", "198.51.100.9:8443"); /* the same network: one voice */
    note(&o, "20.0.1.1:1", "198.51.100.9:8443");
    ck_assert_ptr_null(tbi_observed_address(&o, AF_INET));
    note(&o, "20.0.2.1:1", "198.51.100.9:8444"); /* another port is another address */
    ck_assert_ptr_null(tbi_observed_address(&o, AF_INET));
    note(&o, "[2001:db8::1]:1", "198.51.100.9:8443");
    ck_assert_ptr_nonnull(tbi_observed_address(&o, AF_INET));
    ck_assert(tbi_addr_equal(tbi_observed_address(&o, AF_INET), &us));
    ck_assert_ptr_null(tbi_observed_address(&o, AF_INET6));
    note(&o, "20.0.1.9:1", "198.51.100.9:9999"); /* a network changes its mind */
    ck_assert_ptr_null(tbi_observed_address(&o, AF_INET));
}
END_TEST

START_TEST(who_is_near_or_tells_what_is_near_is_not_asked)
{
    struct tbi_observed o = {0};
    for (int i = 0; i < 4; i++) {
        char from[32];
        snprintf(from, sizeof from, "10.0.%d.1:1", i);
        note(&o, from, "198.51.100.9:8443");
        snprintf(from, sizeof from, "20.0.%d.1:1", i);
        note(&o, from, "192.168.1.1:8443");
    }
    ck_assert_uint_eq(o.count, 0);
}
END_TEST

START_TEST(old_opinions_make_room_for_new_ones)
{
    struct tbi_observed o = {0};
    char from[32];

    for (int i = 0; i < 100; i++) {
        snprintf(from, sizeof from, "20.1.%d.1:1", i);
        note(&o, from, i < 60 ? "198.51.100.9:1" : "198.51.100.9:2");
    }
    struct tbi_addr now = at("198.51.100.9:2");
    ck_assert(tbi_addr_equal(tbi_observed_address(&o, AF_INET), &now));
}
END_TEST

START_TEST(a_budget_is_spent_at_once_and_comes_back_by_the_second)
{
    struct tbi_budget b = {0};
    uint64_t t = 77 * TBI_NS_PER_S;

    for (int i = 0; i < 4; i++) {
        ck_assert(tbi_budget_spend(&b, t, 4, 2));
    }
    ck_assert(!tbi_budget_spend(&b, t, 4, 2));
    ck_assert(!tbi_budget_spend(&b, t + 499 * TBI_NS_PER_MS, 4, 2));
    ck_assert(tbi_budget_spend(&b, t + 500 * TBI_NS_PER_MS, 4, 2));
    ck_assert(!tbi_budget_spend(&b, t + 500 * TBI_NS_PER_MS, 4, 2));
    t += 3600 * TBI_NS_PER_S; /* an hour saves up no more than a burst */
    for (int i = 0; i < 4; i++) {
        ck_assert(tbi_budget_spend(&b, t, 4, 2));
    }
    ck_assert(!tbi_budget_spend(&b, t, 4, 2));
    for (int i = 1; i <= 1000; i++) { /* asking often costs nothing: 2 a second all the same */
        t += TBI_NS_PER_MS;
        ck_assert_int_eq(tbi_budget_spend(&b, t, 4, 2), i % 500 == 0);
    }
}
END_TEST

int main(void)
{
    Suite *s = suite_create("scopes");
    TCase *c = tcase_create("addresses");
    tcase_add_test(c, every_address_has_its_scope);
    tcase_add_test(c, a_claim_is_dialled_only_where_it_can_be_true);
    tcase_add_test(c, a_network_is_dialled_once_a_second);
    tcase_add_test(c, the_networks_remembered_have_a_limit);
    tcase_add_test(c, an_address_is_tried_so_often_whoever_claims_it);
    tcase_add_test(c, tries_leak_nothing_when_memory_is_out);
    tcase_add_test(c, an_own_address_counts_when_three_networks_agree);
    tcase_add_test(c, who_is_near_or_tells_what_is_near_is_not_asked);
    tcase_add_test(c, old_opinions_make_room_for_new_ones);
    tcase_add_test(c, a_budget_is_spent_at_once_and_comes_back_by_the_second);
    suite_add_tcase(s, c);
    return tbi_test_main(s);
}
