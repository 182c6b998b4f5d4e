/* tests/unit/test_identity_trust.c - who may speak: the order of pin, deny list, allow list and
 * open, and lists read from text that people write. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"
#include "identity/trust.h"

#define ALICE "eh7ddx5bksrgcytl7bkai36se4nxx3klnk7elksyq57pi74xeg4q"
#define BOB "hh3rhufgiqst6bcssqq3t5i3tmejphiiffmvtrhttehomf7vcopq"
#define CAROL "3lahhyashppklhozwo62tt3ag73dvsucmj6xvpgvyswctxluaa7a"

static struct tbi_alloc alloc;
static struct tbi_trust trust;
static char text[256];

static void setup_with(const tbq_allocator *hook)
{
    static const uint8_t seed[TBI_RNG_SEED_SIZE] = {1};
    struct tbi_rng rng;

    ck_assert_int_eq(tbi_alloc_init(&alloc, hook), 0);
    tbi_rng_init(&rng, seed);
    tbi_trust_init(&trust, &alloc, &rng);
    memset(text, '?', sizeof text - 1);
}

static void setup(void)
{
    setup_with(NULL);
}

static void teardown(void)
{
    tbi_trust_free(&trust);
}

static int load(enum tbi_trust_list which, const char *bytes)
{
    return tbi_trust_load(&trust, which, (tbq_bytes){bytes, strlen(bytes)}, text, sizeof text);
}

/* The close code that the policy answers with; pin may be NULL. */
static uint64_t ask(const char *who, const char *pin)
{
    struct tbi_verdict verdict;
    tbq_peer_id id, pinned;
    struct tbi_trust_query query = {.id = &id, .dialled = pin != NULL};
    int rv;

    ck_assert_int_eq(tbq_peer_id_from_text(&id, who), 0);
    if (pin != NULL) {
        ck_assert_int_eq(tbq_peer_id_from_text(&pinned, pin), 0);
        query.pin = &pinned;
    }
    rv = tbi_trust_ask(&trust, &query, &verdict);
    switch (verdict.close_code) {
    case TBI_CLOSE_NONE:
        ck_assert_int_eq(rv, 0);
        ck_assert_str_eq(verdict.text, "");
        break;
    case TBI_CLOSE_PIN:
        ck_assert_int_eq(rv, TBQ_ERR_IDENTITY);
        break;
    default:
        ck_assert_int_eq(rv, TBQ_ERR_TRUST);
        break;
    }
    if (rv != 0) {
        ck_assert_str_eq(verdict.text, tbi_close_text(verdict.close_code));
    }
    return verdict.close_code;
}

START_TEST(open_lets_everybody_in_who_proved_a_key)
{
    const struct tbi_trust_query nobody = {.id = NULL};
    struct tbi_verdict verdict;

    ck_assert_uint_eq(ask(ALICE, NULL), TBI_CLOSE_NONE);
    ck_assert_str_eq(tbi_trust_name(&trust), "open");
    ck_assert_int_eq(tbi_trust_ask(&trust, &nobody, &verdict), TBQ_ERR_IDENTITY);
    ck_assert_uint_eq(verdict.close_code, TBI_CLOSE_NO_CERTIFICATE);
}
END_TEST

START_TEST(a_pin_admits_one_key_and_overrules_no_list)
{
    ck_assert_uint_eq(ask(ALICE, ALICE), TBI_CLOSE_NONE);
    ck_assert_uint_eq(ask(BOB, ALICE), TBI_CLOSE_PIN);

    ck_assert_int_eq(load(TBI_TRUST_DENY, ALICE "\n"), 0);
    ck_assert_uint_eq(ask(ALICE, ALICE), TBI_CLOSE_DENIED);
    ck_assert_uint_eq(ask(ALICE, BOB), TBI_CLOSE_PIN); /* the pin is asked first */
    ck_assert_int_eq(load(TBI_TRUST_ALLOW, BOB "\n"), 0);
    ck_assert_uint_eq(ask(CAROL, CAROL), TBI_CLOSE_NOT_ALLOWED);
}
END_TEST

START_TEST(who_is_on_both_lists_is_denied)
{
    ck_assert_int_eq(load(TBI_TRUST_ALLOW, ALICE "\n" BOB "\n"), 0);
    ck_assert_str_eq(tbi_trust_name(&trust), "allow");
    ck_assert_uint_eq(ask(BOB, NULL), TBI_CLOSE_NONE);
    ck_assert_int_eq(load(TBI_TRUST_DENY, BOB "\n"), 0);
    ck_assert_str_eq(tbi_trust_name(&trust), "allow+deny");
    ck_assert_uint_eq(ask(ALICE, NULL), TBI_CLOSE_NONE);
    ck_assert_uint_eq(ask(BOB, NULL), TBI_CLOSE_DENIED);
    ck_assert_uint_eq(ask(CAROL, NULL), TBI_CLOSE_NOT_ALLOWED);
}
END_TEST

START_TEST(a_deny_list_alone_leaves_the_rest_open)
{
    ck_assert_int_eq(load(TBI_TRUST_DENY, BOB), 0);
    ck_assert_str_eq(tbi_trust_name(&trust), "open+deny");
    ck_assert_uint_eq(ask(ALICE, NULL), TBI_CLOSE_NONE);
    ck_assert_uint_eq(ask(BOB, NULL), TBI_CLOSE_DENIED);
}
END_TEST

START_TEST(an_empty_allow_list_allows_nobody)
{
    ck_assert_int_eq(load(TBI_TRUST_ALLOW, ""), 0);
    ck_assert_uint_eq(ask(ALICE, NULL), TBI_CLOSE_NOT_ALLOWED);
    ck_assert_int_eq(load(TBI_TRUST_ALLOW, "# nobody yet\n\n"), 0);
    ck_assert_uint_eq(ask(ALICE, NULL), TBI_CLOSE_NOT_ALLOWED);
}
END_TEST

START_TEST(lists_are_written_by_people)
{
    ck_assert_int_eq(load(TBI_TRUST_ALLOW, "# our nodes\r\n"
                                           "\r\n"
                                           "  " ALICE " alice, in the cellar\r\n"
                                           "\t" BOB "# bob\n"
                                           "   \t \n" BOB " again\n"
                                           "#" CAROL "\n"
                                           "# no newline at the end"),
                     0);
    ck_assert_str_eq(text, "");
    ck_assert_uint_eq(ask(ALICE, NULL), TBI_CLOSE_NONE);
    ck_assert_uint_eq(ask(BOB, NULL), TBI_CLOSE_NONE);
    ck_assert_uint_eq(ask(CAROL, NULL), TBI_CLOSE_NOT_ALLOWED);
    ck_assert_int_eq(load(TBI_TRUST_ALLOW, "\n\n" CAROL), 0); /* replaces */
    ck_assert_uint_eq(ask(ALICE, NULL), TBI_CLOSE_NOT_ALLOWED);
    ck_assert_uint_eq(ask(CAROL, NULL), TBI_CLOSE_NONE);
}
END_TEST

START_TEST(a_fault_is_named_with_its_line_and_the_old_list_stands)
{
    static const char nul[] = ALICE "\n" ALICE "\0 \n";
    static const struct {
        const char *list, *text;
    } faults[] = {
        {"bob\n", "line 1: 3 characters, but a peer id has 52"},
        {"# x\n\n" ALICE "\n" BOB "q\n", "line 4: 53 characters, but a peer id has 52"},
        {"Eh7ddx5bksrgcytl7bkai36se4nxx3klnk7elksyq57pi74xeg4q",
         "line 1: character 1 cannot be in a peer id (only a-z and 2-7 can)"},
        {"eh7ddx5bksrgcytl7bkai36se4nxx3klnk7elksyq57pi74xeg41\n",
         "line 1: character 52 cannot be in a peer id (only a-z and 2-7 can)"},
        {"eh7ddx5bksrgcytl7bkai36se4nxx3klnk7elksyq57pi74xeg4b\n",
         "line 1: no peer id ends with 'b'"},
    };

    ck_assert_int_eq(load(TBI_TRUST_ALLOW, ALICE), 0);
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
        ck_assert_int_eq(load(TBI_TRUST_ALLOW, faults[i].list), TBQ_ERR_INVALID);
        ck_assert_str_eq(text, faults[i].text);
        ck_assert_int_eq(load(TBI_TRUST_DENY, faults[i].list), TBQ_ERR_INVALID);
        ck_assert_str_eq(tbi_trust_name(&trust), "allow");
        ck_assert_uint_eq(ask(ALICE, NULL), TBI_CLOSE_NONE);
        ck_assert_uint_eq(ask(BOB, NULL), TBI_CLOSE_NOT_ALLOWED);
    }
    /* A NUL byte is a character like any other, and none of a peer id's. */
    ck_assert_int_eq(tbi_trust_load(&trust, TBI_TRUST_ALLOW, (tbq_bytes){nul, sizeof nul - 1}, text,
                                    sizeof text),
                     TBQ_ERR_INVALID);
    ck_assert_str_eq(text, "line 2: 53 characters, but a peer id has 52");
}
END_TEST

/* A list of n different ids; the last line has the last one again. */
static char *long_list(size_t n, size_t *size)
{
    char *list = malloc((n + 1) * TBQ_PEER_ID_TEXT_SIZE + 1), *at = list;
    tbq_peer_id id;

    ck_assert_ptr_nonnull(list);
    memset(&id, 0, sizeof id);
    for (size_t i = 0; i <= n; i++) {
        size_t number = i < n ? i : n - 1;
        id.bytes[0] = (uint8_t)number;
        id.bytes[1] = (uint8_t)(number >> 8);
        id.bytes[2] = (uint8_t)(number >> 16);
        tbq_peer_id_to_text(&id, at);
        at += TBQ_PEER_ID_TEXT_SIZE;
        at[-1] = '\n';
    }
    *size = (size_t)(at - list);
    return list;
}

START_TEST(lists_have_a_limit)
{
    size_t size;
    char *list = long_list(TBI_TRUST_LIST_MAX, &size);

    ck_assert_int_eq(
        tbi_trust_load(&trust, TBI_TRUST_DENY, (tbq_bytes){list, size}, text, sizeof text), 0);
    ck_assert_uint_eq(tbi_map_count(&trust.list[TBI_TRUST_DENY]), TBI_TRUST_LIST_MAX);
    free(list);
    list = long_list(TBI_TRUST_LIST_MAX + 1, &size);
    ck_assert_int_eq(
        tbi_trust_load(&trust, TBI_TRUST_ALLOW, (tbq_bytes){list, size}, text, sizeof text),
        TBQ_ERR_LIMIT);
    ck_assert_str_eq(text, "line 65537: more than 65536 peer ids");
    ck_assert_str_eq(tbi_trust_name(&trust), "open+deny");
    free(list);

    list = calloc(1, TBI_TRUST_LIST_SIZE_MAX + 1);
    ck_assert_ptr_nonnull(list);
    ck_assert_int_eq(tbi_trust_load(&trust, TBI_TRUST_ALLOW,
                                    (tbq_bytes){list, TBI_TRUST_LIST_SIZE_MAX + 1}, text,
                                    sizeof text),
                     TBQ_ERR_LIMIT);
    ck_assert_str_eq(text, "larger than 16777216 bytes");
    free(list);
}
END_TEST

/* --- Allocation that fails at the n-th time --------------------------------------------------- */

static size_t until_failure, in_use;

static void *meagre_alloc(void *user, size_t size)
{
    (void)user;
    if (until_failure == 0) {
        return NULL;
    }
    until_failure--;
    in_use++;
    return malloc(size);
}

static void *meagre_realloc(void *user, void *ptr, size_t size)
{
    return ptr == NULL ? meagre_alloc(user, size) : realloc(ptr, size);
}

static void meagre_free(void *user, void *ptr)
{
    (void)user;
    in_use -= ptr != NULL ? 1 : 0;
    free(ptr);
}

START_TEST(a_list_is_loaded_whole_or_not_at_all)
{
    static const tbq_allocator meagre = {meagre_alloc, meagre_realloc, meagre_free, NULL};
    size_t n = 0, before;
    int rv = TBQ_ERR_NOMEM;

    until_failure = SIZE_MAX;
    setup_with(&meagre);
    ck_assert_int_eq(load(TBI_TRUST_ALLOW, ALICE), 0);
    before = in_use;
    for (; rv != 0; n++) {
        ck_assert_uint_lt(n, 100);
        until_failure = n;
        rv = load(TBI_TRUST_ALLOW, BOB "\n" CAROL);
        if (rv != 0) {
            ck_assert_int_eq(rv, TBQ_ERR_NOMEM);
            ck_assert_str_eq(text, "out of memory");
            ck_assert_uint_eq(in_use, before);
            ck_assert_uint_eq(ask(ALICE, NULL), TBI_CLOSE_NONE);
            ck_assert_uint_eq(ask(BOB, NULL), TBI_CLOSE_NOT_ALLOWED);
        }
    }
    ck_assert_uint_gt(n, 2);
    ck_assert_uint_eq(ask(ALICE, NULL), TBI_CLOSE_NOT_ALLOWED);
    ck_assert_uint_eq(ask(BOB, NULL), TBI_CLOSE_NONE);
    teardown();
    ck_assert_uint_eq(in_use, 0);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("identity/trust");
    TCase *policy = tcase_create("policy"), *lists = tcase_create("lists");
    TCase *memory = tcase_create("memory");

    tcase_add_checked_fixture(policy, setup, teardown);
    tcase_add_test(policy, open_lets_everybody_in_who_proved_a_key);
    tcase_add_test(policy, a_pin_admits_one_key_and_overrules_no_list);
    tcase_add_test(policy, who_is_on_both_lists_is_denied);
    tcase_add_test(policy, a_deny_list_alone_leaves_the_rest_open);
    tcase_add_test(policy, an_empty_allow_list_allows_nobody);
    suite_add_tcase(s, policy);

    tcase_add_checked_fixture(lists, setup, teardown);
    tcase_add_test(lists, lists_are_written_by_people);
    tcase_add_test(lists, a_fault_is_named_with_its_line_and_the_old_list_stands);
    tcase_add_test(lists, lists_have_a_limit);
    suite_add_tcase(s, lists);
    tcase_add_test(memory, a_list_is_loaded_whole_or_not_at_all);
    suite_add_tcase(s, memory);
    return tbi_test_main(s);
}
