/* tests/sim/test_sim_strangers.c - strangers come to a node, and a node comes to strangers: whom it
 * must refuse it refuses, in both roles, after a full and after a resumed handshake, and both sides
 * learn why. */
#include <check.h>
#include <stdio.h>
#include <string.h>

#include "../unit/harness.h"
#include "node/parts.h"
#include "quic/parts.h"
#include "stranger.h"

struct world {
    struct sim *sim;
    struct sim_node *n; /* ours */
    struct stranger *x, *y;
    struct tbi_log log;
    char warned[TBI_LOG_LINE_MAX]; /* the last refusal that was logged */
    unsigned connected;
    unsigned failed;
    int reason;
    char text[320];
};

static bool watch(struct sim_node *n, tbq_event *e)
{
    struct world *w = n->user;
    w->connected += e->type == TBQ_EVENT_CONNECTED;
    if (e->type == TBQ_EVENT_CONNECT_FAILED || e->type == TBQ_EVENT_DISCONNECTED) {
        w->failed += e->type == TBQ_EVENT_CONNECT_FAILED;
        w->reason = e->reason;
        snprintf(w->text, sizeof w->text, "%s", e->text);
    }
    return true;
}

static void on_log(void *user, tbq_log_level level, const char *line)
{
    struct world *w = user;
    if (level == TBQ_LOG_WARNING) {
        snprintf(w->warned, sizeof w->warned, "%s", line);
    }
}

static void begin(struct world *w, const struct stranger_options *options)
{
    memset(w, 0, sizeof *w);
    w->sim = sim_new(5);
    w->n = sim_add(w->sim);
    struct sim_node *px = sim_add(w->sim), *py = sim_add(w->sim);
    w->n->user = w;
    w->n->on_event = watch;
    sim_both(w->n, px, (struct sim_link){.delay_ms = 10});
    sim_both(w->n, py, (struct sim_link){.delay_ms = 10});
    sim_both(px, py, (struct sim_link){.delay_ms = 10});
    sim_boot(w->n);
    w->log = (struct tbi_log){.level = TBQ_LOG_WARNING, .write = on_log, .user = w};
    w->n->node->log = &w->log;
    w->x = stranger_new(px, options);
    w->y = stranger_new(py, options);
}

static void end(struct world *w)
{
    stranger_free(w->x);
    stranger_free(w->y);
    sim_free(w->sim);
}

static void load(struct world *w, enum tbi_trust_list which, const tbq_peer_id *id)
{
    char text[TBQ_PEER_ID_TEXT_SIZE], why[128];
    tbq_peer_id_to_text(id, text);
    tbq_bytes bytes = {text, strlen(text)};
    ck_assert_int_eq(tbi_trust_load(&w->n->trust, which, bytes, why, sizeof why), 0);
}

static const gnutls_datum_t *node_ticket_key(const struct world *w)
{
    return &w->n->node->endpoint->ticket_key;
}

/* Gets x a ticket that our node takes for its own: made with its key by another server, which asks
 * nobody about anything. */
static void plant_ticket(struct world *w, struct stranger_options options)
{
    struct stranger_options issuer = {
        .cert = CERT_ED25519, .alpn = TBI_ALPN, .ticket_key = node_ticket_key(w)};
    stranger_be(w->y, &issuer);
    options.alpn = TBI_ALPN;
    stranger_be(w->x, &options);
    stranger_dial(w->x, w->y->place);
    sim_run(w->sim, 200, NULL, NULL);
    ck_assert(w->x->complete);
    ck_assert(w->x->ticket.size > 0);
}

/* The stranger's side: a close code, and a text with this in it. */
static void refused_with(const struct world *w, uint64_t code, const char *text)
{
    if (!w->x->closed || !w->x->by_code || w->x->code != code || strstr(w->x->text, text) == NULL) {
        fprintf(stderr, "the stranger saw: %d %d 0x%llx %s, error %d\n%s", w->x->closed,
                w->x->by_code, (unsigned long long)w->x->code, w->x->text, w->x->error,
                sim_transcript(w->sim));
    }
    ck_assert(w->x->closed);
    ck_assert(w->x->by_code);
    ck_assert_uint_eq(w->x->code, code);
    ck_assert_ptr_nonnull(strstr(w->x->text, text));
    ck_assert_uint_eq(w->connected, 0);
}

/* --- Clients that come to us ------------------------------------------------------------------ */

struct visit {
    enum stranger_cert cert;
    uint64_t code; /* TBI_CLOSE_TIMEOUT: it is trusted, but says no HELLO */
    const char *text;
};

/* Who came by itself and has not confirmed yet is nobody that we dial when the network changes. */
START_TEST(a_guest_in_the_door_is_not_dialled)
{
    struct world w;
    const struct stranger_options options = {.cert = CERT_ED25519, .alpn = TBI_ALPN, .hello = true};
    begin(&w, &options);
    stranger_dial(w.x, w.n);
    sim_run(w.sim, 500, NULL, NULL);
    ck_assert_uint_eq(tbi_map_count(&w.n->node->contacts), 1);
    ck_assert_int_ge(tbi_node_network_changed(w.n->node, sim_now(w.sim), &w.n->addr, 1), 0);
    sim_run(w.sim, 500, NULL, NULL);
    ck_assert(!w.x->closed);
    ck_assert_uint_eq(tbi_map_count(&w.n->node->contacts), 1);
    ck_assert_uint_eq(w.failed, 0);
    end(&w);
}
END_TEST

static const struct visit full[] = {
    {CERT_NONE, TBI_CLOSE_NO_CERTIFICATE, "no certificate"},
    /* We ask for Ed25519 alone, so who has other keys only has nothing to show. */
    {CERT_RSA, TBI_CLOSE_NO_CERTIFICATE, "no certificate"},
    {CERT_ECDSA, TBI_CLOSE_NO_CERTIFICATE, "no certificate"},
    {CERT_RSA_CHAIN, TBI_CLOSE_NO_CERTIFICATE, "no certificate"},
    {CERT_ED25519_EXPIRED, TBI_CLOSE_CERTIFICATE, "expired at"},
    /* The key counts, and TLS has proved it: who signed the certificate does not. */
    {CERT_ED25519, TBI_CLOSE_TIMEOUT, "Hello"},
    {CERT_ED25519_BROKEN, TBI_CLOSE_TIMEOUT, "Hello"},
    {CERT_ED25519_CHAIN, TBI_CLOSE_TIMEOUT, "Hello"},
};

START_TEST(a_client_is_judged_by_its_certificate)
{
    const struct visit *v = &full[_i];
    struct world w;
    begin(&w, &(struct stranger_options){.cert = v->cert, .alpn = TBI_ALPN});
    stranger_dial(w.x, w.n);
    sim_run(w.sim, 6000, NULL, NULL);
    ck_assert(w.x->complete);
    ck_assert(!w.x->resumed);
    refused_with(&w, v->code, v->text);
    if (v->code != TBI_CLOSE_TIMEOUT) {
        ck_assert_ptr_nonnull(strstr(w.warned, v->text));
        ck_assert_uint_eq(w.x->ticket.size, 0); /* nothing to come back with */
    }
    end(&w);
}
END_TEST

static const struct visit again[] = {
    {CERT_NONE, TBI_CLOSE_NO_CERTIFICATE, "no certificate"},
    {CERT_RSA, TBI_CLOSE_KEY_TYPE, "RSA"},
    {CERT_ECDSA, TBI_CLOSE_KEY_TYPE, "ECDSA"},
    {CERT_RSA_CHAIN, TBI_CLOSE_KEY_TYPE, "RSA"},
    {CERT_ED25519_EXPIRED, TBI_CLOSE_CERTIFICATE, "expired at"},
    {CERT_ED25519, TBI_CLOSE_TIMEOUT, "Hello"},
};

START_TEST(a_client_that_resumes_is_judged_by_the_certificate_of_its_session)
{
    const struct visit *v = &again[_i];
    struct world w;
    begin(&w, &(struct stranger_options){.cert = v->cert, .alpn = TBI_ALPN});
    plant_ticket(&w, (struct stranger_options){.cert = v->cert});
    stranger_be(
        w.x, &(struct stranger_options){.cert = v->cert, .alpn = TBI_ALPN, .ticket = &w.x->ticket});
    stranger_dial(w.x, w.n);
    sim_run(w.sim, 6000, NULL, NULL);
    ck_assert(w.x->resumed);
    refused_with(&w, v->code, v->text);
    if (v->code != TBI_CLOSE_TIMEOUT) {
        ck_assert_ptr_nonnull(strstr(w.warned, v->text));
    }
    end(&w);
}
END_TEST

/* _i: 0 and 1 the deny list, 2 and 3 the allow list; odd ones by a ticket from better days. */
START_TEST(a_client_that_is_not_trusted_any_more_is_refused)
{
    struct world w;
    struct stranger_options o = {.cert = CERT_ED25519, .alpn = TBI_ALPN};
    bool allow = _i >= 2, resumes = _i % 2 == 1;
    begin(&w, &o);
    if (resumes) { /* from our node itself, while nothing was against it */
        stranger_dial(w.x, w.n);
        sim_run(w.sim, 6000, NULL, NULL);
        ck_assert(w.x->ticket.size > 0);
        o.ticket = &w.x->ticket;
        stranger_be(w.x, &o);
    }
    load(&w, allow ? TBI_TRUST_ALLOW : TBI_TRUST_DENY, allow ? &w.y->id : &w.x->id);
    stranger_dial(w.x, w.n);
    sim_run(w.sim, 1000, NULL, NULL);
    ck_assert(w.x->resumed == resumes);
    refused_with(&w, allow ? TBI_CLOSE_NOT_ALLOWED : TBI_CLOSE_DENIED,
                 allow ? "allow list" : "deny list");
    ck_assert_ptr_nonnull(strstr(w.warned, allow ? "allow list" : "deny list"));
    end(&w);
}
END_TEST

/* _i: 0 and 1 another name, 2 and 3 none; odd ones with a ticket. */
START_TEST(a_client_of_another_protocol_is_refused)
{
    struct world w;
    struct stranger_options o = {.cert = CERT_ED25519, .alpn = TBI_ALPN};
    begin(&w, &o);
    if (_i % 2 == 1) {
        plant_ticket(&w, o);
        o.ticket = &w.x->ticket;
    }
    o.alpn = _i < 2 ? "h3" : NULL;
    stranger_be(w.x, &o);
    stranger_dial(w.x, w.n);
    sim_run(w.sim, 6000, NULL, NULL);
    ck_assert(w.x->closed);
    ck_assert(!w.x->by_code);
    ck_assert_uint_eq(w.x->code, 0x178); /* the TLS alert no_application_protocol */
    ck_assert_uint_eq(w.connected, 0);
    ck_assert_uint_eq(tbi_endpoint_stats(w.n->node->endpoint)->connections, 0);
    end(&w);
}
END_TEST

/* --- Servers that we come to ------------------------------------------------------------------ */

static tbq_connection dial(struct world *w, const tbq_peer_id *pin, bool persistent)
{
    struct tbi_target t = {.numeric = true, .addr = w->x->place->addr, .port = 8443};
    tbq_connection c;
    if (pin != NULL) {
        t.pinned = true;
        t.id = *pin;
    }
    ck_assert_int_eq(tbi_node_connect(w->n->node, sim_now(w->sim), &t, persistent, &c), 0);
    return c;
}

static const struct visit servers[] = {
    {CERT_ED25519_EXPIRED, TBI_CLOSE_CERTIFICATE, "expired at"},
    {CERT_ED25519, TBI_CLOSE_PIN, "not the one that was dialled"},
    {CERT_ED25519, TBI_CLOSE_DENIED, "deny list"},
    {CERT_ED25519, TBI_CLOSE_NOT_ALLOWED, "allow list"},
};

static void turn_against(struct world *w, uint64_t code)
{
    if (code == TBI_CLOSE_DENIED) {
        load(w, TBI_TRUST_DENY, &w->x->id);
    } else if (code == TBI_CLOSE_NOT_ALLOWED) {
        load(w, TBI_TRUST_ALLOW, &w->y->id);
    }
}

START_TEST(a_server_that_must_not_be_is_refused_and_learns_why)
{
    const struct visit *v = &servers[_i];
    struct world w;
    begin(&w, &(struct stranger_options){.cert = v->cert, .alpn = TBI_ALPN});
    turn_against(&w, v->code);
    dial(&w, v->code == TBI_CLOSE_PIN ? &w.y->id : NULL, false);
    sim_run(w.sim, 6000, NULL, NULL);
    ck_assert_uint_eq(w.failed, 1);
    ck_assert_int_eq(w.reason, tbi_close_reason(v->code));
    refused_with(&w, v->code, w.text);
    ck_assert_ptr_nonnull(strstr(w.warned, w.text));
    ck_assert_uint_eq(w.x->tries, 1);
    end(&w);
}
END_TEST

static const struct visit servers_again[] = {
    {CERT_RSA, TBI_CLOSE_KEY_TYPE, "RSA"},
    {CERT_ECDSA, TBI_CLOSE_KEY_TYPE, "ECDSA"},
    {CERT_ED25519_EXPIRED, TBI_CLOSE_CERTIFICATE, "expired at"},
    {CERT_ED25519, TBI_CLOSE_PIN, "not the one that was dialled"},
    {CERT_ED25519, TBI_CLOSE_DENIED, "deny list"},
    {CERT_ED25519, TBI_CLOSE_NOT_ALLOWED, "allow list"},
};

static bool was_resumed(void *arg)
{
    const struct world *w = arg;
    return w->x->tries == 1 && w->x->resumed;
}

static bool tried_again(void *arg)
{
    const struct world *w = arg;
    return w->x->tries == 2;
}

/* The ticket is put into our node's hand: one that another client got from that server, which
 * would not have become a session of ours. */
START_TEST(a_server_that_resumes_is_judged_by_the_certificate_of_its_session)
{
    const struct visit *v = &servers_again[_i];
    struct world w;
    struct stranger_options o = {.cert = v->cert, .alpn = TBI_ALPN};
    begin(&w, &o);
    o.ticket_key = node_ticket_key(&w); /* any key would do */
    stranger_be(w.x, &o);
    stranger_dial(w.y, w.x->place);
    sim_run(w.sim, 200, NULL, NULL);
    ck_assert(w.y->ticket.size > 0);

    turn_against(&w, v->code);
    tbq_connection c = dial(&w, v->code == TBI_CLOSE_PIN ? &w.y->id : NULL, true);
    struct tbi_contact *contact = tbi_map_get(&w.n->node->contacts, &c);
    const tbq_peer_id *meant = contact->dial->target.pinned ? &contact->dial->target.id : &w.x->id;
    /* The first dial is on its way without a ticket; the next one has it. */
    struct sim_link *there = sim_link(w.n, w.x->place);
    there->cut = true;
    sim_run(w.sim, 5000, NULL, NULL);
    there->cut = false;
    struct tbi_block *ticket = tbi_ticket_pack(w.n->node->alloc, &w.y->ticket, NULL, 0);
    tbi_tickets_keep(&w.n->node->tickets, meant, &w.x->place->addr, ticket->data, ticket->size);
    tbi_block_unref(ticket);
    w.x->tries = 0;
    ck_assert(sim_run(w.sim, 5000, was_resumed, &w));
    sim_run(w.sim, 100, NULL, NULL);
    refused_with(&w, v->code, v->text);
    ck_assert_ptr_nonnull(strstr(w.warned, v->text));
    /* Perhaps there is another one by now: that is found out by a full handshake. */
    ck_assert(sim_run(w.sim, 5000, tried_again, &w));
    sim_run(w.sim, 200, NULL, NULL);
    ck_assert(!w.x->resumed);
    end(&w);
}
END_TEST

/* What TLS itself refuses: a server with no certificate that we would take has none to send. */
static const struct visit impossible[] = {
    {CERT_NONE, 0, "the peer refused the TLS handshake"},
    {CERT_RSA, 0, "the peer refused the TLS handshake"},
    {CERT_ECDSA, 0, "the peer refused the TLS handshake"},
};

START_TEST(a_server_without_an_ed25519_certificate_is_not_reached)
{
    struct world w;
    begin(&w, &(struct stranger_options){.cert = impossible[_i].cert, .alpn = TBI_ALPN});
    dial(&w, NULL, false);
    sim_run(w.sim, 6000, NULL, NULL);
    ck_assert_uint_eq(w.failed, 1);
    ck_assert_int_eq(w.reason, TBQ_ERR_TLS);
    ck_assert_ptr_nonnull(strstr(w.text, impossible[_i].text));
    ck_assert_uint_eq(w.connected, 0);
    end(&w);
}
END_TEST

START_TEST(a_server_of_another_protocol_is_refused)
{
    struct world w;
    begin(&w, &(struct stranger_options){.cert = CERT_ED25519, .alpn = _i == 0 ? "h3" : NULL});
    dial(&w, NULL, false);
    sim_run(w.sim, 6000, NULL, NULL);
    ck_assert_uint_eq(w.failed, 1);
    ck_assert_int_eq(w.reason, TBQ_ERR_TLS);
    ck_assert_ptr_nonnull(strstr(w.text, "no application protocol in common"));
    ck_assert(!w.x->complete);
    ck_assert(w.x->closed);
    ck_assert_uint_eq(w.x->code, 0x178);
    end(&w);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("strangers");
    TCase *c = tcase_create("stories");
#define COUNT(a) (int)(sizeof(a) / sizeof((a)[0]))
    tcase_set_timeout(c, 120);
    tcase_add_test(c, a_guest_in_the_door_is_not_dialled);
    tcase_add_loop_test(c, a_client_is_judged_by_its_certificate, 0, COUNT(full));
    tcase_add_loop_test(c, a_client_that_resumes_is_judged_by_the_certificate_of_its_session, 0,
                        COUNT(again));
    tcase_add_loop_test(c, a_client_that_is_not_trusted_any_more_is_refused, 0, 4);
    tcase_add_loop_test(c, a_client_of_another_protocol_is_refused, 0, 4);
    tcase_add_loop_test(c, a_server_that_must_not_be_is_refused_and_learns_why, 0, COUNT(servers));
    tcase_add_loop_test(c, a_server_that_resumes_is_judged_by_the_certificate_of_its_session, 0,
                        COUNT(servers_again));
    tcase_add_loop_test(c, a_server_without_an_ed25519_certificate_is_not_reached, 0,
                        COUNT(impossible));
    tcase_add_loop_test(c, a_server_of_another_protocol_is_refused, 0, 2);
    suite_add_tcase(s, c);
    return tbi_test_main(s);
}
