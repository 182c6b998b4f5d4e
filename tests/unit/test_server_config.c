/* tests/unit/test_server_config.c - lib/server/config.c: every field's default, its range and the
 * text that names field and value; structs of callers that are older or newer than the library. */
#include <tbquic/actor.h>
#include <tbquic/server.h>

#include <stdio.h>
#include <string.h>

#include "harness.h"
#include "server/config.h"

struct given {
    tbq_config c;
    struct tbi_settings s;
    char why[256];
};

static struct given *begin(void)
{
    static struct given g;
    memset(&g, 0, sizeof g);
    tbq_config_init(&g.c);
    g.c.error_text = g.why;
    g.c.error_text_size = sizeof g.why;
    return &g;
}

static void good(struct given *g)
{
    ck_assert_msg(tbi_settings_read(&g->s, &g->c) == 0, "refused: %s", g->why);
    ck_assert_str_eq(g->why, "");
}

static void bad(struct given *g, int error, const char *text)
{
    ck_assert_int_eq(tbi_settings_read(&g->s, &g->c), error);
    ck_assert_str_eq(g->why, text);
}

START_TEST(the_defaults_are_those_of_the_manual)
{
    struct given *g = begin();
    good(g);
    const tbq_config *c = &g->s.c;
    ck_assert_uint_eq(c->size, sizeof *c);
    ck_assert_ptr_null(c->bind_address);
    ck_assert_uint_eq(c->bind_port, 8443);
    ck_assert_ptr_null(c->cert_path);
    ck_assert_ptr_null(c->key_path);
    ck_assert_ptr_null(c->state_dir);
    ck_assert_int_eq(c->network_mode, TBQ_MODE_HYBRID);
    ck_assert_ptr_null(c->bootstrap_nodes);
    ck_assert_uint_eq(g->s.bootstrap_len, 0);
    ck_assert_ptr_null(c->allow_path);
    ck_assert_ptr_null(c->deny_path);
    ck_assert_uint_eq(c->connection_timeout_ms, 5000);
    ck_assert_uint_eq(c->max_connections, 1024);
    ck_assert_uint_eq(c->max_message_size, 1 << 20);
    ck_assert_uint_eq(c->ping_interval_ms, 30000);
    ck_assert_uint_eq(c->idle_timeout_ms, 60000);
    ck_assert_uint_eq(c->peer_timeout_ms, 300000);
    ck_assert_uint_eq(c->outbox_bytes, 8 << 20);
    ck_assert_uint_eq(c->outbox_messages, 4096);
    ck_assert_uint_eq(c->receive_window, (2 << 20) + 65536);
    ck_assert_uint_eq(c->receive_window_max, 16 << 20);
    ck_assert_uint_eq(c->receive_budget, 128 << 20);
    ck_assert_int_eq(c->congestion, TBQ_CUBIC);
    ck_assert_uint_eq(c->socket_buffer, 4 << 20);
    ck_assert_uint_eq(c->paths_max, 1);
    ck_assert_uint_eq(c->link_idle_ms, 0);
    ck_assert_uint_eq(c->busy_poll_us, 0);
    ck_assert(!c->link_idle_named);
    ck_assert(!c->datagrams);
    for (size_t i = 0; i < TBQ_LANES; i++) {
        ck_assert_int_eq(c->schedule[i], TBQ_FAILOVER);
    }
    ck_assert_uint_eq(c->capabilities, 0);
    ck_assert_int_eq(c->role, 0);
    ck_assert_int_eq(c->log_level, TBQ_LOG_WARNING);
    ck_assert_ptr_null(c->log_user);
    ck_assert(c->log == NULL);
    ck_assert(c->allocator.alloc == NULL);
    char bound[TBI_ADDR_TEXT_SIZE];
    tbi_addr_to_text(&g->s.bind, bound);
    ck_assert_str_eq(bound, "[::]:8443");
}
END_TEST

/* 0 in a number stands for its default. */
START_TEST(zeroes_are_defaults)
{
    struct given *g = begin();
    g->c.connection_timeout_ms = g->c.max_connections = g->c.max_message_size = 0;
    g->c.ping_interval_ms = g->c.idle_timeout_ms = g->c.peer_timeout_ms = 0;
    g->c.outbox_bytes = g->c.outbox_messages = g->c.receive_window = 0;
    g->c.receive_window_max = g->c.receive_budget = g->c.socket_buffer = 0;
    good(g);
    struct tbi_settings first = g->s;
    g = begin();
    good(g);
    ck_assert_uint_eq(first.c.connection_timeout_ms, g->s.c.connection_timeout_ms);
    ck_assert_uint_eq(first.c.max_connections, g->s.c.max_connections);
    ck_assert_uint_eq(first.c.max_message_size, g->s.c.max_message_size);
    ck_assert_uint_eq(first.c.ping_interval_ms, g->s.c.ping_interval_ms);
    ck_assert_uint_eq(first.c.idle_timeout_ms, g->s.c.idle_timeout_ms);
    ck_assert_uint_eq(first.c.peer_timeout_ms, g->s.c.peer_timeout_ms);
    ck_assert_uint_eq(first.c.outbox_bytes, g->s.c.outbox_bytes);
    ck_assert_uint_eq(first.c.outbox_messages, g->s.c.outbox_messages);
    ck_assert_uint_eq(first.c.receive_window, g->s.c.receive_window);
    ck_assert_uint_eq(first.c.receive_window_max, g->s.c.receive_window_max);
    ck_assert_uint_eq(first.c.receive_budget, g->s.c.receive_budget);
    ck_assert_uint_eq(first.c.socket_buffer, g->s.c.socket_buffer);
}
END_TEST

/* Every number: both ends are taken, one beyond them is not and is named. */
static const struct {
    const char *field;
    size_t offset;
    unsigned long min, max;
} numbers[] = {
    {"connection_timeout_ms", offsetof(tbq_config, connection_timeout_ms), 100, 600000},
    {"max_connections", offsetof(tbq_config, max_connections), 1, 1 << 20},
    {"max_message_size", offsetof(tbq_config, max_message_size), 1024, 1 << 30},
    {"ping_interval_ms", offsetof(tbq_config, ping_interval_ms), 100, 3600000},
    {"idle_timeout_ms", offsetof(tbq_config, idle_timeout_ms), 60000, 7200000},
    {"peer_timeout_ms", offsetof(tbq_config, peer_timeout_ms), 100, 86400000},
    {"peers_wanted", offsetof(tbq_config, peers_wanted), 1, 1 << 20},
    {"refresh_interval_ms", offsetof(tbq_config, refresh_interval_ms), 1000, 86400000},
    {"paths_max", offsetof(tbq_config, paths_max), 1, 4},
    {"link_idle_ms", offsetof(tbq_config, link_idle_ms), 1000, 86400000},
    {"busy_poll_us", offsetof(tbq_config, busy_poll_us), 1, 1000000},
    {"socket_buffer", offsetof(tbq_config, socket_buffer), 4096, 1 << 30},
};

static struct given *with_number(size_t which, unsigned long value)
{
    struct given *g = begin();
    uint32_t narrow = (uint32_t)value;
    memcpy((char *)&g->c + numbers[which].offset, &narrow, sizeof narrow);
    /* What another field asks of this one is not the subject here. */
    g->c.outbox_bytes = (size_t)2 << 30;
    if (numbers[which].offset == offsetof(tbq_config, ping_interval_ms)) {
        g->c.idle_timeout_ms = 7200000;
    }
    return g;
}

START_TEST(the_ends_of_a_range_are_taken)
{
    good(with_number((size_t)_i, numbers[_i].min));
    good(with_number((size_t)_i, numbers[_i].max));
}
END_TEST

START_TEST(beyond_a_range_field_and_value_are_named)
{
    char text[256];
    unsigned long beyond[2] = {numbers[_i].min - 1, numbers[_i].max + 1};
    for (size_t i = 0; i < 2; i++) {
        if (beyond[i] == 0) {
            continue; /* that is the default */
        }
        snprintf(text, sizeof text, "%s is %lu; it must be %lu to %lu", numbers[_i].field,
                 beyond[i], numbers[_i].min, numbers[_i].max);
        bad(with_number((size_t)_i, beyond[i]), TBQ_ERR_INVALID, text);
    }
}
END_TEST

START_TEST(a_schedule_is_one_of_three)
{
    struct given *g = begin();
    g->c.schedule[1] = TBQ_AGGREGATE;
    g->c.schedule[2] = TBQ_REDUNDANT;
    good(g);
    g = begin();
    g->c.schedule[3] = (tbq_schedule)3;
    bad(g, TBQ_ERR_INVALID, "schedule[3] is 3; it must be TBQ_FAILOVER, _AGGREGATE or _REDUNDANT");
}
END_TEST

START_TEST(a_congestion_controller_is_one_of_three)
{
    struct given *g = begin();
    for (int i = TBQ_CUBIC; i <= TBQ_RENO; i++) {
        g->c.congestion = (tbq_congestion)i;
        good(g);
    }
    g->c.congestion = (tbq_congestion)3;
    bad(g, TBQ_ERR_INVALID, "congestion is 3; it must be TBQ_CUBIC, TBQ_BBR or TBQ_RENO");
}
END_TEST

START_TEST(windows_grow_from_the_least_to_the_most)
{
    const size_t most = (size_t)1 << 40;
    struct given *g = begin();
    g->c.receive_window = (size_t)20 << 20;
    good(g);
    ck_assert_uint_eq(g->s.c.receive_window_max, g->c.receive_window);
    g->c.receive_window_max = g->c.receive_window; /* it does not grow */
    good(g);
    g->c.receive_window_max = g->c.receive_window - 1;
    bad(g, TBQ_ERR_INVALID,
        "receive_window_max is 20971519; it must be at least receive_window, which is 20971520, "
        "and at most 1099511627776, 1 TiB");
    g = begin();
    g->c.receive_window_max = g->c.receive_budget = most;
    good(g);
    g->c.receive_budget = most + 1;
    bad(g, TBQ_ERR_INVALID,
        "receive_budget is 1099511627777; it must be at most 1099511627776, 1 TiB");
    g = begin();
    g->c.receive_window_max = most + 1;
    bad(g, TBQ_ERR_INVALID,
        "receive_window_max is 1099511627777; it must be at least receive_window, which is "
        "2162688, and at most 1099511627776, 1 TiB");
}
END_TEST

START_TEST(the_idle_timeout_holds_two_pings)
{
    struct given *g = begin();
    g->c.ping_interval_ms = 1000;
    g->c.idle_timeout_ms = 1999;
    bad(g, TBQ_ERR_INVALID, "idle_timeout_ms is 1999; it must be 2000 to 7200000");
    g->c.idle_timeout_ms = 2000;
    g->why[0] = '\0';
    good(g);
    /* The default of one field does not silently break the rule for the other. */
    g = begin();
    g->c.ping_interval_ms = 30001;
    g->c.idle_timeout_ms = 0;
    bad(g, TBQ_ERR_INVALID, "idle_timeout_ms is 60000; it must be 60002 to 7200000");
}
END_TEST

START_TEST(budgets_hold_what_a_message_needs)
{
    struct given *g = begin();
    g->c.max_message_size = 4096;
    g->c.outbox_bytes = 4095;
    bad(g, TBQ_ERR_INVALID,
        "outbox_bytes is 4095; it must hold one message of max_message_size, 4096 bytes");
    g->c.outbox_bytes = 4096;
    g->c.receive_window = 2 * 4096 + 65535;
    bad(g, TBQ_ERR_INVALID,
        "receive_window is 73727; it must be at least 73728: two messages of max_message_size and "
        "64 KiB");
    g->c.receive_window = 2 * 4096 + 65536;
    g->why[0] = '\0';
    good(g);
    ck_assert_uint_eq(g->s.c.receive_window, 73728);
    g->c.receive_window = 0;
    good(g);
    ck_assert_uint_eq(g->s.c.receive_window, 73728);
}
END_TEST

START_TEST(a_mode_is_one_of_three)
{
    struct given *g = begin();
    for (int mode = TBQ_MODE_CLIENT; mode <= TBQ_MODE_HYBRID; mode++) {
        g->c.network_mode = (tbq_network_mode)mode;
        good(g);
    }
    g->c.network_mode = (tbq_network_mode)(TBQ_MODE_HYBRID + 1);
    ck_assert_int_eq(tbi_settings_read(&g->s, &g->c), TBQ_ERR_INVALID);
    ck_assert_ptr_nonnull(strstr(g->why, "network_mode is "));
    g->c.network_mode = (tbq_network_mode)(TBQ_MODE_CLIENT - 1);
    ck_assert_int_eq(tbi_settings_read(&g->s, &g->c), TBQ_ERR_INVALID);
}
END_TEST

static void bound_to(const char *address, uint16_t port, tbq_network_mode mode, const char *text)
{
    struct given *g = begin();
    char bound[TBI_ADDR_TEXT_SIZE];
    g->c.bind_address = address;
    g->c.bind_port = port;
    g->c.network_mode = mode;
    good(g);
    tbi_addr_to_text(&g->s.bind, bound);
    ck_assert_str_eq(bound, text);
}

START_TEST(where_to_listen)
{
    bound_to("127.0.0.1", 0, TBQ_MODE_SERVER, "127.0.0.1:0");
    bound_to("::1", 65535, TBQ_MODE_HYBRID, "[::1]:65535");
    bound_to("0.0.0.0", 9, TBQ_MODE_HYBRID, "0.0.0.0:9");
    bound_to(NULL, 1, TBQ_MODE_SERVER, "[::]:1");
    bound_to("192.0.2.1", 8443, TBQ_MODE_CLIENT, "[::]:0"); /* any address is used */
}
END_TEST

START_TEST(an_address_that_is_none_is_quoted)
{
    static const char *const addresses[] = {"",    "localhost", "127.0.0.1:8443",   "[::1]",
                                            "::g", "1.2.3",     "127.0.0.1 or so?", "300.1.1.1"};
    char text[256], longer[300];
    for (size_t i = 0; i < sizeof addresses / sizeof addresses[0]; i++) {
        struct given *g = begin();
        g->c.bind_address = addresses[i];
        snprintf(text, sizeof text,
                 "bind_address is \"%s\"; it must be a numeric IPv4 or IPv6 address", addresses[i]);
        bad(g, TBQ_ERR_INVALID, text);
    }
    struct given *g = begin();
    memset(longer, '1', sizeof longer);
    longer[sizeof longer - 1] = '\0';
    g->c.bind_address = longer;
    ck_assert_int_eq(tbi_settings_read(&g->s, &g->c), TBQ_ERR_INVALID);
    ck_assert_ptr_nonnull(strstr(g->why, "it must be a numeric"));
}
END_TEST

START_TEST(bootstrap_nodes_are_read)
{
    static const char *const nodes[] = {"example.org:1", "[2001:db8::1]:2", "192.0.2.3:3"};
    struct given *g = begin();
    g->c.bootstrap_nodes = nodes;
    g->c.bootstrap_nodes_len = 3;
    good(g);
    ck_assert_uint_eq(g->s.bootstrap_len, 3);
    ck_assert_str_eq(g->s.bootstrap[0].host, "example.org");
    ck_assert(!g->s.bootstrap[0].numeric);
    ck_assert(g->s.bootstrap[1].numeric);
    ck_assert_uint_eq(g->s.bootstrap[1].port, 2);
    ck_assert_uint_eq(g->s.bootstrap[2].port, 3);
    g->c.network_mode = TBQ_MODE_SERVER;
    bad(g, TBQ_ERR_MODE, "bootstrap_nodes is set, but network_mode TBQ_MODE_SERVER dials nobody");
}
END_TEST

START_TEST(a_bad_bootstrap_node_is_named_by_its_index)
{
    static const char *const bad_ones[] = {NULL, "", "host", "host:0", "host:65536", "tbq://x@h:1"};
    const char *nodes[65] = {"192.0.2.1:1"};
    char text[256];
    for (size_t i = 0; i < sizeof bad_ones / sizeof bad_ones[0]; i++) {
        struct given *g = begin();
        nodes[1] = bad_ones[i];
        g->c.bootstrap_nodes = nodes;
        g->c.bootstrap_nodes_len = 2;
        snprintf(text, sizeof text,
                 "bootstrap_nodes[1] is \"%s\"; it must be host:port, [v6]:port or "
                 "tbq://PEERID@host:port",
                 bad_ones[i] != NULL ? bad_ones[i] : "(null)");
        bad(g, TBQ_ERR_INVALID, text);
    }
    for (size_t i = 0; i < 65; i++) {
        nodes[i] = "192.0.2.1:1";
    }
    struct given *g = begin();
    g->c.bootstrap_nodes = nodes;
    g->c.bootstrap_nodes_len = 64;
    good(g);
    ck_assert_uint_eq(g->s.bootstrap_len, 64);
    g->c.bootstrap_nodes_len = 65;
    bad(g, TBQ_ERR_INVALID, "bootstrap_nodes_len is 65; at most 64");
}
END_TEST

START_TEST(key_and_certificate_come_together)
{
    struct given *g = begin();
    g->c.cert_path = "c";
    bad(g, TBQ_ERR_INVALID, "cert_path is set without key_path; give both or none");
    g = begin();
    g->c.key_path = "k";
    bad(g, TBQ_ERR_INVALID, "key_path is set without cert_path; give both or none");
    g->c.cert_path = "c";
    g->why[0] = '\0';
    good(g);
}
END_TEST

START_TEST(a_fault_needs_no_text)
{
    struct given *g = begin();
    g->c.error_text = NULL;
    g->c.error_text_size = 0;
    g->c.max_connections = 1 << 21;
    ck_assert_int_eq(tbi_settings_read(&g->s, &g->c), TBQ_ERR_INVALID);
    ck_assert_int_eq(tbi_settings_read(&g->s, NULL), TBQ_ERR_INVALID);
    g->c.size = sizeof g->c.size - 1;
    ck_assert_int_eq(tbi_settings_read(&g->s, &g->c), TBQ_ERR_INVALID);
}
END_TEST

/* --- Structs of another size ------------------------------------------------------------------ */

/* Fills in `size` bytes and checks that the next one is left alone. */
static void init_leaves_the_rest(void (*init)(void *, size_t), size_t ours)
{
    unsigned char bytes[1024];
    ck_assert_uint_lt(ours + 64, sizeof bytes);
    for (size_t size = 0; size <= ours + 64; size++) {
        size_t told, written = 0;
        memset(bytes, 0xa5, sizeof bytes);
        init(bytes, size);
        for (size_t i = size; i < sizeof bytes; i++) {
            written += bytes[i] != 0xa5;
        }
        ck_assert_msg(written == 0, "size %zu: %zu bytes behind it were written", size, written);
        memcpy(&told, bytes, sizeof told);
        if (size >= sizeof told) {
            ck_assert_uint_eq(told, size);
        } else {
            ck_assert_uint_eq(bytes[0], 0xa5); /* not even its size fits: nothing is written */
        }
    }
    init(NULL, ours); /* is fine, and nothing happens */
}

static void init_config(void *at, size_t size)
{
    tbq_config_init_sized(at, size);
}

static void init_options(void *at, size_t size)
{
    tbq_send_options_init_sized(at, size);
}

static void init_actor(void *at, size_t size)
{
    tbq_actor_init_sized(at, size);
}

START_TEST(no_init_writes_behind_the_callers_struct)
{
    init_leaves_the_rest(init_config, sizeof(tbq_config));
    init_leaves_the_rest(init_options, sizeof(tbq_send_options));
    init_leaves_the_rest(init_actor, sizeof(tbq_actor));
}
END_TEST

START_TEST(the_other_structs_have_their_defaults)
{
    tbq_send_options o;
    tbq_actor a;
    memset(&o, 0xff, sizeof o);
    memset(&a, 0xff, sizeof a);
    tbq_send_options_init(&o);
    tbq_actor_init(&a);
    ck_assert_uint_eq(o.size, sizeof o);
    ck_assert_uint_eq(o.tag, 0);
    ck_assert_int_eq(o.lane, TBQ_LANE_NORMAL);
    ck_assert_uint_eq(o.ttl_ms, 0);
    ck_assert(!o.unordered);
    ck_assert_uint_eq(a.size, sizeof a);
    ck_assert_int_eq(a.role, 0);
    ck_assert_uint_eq(a.capabilities, 0);
    ck_assert(a.on_message == NULL);
    ck_assert(a.on_event == NULL);
    ck_assert_ptr_null(a.user);
}
END_TEST

/* A program built with an older header: what it does not know has its default, and nothing behind
 * its struct is read. */
START_TEST(an_older_callers_config_is_completed)
{
    struct given *g = begin();
    size_t older = offsetof(tbq_config, max_message_size);
    tbq_config c;
    memset(&c, 0xff, sizeof c);
    tbq_config_init_sized(&c, older);
    c.max_connections = 7;
    ck_assert_int_eq(tbi_settings_read(&g->s, &c), 0);
    ck_assert_uint_eq(g->s.c.max_connections, 7);
    ck_assert_uint_eq(g->s.c.max_message_size, 1 << 20);
    ck_assert_uint_eq(g->s.c.peer_timeout_ms, 300000);
    ck_assert_ptr_null(g->s.c.error_text);
    ck_assert(g->s.c.allocator.alloc == NULL);
}
END_TEST

START_TEST(a_newer_callers_config_is_cut)
{
    struct given *g = begin();
    struct {
        tbq_config c;
        unsigned char more[64];
    } newer;
    memset(&newer, 0xff, sizeof newer);
    tbq_config_init_sized(&newer.c, sizeof newer);
    newer.c.idle_timeout_ms = 90000;
    ck_assert_int_eq(tbi_settings_read(&g->s, &newer.c), 0);
    ck_assert_uint_eq(g->s.c.idle_timeout_ms, 90000);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("server_config");
    TCase *fields = tcase_create("fields");
    tcase_add_test(fields, the_defaults_are_those_of_the_manual);
    tcase_add_test(fields, zeroes_are_defaults);
    int n = (int)(sizeof numbers / sizeof numbers[0]);
    tcase_add_loop_test(fields, the_ends_of_a_range_are_taken, 0, n);
    tcase_add_loop_test(fields, beyond_a_range_field_and_value_are_named, 0, n);
    tcase_add_test(fields, a_schedule_is_one_of_three);
    tcase_add_test(fields, a_congestion_controller_is_one_of_three);
    tcase_add_test(fields, windows_grow_from_the_least_to_the_most);
    tcase_add_test(fields, the_idle_timeout_holds_two_pings);
    tcase_add_test(fields, budgets_hold_what_a_message_needs);
    tcase_add_test(fields, a_mode_is_one_of_three);
    tcase_add_test(fields, where_to_listen);
    tcase_add_test(fields, an_address_that_is_none_is_quoted);
    tcase_add_test(fields, bootstrap_nodes_are_read);
    tcase_add_test(fields, a_bad_bootstrap_node_is_named_by_its_index);
    tcase_add_test(fields, key_and_certificate_come_together);
    tcase_add_test(fields, a_fault_needs_no_text);
    suite_add_tcase(suite, fields);
    TCase *sizes = tcase_create("sizes");
    tcase_add_test(sizes, no_init_writes_behind_the_callers_struct);
    tcase_add_test(sizes, the_other_structs_have_their_defaults);
    tcase_add_test(sizes, an_older_callers_config_is_completed);
    tcase_add_test(sizes, a_newer_callers_config_is_cut);
    suite_add_tcase(suite, sizes);
    return tbi_test_main(suite);
}
