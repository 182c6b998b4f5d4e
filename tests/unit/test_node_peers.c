/* tests/unit/test_node_peers.c - what a node believes of what peers say of themselves. */
#include <check.h>
#include <string.h>

#include "harness.h"
#include "identity_help.h"
#include "node/parts.h"
#include "wire/record.h"

static struct tbi_alloc alloc;
static struct tbi_node node;
static struct tbi_identity *us, *them, *other;
static struct tbi_addr from;

static void setup(void)
{
    ck_assert_int_eq(tbi_alloc_init(&alloc, NULL), 0);
    us = identity_from(&alloc, 1);
    them = identity_from(&alloc, 2);
    other = identity_from(&alloc, 3);
    memset(&node, 0, sizeof node);
    node.alloc = &alloc;
    node.cfg.identity = us;
    node.cfg.settings.max_connections = 8;
    rng_from(&node.rng, 9);
    tbi_heap_init(&node.timers, &alloc);
    tbi_events_init(&node.events, &alloc);
    ck_assert_int_eq(tbi_discovery_init(&node), 0);
    ck_assert_int_eq(tbi_addr_from_text(&from, "192.0.2.1:8443"), 0);
}

static void teardown(void)
{
    struct tbi_event *e;
    while ((e = tbi_events_hand_out(&node.events)) != NULL) {
        tbi_event_free(e);
    }
    tbi_discovery_free(&node);
    tbi_heap_free(&node.timers);
    tbi_identity_free(us);
    tbi_identity_free(them);
    tbi_identity_free(other);
}

static struct tbi_block *record_of(const struct tbi_identity *who, uint64_t sequence)
{
    uint8_t bytes[TBI_RECORD_SIZE_MAX];
    size_t size = 0;
    struct tbi_record r = {.sequence = sequence, .role = TBQ_ROLE_TIME_KEEPER};

    memcpy(r.key, tbi_identity_key(who), sizeof r.key);
    ck_assert_int_eq(tbi_record_seal(&r, tbi_identity_crypto(who), bytes, sizeof bytes, &size), 0);
    return tbi_block_copy(&alloc, bytes, size);
}

static int learn(struct tbi_block *record)
{
    int rv = tbi_discovery_own_word(&node, tbi_identity_key(them), record, &from);
    tbi_block_unref(record);
    return rv;
}

static const struct tbi_book_entry *known(void)
{
    return tbi_book_get(&node.discovery.book, tbi_identity_id(them));
}

START_TEST(a_peers_own_record_is_kept_and_a_newer_one_replaces_it)
{
    ck_assert_int_eq(learn(record_of(them, 10)), 0);
    ck_assert_uint_eq(known()->sequence, 10);
    ck_assert_int_eq(learn(record_of(them, 12)), 0);
    ck_assert_uint_eq(known()->sequence, 12);
    ck_assert_int_eq(learn(record_of(them, 11)), 0); /* late: not an error, not kept */
    ck_assert_uint_eq(known()->sequence, 12);
    ck_assert_int_eq(learn(record_of(them, 12)), 0); /* the same again */
    ck_assert_uint_eq(known()->sequence, 12);
}
END_TEST

START_TEST(anothers_record_is_a_violation)
{
    ck_assert_int_eq(learn(record_of(other, 10)), TBQ_ERR_PROTOCOL);
    ck_assert_ptr_null(known());
}
END_TEST

START_TEST(every_changed_byte_is_a_violation_or_not_kept)
{
    struct tbi_block *good = record_of(them, 10);
    for (size_t i = 0; i < good->size; i++) {
        struct tbi_block *bad = tbi_block_copy(&alloc, good->data, good->size);
        bad->data[i] ^= 0x01;
        int rv = learn(bad);
        ck_assert_msg(rv == TBQ_ERR_PROTOCOL || rv == 0, "byte %zu: %d", i, rv);
        ck_assert_ptr_null(known());
    }
    ck_assert_int_eq(learn(good), 0);
    ck_assert_ptr_nonnull(known());
}
END_TEST

START_TEST(a_cut_record_is_a_violation)
{
    struct tbi_block *good = record_of(them, 10);
    for (size_t size = 1; size < good->size; size++) {
        ck_assert_int_eq(learn(tbi_block_copy(&alloc, good->data, size)), TBQ_ERR_PROTOCOL);
    }
    tbi_block_unref(good);
    ck_assert_ptr_null(known());
}
END_TEST

int main(void)
{
    Suite *s = suite_create("peers");
    TCase *c = tcase_create("records");
    tcase_add_checked_fixture(c, setup, teardown);
    tcase_add_test(c, a_peers_own_record_is_kept_and_a_newer_one_replaces_it);
    tcase_add_test(c, anothers_record_is_a_violation);
    tcase_add_test(c, every_changed_byte_is_a_violation_or_not_kept);
    tcase_add_test(c, a_cut_record_is_a_violation);
    suite_add_tcase(s, c);
    return tbi_test_main(s);
}
