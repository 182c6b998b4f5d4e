/* tests/unit/test_mesh_book.c - the peer book: what is entered, what is forgotten, who is dialled,
 * and what survives a restart. */
#include <check.h>
#include <stdio.h>
#include <string.h>

#include "harness.h"
#include "mesh/book.h"

#define SECOND_MS 1000
#define DAY_MS UINT64_C(86400000)

static struct tbi_alloc heap;
static struct tbi_rng rng;
static struct tbi_book book;
static const struct tbi_now now = {.mono_ns = 1000 * TBI_NS_PER_S,
                                   .wall_ms = UINT64_C(1764000000000)};
static const tbq_peer_id self = {{0xee}};
static size_t verified;

/* Pretended signatures: the first byte of the key. Genuine ones are tests/unit/test_node_peers.c's
 * concern. */
static int sign(void *s, const void *data, size_t size, uint8_t signature[TBI_SIGNATURE_SIZE])
{
    (void)s;
    ck_assert_uint_gt(size, sizeof TBI_RECORD_DOMAIN);
    memset(signature, ((const uint8_t *)data)[sizeof TBI_RECORD_DOMAIN], TBI_SIGNATURE_SIZE);
    return 0;
}

static int verify(void *s, const uint8_t key[32], const void *data, size_t size,
                  const uint8_t signature[TBI_SIGNATURE_SIZE])
{
    (void)s;
    (void)data;
    (void)size;
    verified++;
    return signature[0] == key[0] ? 0 : TBQ_ERR_IDENTITY;
}

static const struct tbi_crypto crypto = {.sign = sign, .verify = verify, .hash = tbi_test_hash};

static struct tbi_addr at(const char *text)
{
    struct tbi_addr a;
    ck_assert_msg(tbi_addr_from_text(&a, text) == 0, "%s", text);
    return a;
}

struct written {
    uint8_t bytes[TBI_RECORD_SIZE_MAX];
    size_t size;
    tbq_peer_id id;
};

/* The record of peer number n. */
static struct written record_of(unsigned n, uint64_t sequence, const char *addr, uint64_t can)
{
    struct written w;
    struct tbi_record r = {.sequence = sequence, .capabilities = can};

    r.key[0] = (uint8_t)n;
    r.key[1] = (uint8_t)(n >> 8);
    if (addr != NULL) {
        r.address[r.addresses_len++].addr = at(addr);
    }
    ck_assert_int_eq(tbi_record_seal(&r, &crypto, w.bytes, sizeof w.bytes, &w.size), 0);
    ck_assert_int_eq(tbi_book_id(&book, r.key, &w.id), 0);
    return w;
}

static int learn_from(const struct written *w, const char *from)
{
    struct tbi_addr f = at(from);
    return tbi_book_learn(&book, now, w->bytes, w->size, &f);
}

static int learn(const struct written *w)
{
    return learn_from(w, "20.0.0.1:8443");
}

static void setup(void)
{
    ck_assert_int_eq(tbi_alloc_init(&heap, NULL), 0);
    tbi_test_rng(&rng, 1);
    tbi_book_init(&book, &heap, &crypto, &rng, &self, 8);
    verified = 0;
}

static void teardown(void)
{
    tbi_book_free(&book);
}

static size_t places(const tbq_peer_id *id, uint64_t at_ns, struct tbi_addr to[8])
{
    const struct tbi_book_entry *e = tbi_book_get(&book, id);
    return e != NULL ? tbi_book_places(e, at_ns, to, 8) : 0;
}

START_TEST(a_record_is_entered_once_and_replaced_by_a_newer_one)
{
    struct written old = record_of(1, 10, "30.0.0.1:1", 0);
    struct written newer = record_of(1, 11, "30.0.0.2:1", TBQ_CAN_STORE);
    struct tbi_addr to[8], expected = at("30.0.0.2:1");

    ck_assert_int_eq(learn(&old), 0);
    ck_assert_int_eq(learn(&old), TBQ_ERR_EXISTS);
    ck_assert_uint_eq(verified, 1); /* what is known costs no signature check */
    ck_assert_int_eq(learn(&newer), 0);
    ck_assert_int_eq(learn(&old), TBQ_ERR_EXISTS);
    ck_assert_uint_eq(places(&old.id, now.mono_ns, to), 1);
    ck_assert(tbi_addr_equal(&to[0], &expected));
    ck_assert_uint_eq(tbi_book_get(&book, &old.id)->capabilities, TBQ_CAN_STORE);
    ck_assert_uint_eq(book.stats.learnt, 2);
    ck_assert_uint_eq(book.stats.known, 2);
}
END_TEST

START_TEST(forged_malformed_and_future_records_are_refused)
{
    struct written w = record_of(1, 10, NULL, 0);
    struct written ahead = record_of(2, now.wall_ms + DAY_MS + 1, NULL, 0);
    struct written soon = record_of(3, now.wall_ms + DAY_MS, NULL, 0);

    w.bytes[w.size - TBI_SIGNATURE_SIZE] ^= 1;
    ck_assert_int_eq(learn(&w), TBQ_ERR_IDENTITY);
    w.size--;
    ck_assert_int_eq(learn(&w), TBQ_ERR_MALFORMED);
    ck_assert_int_eq(learn(&ahead), TBQ_ERR_EXPIRED);
    ck_assert_int_eq(learn(&soon), 0);
    ck_assert_uint_eq(book.stats.refused, 3);
    ck_assert_uint_eq(tbi_map_count(&book.entries), 1);
}
END_TEST

START_TEST(the_own_record_is_not_entered)
{
    struct written w = record_of(1, 10, NULL, 0);
    book.self = w.id;
    ck_assert_int_eq(learn(&w), TBQ_ERR_SELF);
    ck_assert_uint_eq(tbi_map_count(&book.entries), 0);
}
END_TEST

START_TEST(a_flood_of_made_up_peers_displaces_made_up_peers)
{
    struct tbi_addr home = at("40.0.0.1:1");
    struct written named = record_of(1000, 1, NULL, 0), met = record_of(1001, 1, NULL, 0);

    ck_assert_int_eq(tbi_book_name(&book, &named.id, &home), 0);
    ck_assert_int_eq(tbi_book_met(&book, now, &met.id, &home), 0);
    for (unsigned n = 1; n <= 100; n++) {
        struct written w = record_of(n, 1, "30.0.0.1:1", 0);
        ck_assert_int_eq(learn(&w), 0);
    }
    ck_assert_uint_eq(tbi_map_count(&book.entries), 8);
    ck_assert_uint_eq(book.stats.forgotten, 94);
    ck_assert_ptr_nonnull(tbi_book_get(&book, &named.id));
    ck_assert_ptr_nonnull(tbi_book_get(&book, &met.id));
    struct written last = record_of(100, 1, NULL, 0), first = record_of(1, 1, NULL, 0);
    ck_assert_ptr_nonnull(tbi_book_get(&book, &last.id));
    ck_assert_ptr_null(tbi_book_get(&book, &first.id)); /* the longest known went first */

    for (unsigned n = 200; n < 208; n++) { /* a book full of acquaintances takes no hearsay */
        struct written w = record_of(n, 1, NULL, 0);
        ck_assert_int_eq(tbi_book_met(&book, now, &w.id, &home), 0);
    }
    struct written w = record_of(300, 1, NULL, 0);
    ck_assert_int_eq(learn(&w), TBQ_ERR_LIMIT);
    ck_assert_uint_eq(book.stats.full, 1);
    ck_assert_ptr_null(tbi_book_get(&book, &met.id)); /* the longest unseen of those met went */
    ck_assert_ptr_nonnull(tbi_book_get(&book, &named.id));
    ck_assert_int_eq(tbi_book_name(&book, &w.id, NULL), 0); /* those named have room of their own */
    ck_assert_uint_eq(tbi_map_count(&book.entries), 9);
    int rv = 0;
    for (unsigned n = 400; rv == 0 && n < 500; n++) { /* which ends too, and they stay */
        w = record_of(n, 1, NULL, 0);
        rv = tbi_book_name(&book, &w.id, NULL);
    }
    ck_assert_int_eq(rv, TBQ_ERR_LIMIT);
    ck_assert_uint_eq(tbi_map_count(&book.entries), 16);
    ck_assert_ptr_nonnull(tbi_book_get(&book, &named.id));
}
END_TEST

START_TEST(a_claim_gets_three_tries_and_a_proven_place_gets_them_for_ever)
{
    struct written w = record_of(1, 1, "30.0.0.1:1", 0);
    struct tbi_addr to[8], claim = at("30.0.0.1:1");
    struct tbi_now t = now;

    ck_assert_int_eq(learn(&w), 0);
    for (int i = 0; i < TBI_BOOK_TRIES_UNPROVEN; i++) {
        ck_assert_uint_eq(places(&w.id, t.mono_ns, to), 1);
        tbi_book_failed(&book, t, &w.id, &claim);
        ck_assert_uint_eq(places(&w.id, t.mono_ns, to), 0); /* not at once */
        t.mono_ns += TBI_BOOK_RETRY_LAST_MS * TBI_NS_PER_MS;
    }
    ck_assert_uint_eq(places(&w.id, t.mono_ns, to), 0);
    struct written again = record_of(1, 2, "30.0.0.1:1", 0); /* claiming it again changes nothing */
    ck_assert_int_eq(learn(&again), 0);
    ck_assert_uint_eq(places(&w.id, t.mono_ns, to), 0);

    ck_assert_int_eq(tbi_book_met(&book, t, &w.id, &claim), 0);
    for (int i = 0; i < 20; i++) {
        ck_assert_uint_eq(places(&w.id, t.mono_ns, to), 1);
        tbi_book_failed(&book, t, &w.id, &claim);
        ck_assert_uint_eq(places(&w.id, t.mono_ns, to), 0); /* not at once, for company; */
        ck_assert_uint_eq(tbi_book_ways(tbi_book_get(&book, &w.id), t.mono_ns, to, 8), 1);
        t.mono_ns += TBI_BOOK_RETRY_LAST_MS * TBI_NS_PER_MS;
    }
}
END_TEST

START_TEST(claims_that_cannot_be_true_are_not_dialled_until_they_can)
{
    struct written w = record_of(1, 1, "10.0.0.5:1", 0);
    struct written w2 = record_of(1, 2, "10.0.0.5:1", 0);
    struct tbi_addr to[8];

    ck_assert_int_eq(learn_from(&w, "20.0.0.1:8443"), 0);
    ck_assert_uint_eq(places(&w.id, now.mono_ns, to), 0);
    ck_assert_int_eq(learn_from(&w2, "10.0.0.9:8443"), 0);
    ck_assert_uint_eq(places(&w.id, now.mono_ns, to), 1);
}
END_TEST

START_TEST(places_of_meetings_are_kept_apart_from_claims_and_bounded)
{
    struct written w = record_of(1, 1, "30.0.0.1:1", 0);
    struct written w2 = record_of(1, 2, "30.0.0.2:1", 0);
    struct tbi_addr to[8], met = at("30.0.0.1:1"), claim = at("30.0.0.2:1");
    char text[32];

    ck_assert_int_eq(learn(&w), 0);
    ck_assert_int_eq(tbi_book_met(&book, now, &w.id, &met), 0);
    ck_assert_int_eq(learn(&w2), 0); /* it moved; the place where it was met stays, in front */
    ck_assert_uint_eq(places(&w.id, now.mono_ns, to), 2);
    ck_assert(tbi_addr_equal(&to[0], &met));
    ck_assert(tbi_addr_equal(&to[1], &claim));
    for (int i = 0; i < 100; i++) {
        snprintf(text, sizeof text, "31.0.0.%d:1", i);
        struct tbi_addr a = at(text);
        ck_assert_int_eq(tbi_book_met(&book, now, &w.id, &a), 0);
    }
    ck_assert_uint_le(tbi_book_get(&book, &w.id)->places, 2 * TBI_RECORD_ADDRESSES_MAX);
}
END_TEST

static bool is_first(void *user, const tbq_peer_id *id)
{
    return tbq_peer_id_compare(user, id) == 0;
}

START_TEST(who_is_to_be_dialled_is_picked_fairly_and_says_when_there_is_more)
{
    unsigned picked[4] = {0};
    struct written w[4];
    uint64_t when;

    for (unsigned n = 0; n < 4; n++) {
        w[n] = record_of(n + 1, 1, n < 3 ? "30.0.0.1:1" : NULL, 0);
        ck_assert_int_eq(learn(&w[n]), 0);
    }
    for (int i = 0; i < 3000; i++) {
        struct tbi_book_entry *e = tbi_book_pick(&book, now.mono_ns, is_first, &w[0].id, &when);
        ck_assert_ptr_nonnull(e);
        for (unsigned n = 0; n < 4; n++) {
            picked[n] += tbq_peer_id_compare(&e->id, &w[n].id) == 0;
        }
    }
    ck_assert_uint_eq(picked[0], 0); /* ruled out by the caller */
    ck_assert_uint_eq(picked[3], 0); /* has no place */
    ck_assert_uint_gt(picked[1], 1300);
    ck_assert_uint_gt(picked[2], 1300);
    ck_assert_uint_eq(when, TBI_NEVER);

    struct tbi_addr claim = at("30.0.0.1:1");
    for (unsigned n = 1; n < 3; n++) {
        tbi_book_failed(&book, now, &w[n].id, &claim);
    }
    ck_assert_ptr_null(tbi_book_pick(&book, now.mono_ns, is_first, &w[0].id, &when));
    ck_assert_uint_gt(when, now.mono_ns);
    ck_assert_uint_le(when, now.mono_ns + SECOND_MS * TBI_NS_PER_MS);
}
END_TEST

START_TEST(half_the_picks_are_of_acquaintances_however_many_others_there_are)
{
    struct tbi_addr there = at("30.0.0.9:1");
    tbq_peer_id met = {{7}}, nobody = {{9}};
    unsigned picked = 0;
    uint64_t when;

    for (unsigned n = 0; n < 7; n++) {
        struct written w = record_of(n + 1, 1, "30.0.0.1:1", 0);
        ck_assert_int_eq(learn(&w), 0);
    }
    ck_assert_int_eq(tbi_book_met(&book, now, &met, &there), 0);
    for (int i = 0; i < 1000; i++) {
        struct tbi_book_entry *e = tbi_book_pick(&book, now.mono_ns, is_first, &nobody, &when);
        picked += tbq_peer_id_compare(&e->id, &met) == 0;
    }
    ck_assert_uint_gt(picked, 400);
    ck_assert_uint_lt(picked, 600);
}
END_TEST

START_TEST(a_sample_prefers_acquaintances_and_honours_capabilities)
{
    struct tbi_book_entry *some[8];
    struct tbi_addr home = at("40.0.0.1:1");
    struct written w[6];

    for (unsigned n = 0; n < 6; n++) {
        w[n] = record_of(n + 1, 1, "30.0.0.1:1", n % 2 == 0 ? TBQ_CAN_STORE : TBQ_CAN_ROUTE);
        ck_assert_int_eq(learn(&w[n]), 0);
    }
    ck_assert_int_eq(tbi_book_met(&book, now, &w[5].id, &home), 0);
    ck_assert_uint_eq(tbi_book_sample(&book, TBQ_CAN_STORE, NULL, some, 8), 3);
    ck_assert_uint_eq(tbi_book_sample(&book, 0, &w[5].id, some, 8), 5);
    for (int i = 0; i < 50; i++) {
        ck_assert_uint_eq(tbi_book_sample(&book, 0, NULL, some, 2), 2);
        ck_assert_mem_eq(&some[0]->id, &w[5].id, sizeof w[5].id);
    }
    ck_assert_uint_eq(tbi_book_sample(&book, TBQ_FULL_NODE, NULL, some, 8), 0);
}
END_TEST

static void fill_some(void)
{
    struct tbi_addr home = at("40.0.0.1:1"), six = at("[2001:db8::7]:9");
    for (unsigned n = 1; n <= 3; n++) {
        struct written w = record_of(n, n, "30.0.0.1:1", n);
        ck_assert_int_eq(learn(&w), 0);
    }
    struct written met = record_of(2, 0, NULL, 0), named = record_of(9, 0, NULL, 0);
    ck_assert_int_eq(tbi_book_met(&book, now, &met.id, &six), 0);
    ck_assert_int_eq(tbi_book_name(&book, &named.id, &home), 0);
}

START_TEST(who_was_met_lately_and_was_not_lost_is_taken_to_live)
{
    struct written w = record_of(1, 10, "30.0.0.1:1", 0), client = record_of(2, 10, NULL, 0);
    struct tbi_addr there = at("30.0.0.1:1");
    struct tbi_now later = now;

    ck_assert_int_eq(learn(&w), 0);
    struct tbi_book_entry *e = tbi_book_get(&book, &w.id);
    ck_assert(!tbi_book_alive(&book, now, e, DAY_MS)); /* only heard of */
    ck_assert_int_eq(tbi_book_met(&book, now, &w.id, &there), 0);
    ck_assert(tbi_book_alive(&book, now, e, 0));
    later.wall_ms += 5000;
    ck_assert(tbi_book_alive(&book, later, e, 5000));
    ck_assert(!tbi_book_alive(&book, later, e, 4999));
    tbi_book_parted(&book, later, &w.id, true); /* a connection that lasted */
    ck_assert(tbi_book_alive(&book, later, e, 0));
    tbi_book_parted(&book, later, &w.id, false);
    ck_assert(!tbi_book_alive(&book, later, e, DAY_MS));
    ck_assert_int_eq(tbi_book_met(&book, later, &w.id, &there), 0);
    ck_assert(tbi_book_alive(&book, later, e, DAY_MS));
    tbi_book_failed(&book, later, &w.id, &there);
    ck_assert(!tbi_book_alive(&book, later, e, DAY_MS));
    tbi_book_parted(&book, now, &self, true); /* not in the book: nothing happens */

    ck_assert_int_eq(learn(&client), 0); /* it says no place: nobody can dial it */
    ck_assert_int_eq(tbi_book_met(&book, now, &client.id, &there), 0);
    ck_assert(!tbi_book_alive(&book, now, tbi_book_get(&book, &client.id), DAY_MS));
    ck_assert_int_eq(tbi_book_met(&book, now, &self, &there), TBQ_ERR_SELF);
}
END_TEST

START_TEST(who_lives_by_a_file_alone_must_have_signed_its_record)
{
    struct written w = record_of(1, 10, "30.0.0.1:1", 0);
    struct tbi_addr there = at("30.0.0.1:1");

    ck_assert_int_eq(learn(&w), 0);
    ck_assert_int_eq(tbi_book_met(&book, now, &w.id, &there), 0);
    struct tbi_book_entry *e = tbi_book_get(&book, &w.id);
    e->verified = false; /* as one that was read from the file */
    e->record->data[e->record->size - TBI_SIGNATURE_SIZE] ^= 1;
    ck_assert(!tbi_book_alive(&book, now, e, DAY_MS));
    ck_assert(!tbi_book_genuine(&book, e));
}
END_TEST

START_TEST(the_book_survives_a_restart)
{
    struct tbi_block *bytes = NULL;
    struct tbi_book_entry *some[8];
    struct tbi_addr to[8];
    struct written met = record_of(2, 0, NULL, 0), named = record_of(9, 0, NULL, 0);

    fill_some();
    ck_assert(book.changed);
    ck_assert_int_eq(tbi_book_write(&book, &bytes), 0);
    tbi_book_clear(&book);
    ck_assert_int_eq(tbi_book_read(&book, bytes->data, bytes->size), 0);
    ck_assert(!book.changed);
    ck_assert_uint_eq(tbi_map_count(&book.entries), 4);
    ck_assert_uint_eq(places(&met.id, now.mono_ns, to), 2);
    ck_assert_uint_eq(places(&named.id, now.mono_ns, to), 1);
    ck_assert_int_eq((int)tbi_book_get(&book, &named.id)->standing, TBI_BOOK_NAMED);
    ck_assert_uint_eq(tbi_book_get(&book, &met.id)->seen_ms, now.wall_ms);
    ck_assert_uint_eq(tbi_book_get(&book, &met.id)->sequence, 2);
    verified = 0; /* signatures are checked again before a record is passed on, once */
    ck_assert_uint_eq(tbi_book_sample(&book, 0, NULL, some, 8), 3);
    ck_assert_uint_eq(tbi_book_sample(&book, 0, NULL, some, 8), 3);
    ck_assert_uint_eq(verified, 3);
    tbi_block_unref(bytes);
}
END_TEST

START_TEST(a_damaged_file_is_refused_whole)
{
    struct tbi_block *bytes = NULL;

    fill_some();
    ck_assert_int_eq(tbi_book_write(&book, &bytes), 0);
    tbi_book_clear(&book);
    for (size_t i = 0; i < bytes->size; i++) {
        bytes->data[i] ^= 0x10;
        int rv = tbi_book_read(&book, bytes->data, bytes->size);
        ck_assert_msg(rv == TBQ_ERR_MALFORMED || rv == TBQ_ERR_UNSUPPORTED, "byte %zu: %d", i, rv);
        ck_assert_uint_eq(tbi_map_count(&book.entries), 0);
        ck_assert_int_eq(tbi_book_read(&book, bytes->data, i), TBQ_ERR_MALFORMED);
        bytes->data[i] ^= 0x10;
    }
    bytes->data[14] = '2'; /* "tbq peer book 2" */
    ck_assert_int_eq(tbi_book_read(&book, bytes->data, bytes->size), TBQ_ERR_UNSUPPORTED);
    tbi_block_unref(bytes);
}
END_TEST

static void live_with_little_memory(const struct tbi_alloc *a, void *arg)
{
    struct tbi_block *bytes = NULL;
    struct tbi_book b;
    struct tbi_addr from = at("20.0.0.1:1");

    (void)arg;
    tbi_book_init(&b, a, &crypto, &rng, &self, 2);
    for (unsigned n = 1; n <= 4; n++) {
        struct written w = record_of(n, 1, "30.0.0.1:1", 0);
        int rv = tbi_book_learn(&b, now, w.bytes, w.size, &from);
        ck_assert(rv == 0 || rv == TBQ_ERR_NOMEM || rv == TBQ_ERR_LIMIT); /* full of those met */
        rv = tbi_book_met(&b, now, &w.id, &from);
        ck_assert(rv == 0 || rv == TBQ_ERR_NOMEM);
    }
    if (tbi_book_write(&b, &bytes) == 0) {
        tbi_book_clear(&b);
        int rv = tbi_book_read(&b, bytes->data, bytes->size);
        ck_assert(rv == 0 || rv == TBQ_ERR_NOMEM);
        tbi_block_unref(bytes);
    }
    tbi_book_free(&b);
}

START_TEST(nothing_leaks_when_memory_is_out)
{
    tbi_walk_allocations(live_with_little_memory, NULL);
}
END_TEST

/* Met in a crowd, remembered when it is gone: memory lies between that of what is freed soon. */
START_TEST(what_is_remembered_lies_in_few_pieces)
{
    struct tbi_failing_alloc a;
    struct tbi_book b;
    struct tbi_addr from = at("20.0.0.1:1");

    tbi_failing_init(&a, 0);
    tbi_book_init(&b, &a.alloc, &crypto, &rng, &self, 100);
    for (unsigned n = 1; n <= 100; n++) {
        struct written w = record_of(n, 1, "30.0.0.1:1", 0);
        ck_assert_int_eq(tbi_book_learn(&b, now, w.bytes, w.size, &from), 0);
        ck_assert_int_eq(tbi_book_met(&b, now, &w.id, &from), 0);
    }
    ck_assert_uint_le(a.live, 4); /* a region or two, and the table of the map */
    tbi_book_free(&b);
    ck_assert_uint_eq(a.live, 0);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("book");
    TCase *c = tcase_create("book");
    tcase_add_checked_fixture(c, setup, teardown);
    tcase_add_test(c, a_record_is_entered_once_and_replaced_by_a_newer_one);
    tcase_add_test(c, forged_malformed_and_future_records_are_refused);
    tcase_add_test(c, the_own_record_is_not_entered);
    tcase_add_test(c, what_is_remembered_lies_in_few_pieces);
    tcase_add_test(c, a_flood_of_made_up_peers_displaces_made_up_peers);
    tcase_add_test(c, a_claim_gets_three_tries_and_a_proven_place_gets_them_for_ever);
    tcase_add_test(c, claims_that_cannot_be_true_are_not_dialled_until_they_can);
    tcase_add_test(c, places_of_meetings_are_kept_apart_from_claims_and_bounded);
    tcase_add_test(c, who_is_to_be_dialled_is_picked_fairly_and_says_when_there_is_more);
    tcase_add_test(c, half_the_picks_are_of_acquaintances_however_many_others_there_are);
    tcase_add_test(c, a_sample_prefers_acquaintances_and_honours_capabilities);
    tcase_add_test(c, who_was_met_lately_and_was_not_lost_is_taken_to_live);
    tcase_add_test(c, who_lives_by_a_file_alone_must_have_signed_its_record);
    tcase_add_test(c, the_book_survives_a_restart);
    tcase_add_test(c, a_damaged_file_is_refused_whole);
    tcase_add_test(c, nothing_leaks_when_memory_is_out);
    suite_add_tcase(s, c);
    return tbi_test_main(s);
}
