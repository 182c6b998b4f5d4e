/* tests/unit/test_server_p2p.c - the runtime's P2PConfig becomes a configuration, and back. */
#include <check.h>
#include <string.h>
#include <tbquic/p2p.h>

#include "harness.h"
#include "server/config.h"

static const char *const seeds[] = {"192.0.2.1:8443", "node.example:9000"};

START_TEST(the_runtimes_defaults_make_a_server_that_starts)
{
    tbq_p2p p;
    tbq_config c;
    struct tbi_settings s;

    tbq_p2p_init(&p);
    ck_assert_uint_eq(p.replication_factor, 3);
    ck_assert_uint_eq(p.node_capacity, 50);
    ck_assert_uint_eq(p.refresh_interval_s, 300);
    ck_assert_uint_eq(p.health_check_interval_s, 60);
    ck_assert_uint_eq(p.connection_timeout_ms, 5000);
    ck_assert_uint_eq(p.max_message_size, 1 << 20);

    tbq_config_init(&c);
    ck_assert_int_eq(tbq_config_from_p2p(&c, &p), 0);
    ck_assert_ptr_null(c.bind_address);
    ck_assert_uint_eq(c.bind_port, 8443);
    ck_assert_uint_eq(c.max_connections, 50);
    ck_assert_uint_eq(c.ping_interval_ms, 60000);
    ck_assert_uint_eq(c.idle_timeout_ms, 120000); /* two pings */
    ck_assert_int_eq(tbi_settings_read(&s, &c), 0);
}
END_TEST

START_TEST(every_field_goes_there_and_back)
{
    tbq_p2p p, back;
    tbq_config c;

    tbq_p2p_init(&p);
    p.bind_address = "192.0.2.7";
    p.bind_port = 4433;
    p.seed_nodes = seeds;
    p.seed_nodes_len = 2;
    p.node_capacity = 7;
    p.health_check_interval_s = 5;
    p.refresh_interval_s = 77;
    p.connection_timeout_ms = 1234;
    p.max_message_size = 64 << 20; /* larger than the default outbox */
    tbq_config_init(&c);
    c.peer_timeout_ms = 4711;
    c.receive_window_max = 4 << 20; /* too small for such messages */
    ck_assert_int_eq(tbq_config_from_p2p(&c, &p), 0);
    ck_assert_str_eq(c.bind_address, "192.0.2.7");
    ck_assert_ptr_eq(c.bootstrap_nodes, seeds);
    ck_assert_uint_eq(c.peer_timeout_ms, 4711);
    ck_assert_uint_eq(c.idle_timeout_ms, 60000); /* long enough as it was */
    struct tbi_settings s;
    ck_assert_int_eq(tbi_settings_read(&s, &c), 0);

    tbq_p2p_init(&back);
    back.replication_factor = 9;
    ck_assert_int_eq(tbq_config_to_p2p(&c, &back), 0);
    p.replication_factor = 9; /* no counterpart: left as it was */
    ck_assert_str_eq(back.bind_address, p.bind_address);
    ck_assert_uint_eq(back.bind_port, p.bind_port);
    ck_assert_ptr_eq(back.seed_nodes, p.seed_nodes);
    ck_assert_uint_eq(back.seed_nodes_len, p.seed_nodes_len);
    ck_assert_uint_eq(back.node_capacity, p.node_capacity);
    ck_assert_uint_eq(back.health_check_interval_s, p.health_check_interval_s);
    ck_assert_uint_eq(back.connection_timeout_ms, p.connection_timeout_ms);
    ck_assert_uint_eq(back.max_message_size, p.max_message_size);
    ck_assert_uint_eq(back.replication_factor, p.replication_factor);
    ck_assert_uint_eq(back.refresh_interval_s, p.refresh_interval_s);
}
END_TEST

START_TEST(zeroes_are_told_as_defaults_and_seconds_are_rounded_up)
{
    tbq_p2p p;
    tbq_config c;

    tbq_p2p_init(&p);
    tbq_config_init(&c);
    c.max_connections = c.connection_timeout_ms = c.max_message_size = 0;
    c.ping_interval_ms = 2001;
    ck_assert_int_eq(tbq_config_to_p2p(&c, &p), 0);
    ck_assert_uint_eq(p.health_check_interval_s, 3);
    ck_assert_uint_eq(p.node_capacity, 1024);
    ck_assert_uint_eq(p.connection_timeout_ms, 5000);
    ck_assert_uint_eq(p.max_message_size, 1 << 20);
}
END_TEST

START_TEST(what_was_not_initialised_or_does_not_fit_changes_nothing)
{
    tbq_p2p p, p_before;
    tbq_config c, c_before;

    tbq_config_init(&c);
    tbq_p2p_init(&p);
    p.health_check_interval_s = UINT32_MAX / 2000 + 1;
    c_before = c;
    ck_assert_int_eq(tbq_config_from_p2p(&c, &p), TBQ_ERR_INVALID);
    ck_assert_mem_eq(&c, &c_before, sizeof c);
    memset(&p, 0, sizeof p);
    p_before = p;
    ck_assert_int_eq(tbq_config_from_p2p(&c, &p), TBQ_ERR_INVALID);
    ck_assert_int_eq(tbq_config_from_p2p(&c, NULL), TBQ_ERR_INVALID);
    ck_assert_int_eq(tbq_config_to_p2p(&c, &p), TBQ_ERR_INVALID);
    ck_assert_int_eq(tbq_config_to_p2p(NULL, &p), TBQ_ERR_INVALID);
    ck_assert_mem_eq(&p, &p_before, sizeof p);
    ck_assert_mem_eq(&c, &c_before, sizeof c);
}
END_TEST

/* A program that was built when the structs were shorter. */
START_TEST(a_shorter_struct_is_not_written_past_its_end)
{
    tbq_p2p p;
    tbq_config c;
    const size_t short_p = offsetof(tbq_p2p, node_capacity);
    const size_t short_c = offsetof(tbq_config, idle_timeout_ms);

    memset(&p, 0x5a, sizeof p);
    memset(&c, 0x5a, sizeof c);
    tbq_p2p_init_sized(&p, short_p);
    tbq_config_init_sized(&c, short_c);
    ck_assert_int_eq(tbq_config_from_p2p(&c, &p), 0);
    ck_assert_int_eq(tbq_config_to_p2p(&c, &p), 0);
    ck_assert_uint_eq(c.max_connections, 50); /* the default of what p does not have */
    for (size_t i = short_p; i < sizeof p; i++) {
        ck_assert_uint_eq(((unsigned char *)&p)[i], 0x5a);
    }
    for (size_t i = short_c; i < sizeof c; i++) {
        ck_assert_uint_eq(((unsigned char *)&c)[i], 0x5a);
    }
}
END_TEST

int main(void)
{
    Suite *s = suite_create("p2p");
    TCase *c = tcase_create("conversion");
    tcase_add_test(c, the_runtimes_defaults_make_a_server_that_starts);
    tcase_add_test(c, every_field_goes_there_and_back);
    tcase_add_test(c, zeroes_are_told_as_defaults_and_seconds_are_rounded_up);
    tcase_add_test(c, what_was_not_initialised_or_does_not_fit_changes_nothing);
    tcase_add_test(c, a_shorter_struct_is_not_written_past_its_end);
    suite_add_tcase(s, c);
    return tbi_test_main(s);
}
