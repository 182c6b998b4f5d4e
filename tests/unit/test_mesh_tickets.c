/* tests/unit/test_mesh_tickets.c - session tickets and address tokens: whose they are, what is
 * forgotten, and what a file may bring back. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"
#include "mesh/tickets.h"

static struct tbi_alloc heap;
static struct tbi_tickets tickets;
static struct tbi_addr here, there;
static const tbq_peer_id b = {{0xbb}}, c = {{0xcc}};

static const struct tbi_crypto crypto = {.hash = tbi_test_hash};
static const uint8_t secret[16] = {1};

static void begin(void)
{
    ck_assert_int_eq(tbi_alloc_init(&heap, NULL), 0);
    ck_assert_int_eq(tbi_addr_from_text(&here, "192.0.2.1:1000"), 0);
    ck_assert_int_eq(tbi_addr_from_text(&there, "[2001:db8::2]:2000"), 0);
    tbi_tickets_init(&tickets, &heap, &crypto, secret);
}

static void end(void)
{
    tbi_tickets_free(&tickets);
}

static void keep(const tbq_peer_id *id, const struct tbi_addr *at, const char *ticket)
{
    tbi_tickets_keep(&tickets, id, at, (const uint8_t *)ticket, strlen(ticket));
}

static void keep_token(const tbq_peer_id *id, const struct tbi_addr *at, const char *token)
{
    tbi_tickets_keep_token(&tickets, id, at, (const uint8_t *)token, strlen(token));
}

static bool is(const struct tbi_block *block, const char *text)
{
    return block != NULL && block->size == strlen(text) &&
           memcmp(block->data, text, block->size) == 0;
}

START_TEST(each_peer_has_its_own_and_the_newest_counts)
{
    keep(&b, &here, "old");
    keep(&b, &here, "new");
    keep(&c, &there, "other");
    keep_token(&b, &here, "token");
    ck_assert(is(tbi_tickets_find(&tickets, &b, &there)->ticket, "new"));
    ck_assert(is(tbi_tickets_find(&tickets, &b, &there)->token, "token"));
    ck_assert(is(tbi_tickets_find(&tickets, &c, &here)->ticket, "other"));
    ck_assert(is(tbi_tickets_find(&tickets, NULL, &there)->ticket, "other"));
    keep(&b, &there, "newer"); /* elsewhere: the token was for the other address */
    ck_assert_ptr_null(tbi_tickets_find(&tickets, &b, &there)->token);
    ck_assert_ptr_null(tbi_tickets_find(&tickets, NULL, &here));
}
END_TEST

START_TEST(whoever_was_heard_of_least_recently_is_forgotten)
{
    tbq_peer_id id = {{0}};

    for (unsigned i = 0; i <= TBI_TICKETS_MAX; i++) {
        id.bytes[0] = (uint8_t)i;
        id.bytes[1] = (uint8_t)(i >> 8);
        keep(&id, &here, "ticket");
        if (i == TBI_TICKETS_MAX - 1) {
            memset(&id, 0, sizeof id);
            keep_token(&id, &here, "the first one is heard of again");
        }
    }
    ck_assert_uint_eq(tbi_map_count(&tickets.by_peer), TBI_TICKETS_MAX);
    memset(&id, 0, sizeof id);
    ck_assert_ptr_nonnull(tbi_tickets_find(&tickets, &id, &here));
    id.bytes[0] = 1;
    ck_assert_ptr_null(tbi_tickets_find(&tickets, &id, &here));
}
END_TEST

START_TEST(what_is_too_large_is_not_kept)
{
    uint8_t *large = calloc(1, TBI_TICKET_SIZE_MAX + 1);

    ck_assert_ptr_nonnull(large);
    tbi_tickets_keep(&tickets, &b, &here, large, TBI_TICKET_SIZE_MAX + 1);
    tbi_tickets_keep_token(&tickets, &b, &here, large, TBI_TICKET_TOKEN_MAX + 1);
    ck_assert_ptr_null(tbi_tickets_find(&tickets, &b, &here));
    tbi_tickets_keep(&tickets, &b, &here, large, TBI_TICKET_SIZE_MAX);
    ck_assert_ptr_nonnull(tbi_tickets_find(&tickets, &b, &here));
    free(large);
}
END_TEST

START_TEST(a_file_brings_back_what_is_not_used_up)
{
    struct tbi_block *file;

    keep(&b, &here, "ticket of b");
    keep_token(&b, &here, "used");
    tbi_tickets_find(&tickets, &b, &here)->token_used = true;
    keep(&c, &there, "ticket of c");
    keep_token(&c, &there, "not used");
    ck_assert(tickets.changed);
    ck_assert_int_eq(tbi_tickets_write(&tickets, &file), 0);
    ck_assert(!tickets.changed);
    keep(&c, &there, "is replaced");
    ck_assert_int_eq(tbi_tickets_read(&tickets, file->data, file->size), 0);
    ck_assert(!tickets.changed);
    ck_assert(is(tbi_tickets_find(&tickets, &b, &here)->ticket, "ticket of b"));
    ck_assert_ptr_null(tbi_tickets_find(&tickets, &b, &here)->token);
    ck_assert(is(tbi_tickets_find(&tickets, NULL, &there)->ticket, "ticket of c"));
    ck_assert(is(tbi_tickets_find(&tickets, NULL, &there)->token, "not used"));
    tbi_block_unref(file);
}
END_TEST

static int read_copy(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size + (size == 0)); /* so that reading past it is seen */

    ck_assert_ptr_nonnull(copy);
    memcpy(copy, data, size);
    int rv = tbi_tickets_read(&tickets, copy, size);
    free(copy);
    return rv;
}

START_TEST(a_file_that_is_damaged_or_foreign_brings_nothing)
{
    struct tbi_block *file;

    keep(&b, &here, "ticket");
    keep_token(&b, &here, "token");
    ck_assert_int_eq(tbi_tickets_write(&tickets, &file), 0);
    for (size_t i = 0; i < file->size; i++) {
        ck_assert_int_eq(read_copy(file->data, i), TBQ_ERR_MALFORMED);
        file->data[i] ^= 0x10;
        ck_assert_int_lt(read_copy(file->data, file->size), 0);
        ck_assert_uint_eq(tbi_map_count(&tickets.by_peer), 0);
        file->data[i] ^= 0x10;
    }
    file->data[12] = '2';
    ck_assert_int_eq(read_copy(file->data, file->size), TBQ_ERR_UNSUPPORTED);
    tbi_block_unref(file);
}
END_TEST

/* One whose hash is right, and nothing else: lengths that lie are noticed. */
START_TEST(lengths_in_a_file_are_checked)
{
    struct tbi_block *file;

    keep(&b, &here, "ticket");
    ck_assert_int_eq(tbi_tickets_write(&tickets, &file), 0);
    size_t body = file->size - TBI_HASH_SIZE;
    for (size_t i = strlen("tbq tickets 1\n"); i < body; i++) {
        for (unsigned value = 0; value < 256; value += 51) {
            uint8_t before = file->data[i];
            file->data[i] = (uint8_t)value;
            tbi_test_hash(NULL, file->data, body, file->data + body);
            (void)read_copy(file->data, file->size);
            ck_assert_uint_le(tbi_map_count(&tickets.by_peer), 1);
            file->data[i] = before;
        }
    }
    tbi_block_unref(file);
}
END_TEST

static void some_work(const struct tbi_alloc *a, void *arg)
{
    struct tbi_tickets t;
    struct tbi_block *file = NULL;
    (void)arg;

    tbi_tickets_init(&t, a, &crypto, secret);
    tbi_tickets_keep(&t, &b, &here, (const uint8_t *)"ticket", 6);
    tbi_tickets_keep_token(&t, &b, &here, (const uint8_t *)"token", 5);
    tbi_tickets_keep(&t, &c, &there, (const uint8_t *)"ticket", 6);
    if (tbi_tickets_write(&t, &file) == 0) {
        (void)tbi_tickets_read(&t, file->data, file->size);
    }
    tbi_block_unref(file);
    tbi_tickets_free(&t);
}

START_TEST(without_memory_less_is_kept)
{
    tbi_walk_allocations(some_work, NULL);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("mesh/tickets");
    TCase *t = tcase_create("tickets");

    tcase_add_checked_fixture(t, begin, end);
    tcase_add_test(t, each_peer_has_its_own_and_the_newest_counts);
    tcase_add_test(t, whoever_was_heard_of_least_recently_is_forgotten);
    tcase_add_test(t, what_is_too_large_is_not_kept);
    tcase_add_test(t, a_file_brings_back_what_is_not_used_up);
    tcase_add_test(t, a_file_that_is_damaged_or_foreign_brings_nothing);
    tcase_add_test(t, lengths_in_a_file_are_checked);
    tcase_add_test(t, without_memory_less_is_kept);
    suite_add_tcase(s, t);
    return tbi_test_main(s);
}
