/* tests/unit/test_base_text.c - addresses, targets, peer ids, errors and log lines as text, and
 * what must not be taken for one of them. */
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "base/addr.h"
#include "base/log.h"
#include "harness.h"

static struct tbi_addr addr(const char *text)
{
    struct tbi_addr a;
    ck_assert_msg(tbi_addr_from_text(&a, text) == 0, "%s", text);
    return a;
}

START_TEST(addresses_come_back_as_written)
{
    static const char *const same[] = {"192.0.2.1:8443", "0.0.0.0:0", "255.255.255.255:65535",
                                       "[2001:db8::1]:8443", "[::]:1"};
    static const char *const other[][2] = {
        {"[2001:DB8:0:0::1]:1", "[2001:db8::1]:1"},
        {"[::ffff:192.0.2.7]:9", "192.0.2.7:9"}, /* held as IPv4, always */
    };
    char text[TBI_ADDR_TEXT_SIZE];

    for (size_t i = 0; i < sizeof same / sizeof same[0]; i++) {
        struct tbi_addr a = addr(same[i]);
        tbi_addr_to_text(&a, text);
        ck_assert_str_eq(text, same[i]);
    }
    for (size_t i = 0; i < sizeof other / sizeof other[0]; i++) {
        struct tbi_addr a = addr(other[i][0]);
        tbi_addr_to_text(&a, text);
        ck_assert_str_eq(text, other[i][1]);
    }
    tbi_addr_to_text(&(struct tbi_addr){.len = 0}, text);
    ck_assert_str_eq(text, "none");
}
END_TEST

START_TEST(no_address_is_made_of_other_text)
{
    static const char *const bad[] = {"",
                                      ":",
                                      ":1",
                                      "1",
                                      "[",
                                      "]",
                                      "[]",
                                      "[]:1",
                                      "[::1]",
                                      "[::1]1",
                                      "[::1",
                                      "::1:1",
                                      "[[::1]]:1",
                                      "192.0.2.1",
                                      "192.0.2.1:",
                                      "192.0.2.1:-1",
                                      "192.0.2.1:+1",
                                      "192.0.2.1: 1",
                                      "192.0.2.1:01",
                                      "192.0.2.1:65536",
                                      "192.0.2.1:99999",
                                      "192.0.2.1:100000",
                                      "192.0.2.1:1 ",
                                      "192.0.2.1:1x",
                                      "192.0.2:1",
                                      "192.0.2.256:1",
                                      "192.0.2.1.1:1",
                                      "0x7f.0.0.1:1",
                                      "[192.0.2.1]:1",
                                      " 1.1.1.1:1",
                                      "localhost:1",
                                      "[fe80::1%eth0]:1",
                                      "[1:2:3:4:5:6:7:8:9]:1",
                                      "[0000:0000:0000:0000:0000:0000:255.255.255.2550]:1"};
    struct tbi_addr a;

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        ck_assert_msg(tbi_addr_from_text(&a, bad[i]) == TBQ_ERR_ADDRESS, "'%s'", bad[i]);
        ck_assert_uint_eq(a.len, 0);
    }
}
END_TEST

START_TEST(addresses_come_from_sockets_and_bytes)
{
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_flowinfo = 77};
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(5)};
    static const uint8_t four[4] = {192, 0, 2, 1};
    struct tbi_addr a, b;
    size_t size;

    in.sin_addr.s_addr = htonl(0xc0000201);
    ck_assert_int_eq(tbi_addr_from_sockaddr(&a, (struct sockaddr *)&in, sizeof in), 0);
    ck_assert_int_eq(tbi_addr_from_bytes(&b, four, 4, 5), 0);
    ck_assert(tbi_addr_equal(&a, &b));
    ck_assert_mem_eq(tbi_addr_bytes(&a, &size), four, 4);
    ck_assert_uint_eq(size, 4);
    tbi_addr_to_v6(&b);
    tbi_addr_to_v6(&b); /* IPv6 stays what it is */
    ck_assert_uint_eq(b.len, sizeof in6);
    ck_assert(!tbi_addr_equal(&a, &b));
    struct tbi_addr back;
    ck_assert_int_eq(tbi_addr_from_sockaddr(&back, &b.u.sa, b.len), 0);
    ck_assert_int_eq(tbi_addr_from_sockaddr(&back, &back.u.sa, back.len), 0); /* in place */
    ck_assert(tbi_addr_equal(&a, &back));

    inet_pton(AF_INET6, "fe80::1", &in6.sin6_addr);
    in6.sin6_scope_id = 3;
    ck_assert_int_eq(tbi_addr_from_sockaddr(&a, (struct sockaddr *)&in6, sizeof in6), 0);
    ck_assert_uint_eq(a.u.in6.sin6_flowinfo, 0);
    ck_assert_uint_eq(tbi_addr_port(&a), 0);
    in6.sin6_scope_id = 4; /* the same number on another link is another host */
    ck_assert_int_eq(tbi_addr_from_sockaddr(&b, (struct sockaddr *)&in6, sizeof in6), 0);
    ck_assert(!tbi_addr_equal(&a, &b));

    ck_assert_int_eq(tbi_addr_from_sockaddr(&a, (struct sockaddr *)&in, sizeof in - 1),
                     TBQ_ERR_ADDRESS);
    ck_assert_int_eq(tbi_addr_from_sockaddr(&a, (struct sockaddr *)&in6, sizeof in6 - 1),
                     TBQ_ERR_ADDRESS);
    in.sin_family = AF_UNIX;
    ck_assert_int_eq(tbi_addr_from_sockaddr(&a, (struct sockaddr *)&in, sizeof in),
                     TBQ_ERR_ADDRESS);
    ck_assert_int_eq(tbi_addr_from_bytes(&a, four, 3, 5), TBQ_ERR_ADDRESS);
    ck_assert_ptr_null(tbi_addr_bytes(&a, &size));
    ck_assert_uint_eq(size, 0);
    ck_assert_uint_eq(tbi_addr_port(&a), 0);
    tbi_addr_set_port(&a, 9);
    ck_assert(!tbi_addr_is_any(&a) && !tbi_addr_is_loopback(&a));
    ck_assert(tbi_addr_equal(&a, &(struct tbi_addr){.len = 0}));
}
END_TEST

START_TEST(addresses_say_what_they_are)
{
    struct tbi_addr any4 = addr("0.0.0.0:1"), any6 = addr("[::]:1");
    struct tbi_addr lo4 = addr("127.9.9.9:1"), lo6 = addr("[::1]:1");
    struct tbi_addr far4 = addr("128.0.0.1:1"), far6 = addr("[2001:db8::1]:1");

    ck_assert(tbi_addr_is_any(&any4) && tbi_addr_is_any(&any6));
    ck_assert(!tbi_addr_is_any(&lo4) && !tbi_addr_is_any(&lo6));
    ck_assert(tbi_addr_is_loopback(&lo4) && tbi_addr_is_loopback(&lo6));
    ck_assert(!tbi_addr_is_loopback(&far4) && !tbi_addr_is_loopback(&far6));
    tbi_addr_set_port(&far4, 500);
    tbi_addr_set_port(&far6, 600);
    ck_assert_uint_eq(tbi_addr_port(&far4), 500);
    ck_assert_uint_eq(tbi_addr_port(&far6), 600);
    ck_assert(!tbi_addr_equal(&lo4, &lo6));
    struct tbi_addr moved = lo4;
    tbi_addr_set_port(&moved, 2);
    ck_assert(!tbi_addr_equal(&lo4, &moved));
}
END_TEST

#define ZERO_ID "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define LABEL_63 "a23456789-123456789-123456789-123456789-123456789-123456789-123"

START_TEST(targets_are_read_and_written)
{
    struct tbi_target t;
    char text[TBQ_URI_SIZE];
    static const char *const same[] = {"node.example:8443",
                                       "localhost:1",
                                       "a_b.example.:2",
                                       "192.0.2.1:3",
                                       "[2001:db8::1]:4",
                                       "tbq://" ZERO_ID "@node.example:5",
                                       "tbq://" ZERO_ID "@[::1]:6",
                                       LABEL_63 ".example:7"};

    for (size_t i = 0; i < sizeof same / sizeof same[0]; i++) {
        ck_assert_msg(tbi_target_parse(&t, same[i]) == 0, "%s", same[i]);
        ck_assert(t.pinned == (strncmp(same[i], "tbq:", 4) == 0));
        tbi_target_to_text(&t, text);
        ck_assert_str_eq(text, same[i]);
    }
    ck_assert_int_eq(tbi_target_parse(&t, "192.0.2.1:3"), 0);
    struct tbi_addr a = addr("192.0.2.1:3");
    ck_assert(t.numeric && tbi_addr_equal(&t.addr, &a));
    ck_assert_int_eq(tbi_target_parse(&t, "node.example:8443"), 0);
    ck_assert(!t.numeric && t.addr.len == 0 && t.port == 8443);
    ck_assert_str_eq(t.host, "node.example");
}
END_TEST

START_TEST(the_longest_target_fits)
{
    char host[256], text[TBQ_URI_SIZE + 2], back[TBQ_URI_SIZE];
    struct tbi_target t;

    for (size_t i = 0; i < 253; i++) {
        host[i] = i % 64 == 63 ? '.' : 'a';
    }
    host[253] = '\0';
    snprintf(text, sizeof text, "tbq://" ZERO_ID "@%s:65535", host);
    ck_assert_uint_lt(strlen(text), TBQ_URI_SIZE);
    ck_assert_int_eq(tbi_target_parse(&t, text), 0);
    tbi_target_to_text(&t, back);
    ck_assert_str_eq(back, text);
    host[253] = 'a';
    host[254] = '\0';
    snprintf(text, sizeof text, "%s:65535", host);
    ck_assert_int_eq(tbi_target_parse(&t, text), TBQ_ERR_ADDRESS);
}
END_TEST

START_TEST(no_target_is_made_of_other_text)
{
    static const char *const places[] = {"",
                                         ":1",
                                         "host",
                                         "host:",
                                         "host:65536",
                                         "host:1:2",
                                         "ho st:1",
                                         "host/:1",
                                         "-host:1",
                                         "host-:1",
                                         "host-.example:1",
                                         "a..b:1",
                                         ".a:1",
                                         ".:1",
                                         "1.2.3:1",
                                         "1.2.3.4.:1",
                                         "1.2.3.400:1",
                                         "::1:1",
                                         "[host]:1",
                                         "\xc3\xa9:1",
                                         "a@b:1",
                                         LABEL_63 "4:1",
                                         "tbq://" ZERO_ID "@",
                                         "tbq://" ZERO_ID "@:1",
                                         "tbq://" ZERO_ID "@tbq://" ZERO_ID "@a:1",
                                         "TBQ://a:1"};
    static const char *const ids[] = {"tbq://",
                                      "tbq://host:1",
                                      "tbq://@host:1",
                                      "tbq://a@host:1",
                                      "tbq://" ZERO_ID "a@host:1",
                                      "tbq://A"
                                      "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
                                      "@host:1"};
    struct tbi_target t;

    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        ck_assert_msg(tbi_target_parse(&t, places[i]) == TBQ_ERR_ADDRESS, "'%s'", places[i]);
    }
    for (size_t i = 0; i < sizeof ids / sizeof ids[0]; i++) {
        ck_assert_msg(tbi_target_parse(&t, ids[i]) == TBQ_ERR_INVALID, "'%s'", ids[i]);
    }
}
END_TEST

/* RFC 4648, section 10: the vectors of base32, which zeroes follow here. */
START_TEST(peer_ids_are_base32)
{
    static const char *const vectors[][2] = {{"", ""},
                                             {"f", "my"},
                                             {"fo", "mzxq"},
                                             {"foo", "mzxw6"},
                                             {"foob", "mzxw6yq"},
                                             {"fooba", "mzxw6ytb"},
                                             {"foobar", "mzxw6ytboi"}};
    char text[TBQ_PEER_ID_TEXT_SIZE];

    for (size_t i = 0; i < sizeof vectors / sizeof vectors[0]; i++) {
        char expected[] = ZERO_ID;
        tbq_peer_id id = {{0}}, back;
        memcpy(id.bytes, vectors[i][0], strlen(vectors[i][0]));
        memcpy(expected, vectors[i][1], strlen(vectors[i][1]));
        tbq_peer_id_to_text(&id, text);
        ck_assert_str_eq(text, expected);
        ck_assert_int_eq(tbq_peer_id_from_text(&back, text), 0);
        ck_assert_int_eq(tbq_peer_id_compare(&id, &back), 0);
    }
    tbq_peer_id ones;
    memset(&ones, 0xff, sizeof ones);
    tbq_peer_id_to_text(&ones, text);
    ck_assert_str_eq(text, "777777777777777777777777777777777777777777777777777q");
    ck_assert_int_gt(tbq_peer_id_compare(&ones, &(tbq_peer_id){{0}}), 0);
}
END_TEST

START_TEST(a_peer_id_has_one_text)
{
    static const char *const strange = "AZ0189=-+/ \n\x80@_";
    tbq_peer_id id, kept;
    char text[TBQ_PEER_ID_TEXT_SIZE + 1] = ZERO_ID;

    memset(&id, 0x5a, sizeof id);
    kept = id;
    for (const char *c = strange; *c != '\0'; c++) {
        for (size_t at = 0; at < 52; at += 17) {
            text[at] = *c;
            ck_assert_int_eq(tbq_peer_id_from_text(&id, text), TBQ_ERR_INVALID);
            text[at] = 'a';
        }
    }
    for (const char *c = "abcdefghijklmnopqrstuvwxyz234567"; *c != '\0'; c++) {
        text[51] = *c; /* one bit of the last character counts */
        tbq_peer_id last;
        ck_assert_int_eq(tbq_peer_id_from_text(&last, text),
                         *c == 'a' || *c == 'q' ? 0 : TBQ_ERR_INVALID);
    }
    text[51] = '\0';
    ck_assert_int_eq(tbq_peer_id_from_text(&id, text), TBQ_ERR_INVALID);
    ck_assert_int_eq(tbq_peer_id_from_text(&id, ZERO_ID "a"), TBQ_ERR_INVALID);
    ck_assert_int_eq(tbq_peer_id_from_text(&id, ""), TBQ_ERR_INVALID);
    ck_assert_int_eq(tbq_peer_id_from_text(&id, NULL), TBQ_ERR_INVALID);
    ck_assert_int_eq(tbq_peer_id_from_text(NULL, ZERO_ID), TBQ_ERR_INVALID);
    ck_assert_mem_eq(&id, &kept, sizeof id); /* untouched by all that failed */
}
END_TEST

START_TEST(every_error_has_a_name_and_a_sentence)
{
#define CHECK_ERROR(name, number, text)                                                            \
    ck_assert_str_eq(tbq_error_name(TBQ_ERR_##name), "TBQ_ERR_" #name);                            \
    ck_assert_str_eq(tbq_strerror(number), text);
    TBQ_ERROR_MAP(CHECK_ERROR)
    ck_assert_str_eq(tbq_error_name(0), "TBQ_OK");
    ck_assert_str_eq(tbq_strerror(0), "success");
    ck_assert_str_eq(tbq_error_name(-1000), "TBQ_ERR_UNKNOWN");
    ck_assert_str_eq(tbq_strerror(7), "unknown error");
    ck_assert_str_eq(tbq_version(), TBQ_VERSION_TEXT);
}
END_TEST

static void remember(void *user, tbq_log_level level, const char *line)
{
    snprintf(user, 2 * TBI_LOG_LINE_MAX, "%d %s", (int)level, line);
}

START_TEST(log_lines_are_filtered_and_cut)
{
    char seen[2 * TBI_LOG_LINE_MAX] = "";
    char wide[2 * TBI_LOG_LINE_MAX];
    char small[8];
    struct tbi_log log = {.level = TBQ_LOG_INFO, .write = remember, .user = seen};

    tbi_log(&log, TBQ_LOG_DEBUG, "not %s", "seen");
    ck_assert_str_eq(seen, "");
    tbi_log(&log, TBQ_LOG_INFO, "%d of %s", 3, "these");
    ck_assert_str_eq(seen, "2 3 of these");
    memset(wide, 'x', sizeof wide - 1);
    wide[sizeof wide - 1] = '\0';
    tbi_log(&log, TBQ_LOG_ERROR, "%s", wide);
    ck_assert_uint_eq(strlen(seen), 2 + TBI_LOG_LINE_MAX - 1);
    ck_assert_str_eq(seen + strlen(seen) - 4, "x...");
    seen[0] = '\0';
    tbi_log(&log, TBQ_LOG_ERROR, "%s", "bye\nready: \x1b[2J\xc2\x9b\x7f\xc3\xa4");
    ck_assert_str_eq(seen, "0 bye?ready: ?[2J???\xc3\xa4"); /* one line, whoever wrote it */
    log.write = NULL;
    tbi_log(&log, TBQ_LOG_ERROR, "nowhere");
    tbi_log(NULL, TBQ_LOG_ERROR, "nowhere");

    tbi_text(small, sizeof small, "%s", "1234567");
    ck_assert_str_eq(small, "1234567");
    tbi_text(small, sizeof small, "%s", "12345678");
    ck_assert_str_eq(small, "1234...");
    tbi_text(small, 1, "%s", "12345678");
    ck_assert_str_eq(small, "");
    tbi_text(small, 0, "%s", "x");
    tbi_text(NULL, 5, "%s", "x");
    ck_assert_str_eq(small, "");
}
END_TEST

int main(void)
{
    Suite *s = suite_create("base_text");
    TCase *t = tcase_create("text");

    tcase_add_test(t, addresses_come_back_as_written);
    tcase_add_test(t, no_address_is_made_of_other_text);
    tcase_add_test(t, addresses_come_from_sockets_and_bytes);
    tcase_add_test(t, addresses_say_what_they_are);
    tcase_add_test(t, targets_are_read_and_written);
    tcase_add_test(t, the_longest_target_fits);
    tcase_add_test(t, no_target_is_made_of_other_text);
    tcase_add_test(t, peer_ids_are_base32);
    tcase_add_test(t, a_peer_id_has_one_text);
    tcase_add_test(t, every_error_has_a_name_and_a_sentence);
    tcase_add_test(t, log_lines_are_filtered_and_cut);
    suite_add_tcase(s, t);
    return tbi_test_main(s);
}
