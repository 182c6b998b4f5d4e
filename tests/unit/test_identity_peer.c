/* tests/unit/test_identity_peer.c - which key a peer proved: out of certificates of all sorts, and
 * out of TLS sessions, full and resumed, between a client and a server in this process. */
#include <check.h>
#include <errno.h>
#include <string.h>

#include "harness.h"
#include "identity_help.h"

static struct tbi_alloc alloc;

static void setup(void)
{
    ck_assert_int_eq(tbi_alloc_init(&alloc, NULL), 0);
}

static void judge(gnutls_x509_crt_t crt, uint64_t wall_ms, int rv, uint64_t code, const char *text)
{
    uint8_t key[TBQ_PUBLIC_KEY_SIZE], untouched[TBQ_PUBLIC_KEY_SIZE];
    struct tbi_verdict verdict;
    gnutls_datum_t der;

    memset(key, 0xee, sizeof key);
    memset(untouched, 0xee, sizeof untouched);
    ck_assert_int_eq(gnutls_x509_crt_export2(crt, GNUTLS_X509_FMT_DER, &der), 0);
    ck_assert_int_eq(tbi_identity_cert_key(&der, wall_ms, key, &verdict), rv);
    ck_assert_str_eq(verdict.text, text);
    ck_assert_uint_eq(verdict.close_code, code);
    if (rv != 0) {
        ck_assert_mem_eq(key, untouched, sizeof key);
    }
    gnutls_free(der.data);
}

START_TEST(a_certificate_that_a_node_made_is_good_at_any_time)
{
    struct tbi_identity *identity = identity_from(&alloc, 1);
    static const uint64_t times[] = {0, WALL_MS, TBI_WALL_MS_MAX, UINT64_MAX};
    char pem[TBI_CERT_PEM_SIZE];
    uint8_t key[TBQ_PUBLIC_KEY_SIZE];
    struct tbi_verdict verdict;
    gnutls_datum_t der;
    size_t size;

    ck_assert_int_eq(tbi_identity_export_cert(identity, pem, sizeof pem, &size), 0);
    gnutls_datum_t text = {.data = (unsigned char *)pem, .size = (unsigned)size};
    ck_assert_int_eq(gnutls_pem_base64_decode2("CERTIFICATE", &text, &der), 0);
    for (size_t i = 0; i < sizeof times / sizeof times[0]; i++) {
        memset(key, 0, sizeof key);
        ck_assert_int_eq(tbi_identity_cert_key(&der, times[i], key, &verdict), 0);
        ck_assert_mem_eq(key, tbi_identity_key(identity), sizeof key);
        ck_assert_uint_eq(verdict.close_code, TBI_CLOSE_NONE);
        ck_assert_str_eq(verdict.text, "");
    }
    gnutls_free(der.data);
    tbi_identity_free(identity);
}
END_TEST

START_TEST(rsa_and_ecdsa_are_named_and_refused)
{
    static const struct {
        gnutls_pk_algorithm_t type;
        unsigned bits;
        const char *text;
    } types[] = {
        {GNUTLS_PK_RSA, 2048, "the certificate's key is of type RSA; only Ed25519 is used"},
        {GNUTLS_PK_ECDSA, GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1),
         "the certificate's key is of type EC/ECDSA; only Ed25519 is used"}};

    for (size_t i = 0; i < 2; i++) {
        gnutls_x509_privkey_t key = foreign_key(types[i].type, types[i].bits);
        gnutls_x509_crt_t crt = foreign_cert(key, 0, NO_END);
        judge(crt, WALL_MS, TBQ_ERR_IDENTITY, TBI_CLOSE_KEY_TYPE, types[i].text);
        gnutls_x509_crt_deinit(crt);
        gnutls_x509_privkey_deinit(key);
    }
}
END_TEST

START_TEST(an_operators_certificate_has_its_time)
{
    gnutls_x509_privkey_t key = foreign_key(GNUTLS_PK_EDDSA_ED25519, 0);
    gnutls_x509_crt_t crt = foreign_cert(key, WALL_S, WALL_S + 60);

    judge(crt, WALL_MS - 1, TBQ_ERR_IDENTITY, TBI_CLOSE_CERTIFICATE,
          "the certificate is valid only from 2025-11-24 16:00:00 UTC on");
    judge(crt, WALL_MS, 0, TBI_CLOSE_NONE, "");
    judge(crt, WALL_MS + 60999, 0, TBI_CLOSE_NONE, "");
    judge(crt, WALL_MS + 61000, TBQ_ERR_IDENTITY, TBI_CLOSE_CERTIFICATE,
          "the certificate expired at 2025-11-24 16:01:00 UTC");
    gnutls_x509_crt_deinit(crt);
    gnutls_x509_privkey_deinit(key);
}
END_TEST

START_TEST(no_certificate_and_nonsense_are_told_apart)
{
    uint8_t key[TBQ_PUBLIC_KEY_SIZE], nonsense[] = "not a certificate";
    gnutls_datum_t empty = {0}, der = {.data = nonsense, .size = sizeof nonsense};
    struct tbi_verdict verdict;

    ck_assert_int_eq(tbi_identity_cert_key(NULL, WALL_MS, key, &verdict), TBQ_ERR_IDENTITY);
    ck_assert_uint_eq(verdict.close_code, TBI_CLOSE_NO_CERTIFICATE);
    ck_assert_int_eq(tbi_identity_cert_key(&empty, WALL_MS, key, &verdict), TBQ_ERR_IDENTITY);
    ck_assert_uint_eq(verdict.close_code, TBI_CLOSE_NO_CERTIFICATE);
    ck_assert_str_eq(verdict.text, "the peer showed no certificate");
    ck_assert_int_eq(tbi_identity_cert_key(&der, WALL_MS, key, &verdict), TBQ_ERR_IDENTITY);
    ck_assert_uint_eq(verdict.close_code, TBI_CLOSE_CERTIFICATE);
    ck_assert_str_eq(verdict.text, "the certificate cannot be read");
}
END_TEST

START_TEST(a_certificate_cut_anywhere_is_refused)
{
    gnutls_x509_privkey_t key = foreign_key(GNUTLS_PK_EDDSA_ED25519, 0);
    gnutls_x509_crt_t crt = foreign_cert(key, 0, NO_END);
    uint8_t got[TBQ_PUBLIC_KEY_SIZE];
    struct tbi_verdict verdict;
    gnutls_datum_t der;

    ck_assert_int_eq(gnutls_x509_crt_export2(crt, GNUTLS_X509_FMT_DER, &der), 0);
    ck_assert_int_eq(tbi_identity_cert_key(&der, WALL_MS, got, &verdict), 0);
    for (unsigned size = 1; size < der.size; size++) {
        gnutls_datum_t cut = {.data = der.data, .size = size};
        ck_assert_int_eq(tbi_identity_cert_key(&cut, WALL_MS, got, &verdict), TBQ_ERR_IDENTITY);
        ck_assert_uint_eq(verdict.close_code, TBI_CLOSE_CERTIFICATE);
    }
    gnutls_free(der.data);
    gnutls_x509_crt_deinit(crt);
    gnutls_x509_privkey_deinit(key);
}
END_TEST

/* --- TLS sessions over two pipes in memory ---------------------------------------------------- */

struct pipe {
    uint8_t bytes[32768];
    size_t from, to;
};

struct end {
    gnutls_session_t session;
    gnutls_certificate_credentials_t credentials;
    struct pipe *in, *out;
};

static ssize_t push(gnutls_transport_ptr_t ptr, const void *data, size_t size)
{
    struct end *end = ptr;
    ck_assert_uint_le(size, sizeof end->out->bytes - end->out->to);
    memcpy(end->out->bytes + end->out->to, data, size);
    end->out->to += size;
    return (ssize_t)size;
}

static ssize_t pull(gnutls_transport_ptr_t ptr, void *data, size_t size)
{
    struct end *end = ptr;
    size_t left = end->in->to - end->in->from;
    if (left == 0) {
        gnutls_transport_set_errno(end->session, EAGAIN);
        return -1;
    }
    size = size < left ? size : left;
    memcpy(data, end->in->bytes + end->in->from, size);
    end->in->from += size;
    return (ssize_t)size;
}

static int always_ready(gnutls_transport_ptr_t ptr, unsigned ms)
{
    struct end *end = ptr;
    (void)ms;
    return end->in->to > end->in->from ? 1 : 0;
}

/* identity NULL: the end has no certificate to show. */
static void begin(struct end *end, unsigned role, const struct tbi_identity *identity,
                  const gnutls_datum_t *ticket_key, const gnutls_datum_t *ticket)
{
    ck_assert_int_eq(gnutls_init(&end->session, role | GNUTLS_NONBLOCK), 0);
    ck_assert_int_eq(
        gnutls_priority_set_direct(end->session, "NORMAL:-VERS-ALL:+VERS-TLS1.3", NULL), 0);
    if (identity != NULL) {
        ck_assert_int_eq(tbi_identity_credentials(identity, &end->credentials), 0);
    } else {
        ck_assert_int_eq(gnutls_certificate_allocate_credentials(&end->credentials), 0);
    }
    ck_assert_int_eq(gnutls_credentials_set(end->session, GNUTLS_CRD_CERTIFICATE, end->credentials),
                     0);
    if (ticket_key != NULL) {
        ck_assert_int_eq(gnutls_session_ticket_enable_server(end->session, ticket_key), 0);
        gnutls_certificate_server_set_request(end->session, GNUTLS_CERT_REQUEST);
    }
    if (ticket != NULL) {
        ck_assert_int_eq(gnutls_session_set_data(end->session, ticket->data, ticket->size), 0);
    }
    gnutls_transport_set_ptr(end->session, end);
    gnutls_transport_set_push_function(end->session, push);
    gnutls_transport_set_pull_function(end->session, pull);
    gnutls_transport_set_pull_timeout_function(end->session, always_ready);
}

static void finish(struct end *end)
{
    gnutls_deinit(end->session);
    gnutls_certificate_free_credentials(end->credentials);
}

/* What both ends think of each other after one handshake. */
struct outcome {
    bool resumed;
    int client_rv, server_rv;
    uint8_t servers_key[TBQ_PUBLIC_KEY_SIZE], clients_key[TBQ_PUBLIC_KEY_SIZE];
    struct tbi_verdict client_says, server_says;
};

static void shake_hands(struct end *client, struct end *server)
{
    int a = GNUTLS_E_AGAIN, b = GNUTLS_E_AGAIN;
    for (int i = 0; i < 20 && (a != 0 || b != 0); i++) {
        a = a != 0 ? gnutls_handshake(client->session) : 0;
        b = b != 0 ? gnutls_handshake(server->session) : 0;
        ck_assert_msg(a == 0 || a == GNUTLS_E_AGAIN, "client: %s", gnutls_strerror(a));
        ck_assert_msg(b == 0 || b == GNUTLS_E_AGAIN, "server: %s", gnutls_strerror(b));
    }
    ck_assert_int_eq(a, 0);
    ck_assert_int_eq(b, 0);
}

/* One connection; *ticket is what the client brings, and then what it takes home. */
static struct outcome meet(const struct tbi_identity *client_identity,
                           const struct tbi_identity *server_identity,
                           const gnutls_datum_t *ticket_key, gnutls_datum_t *ticket)
{
    static struct pipe up, down;
    struct end client = {.in = &down, .out = &up}, server = {.in = &up, .out = &down};
    struct outcome o;
    uint8_t none[1];

    memset(&o, 0, sizeof o);
    up.from = up.to = down.from = down.to = 0;
    begin(&client, GNUTLS_CLIENT, client_identity, NULL, ticket->data != NULL ? ticket : NULL);
    begin(&server, GNUTLS_SERVER, server_identity, ticket_key, NULL);
    shake_hands(&client, &server);
    o.resumed = gnutls_session_is_resumed(server.session) != 0;
    o.client_rv = tbi_identity_peer_key(client.session, WALL_MS, o.servers_key, &o.client_says);
    o.server_rv = tbi_identity_peer_key(server.session, WALL_MS, o.clients_key, &o.server_says);

    /* The tickets come behind the handshake. */
    ck_assert_int_eq((int)gnutls_record_recv(client.session, none, sizeof none), GNUTLS_E_AGAIN);
    gnutls_free(ticket->data);
    ck_assert_int_eq(gnutls_session_get_data2(client.session, ticket), 0);
    finish(&client);
    finish(&server);
    return o;
}

START_TEST(both_ends_know_each_other_in_full_and_resumed_sessions)
{
    struct tbi_identity *a = identity_from(&alloc, 1), *b = identity_from(&alloc, 2);
    gnutls_datum_t ticket_key, ticket = {0};

    ck_assert_int_eq(gnutls_session_ticket_key_generate(&ticket_key), 0);
    for (int round = 0; round < 3; round++) {
        struct outcome o = meet(a, b, &ticket_key, &ticket);
        ck_assert_int_eq(o.resumed, round > 0);
        ck_assert_int_eq(o.client_rv, 0);
        ck_assert_int_eq(o.server_rv, 0);
        ck_assert_mem_eq(o.servers_key, tbi_identity_key(b), TBQ_PUBLIC_KEY_SIZE);
        ck_assert_mem_eq(o.clients_key, tbi_identity_key(a), TBQ_PUBLIC_KEY_SIZE);
    }
    gnutls_free(ticket.data);
    gnutls_free(ticket_key.data);
    tbi_identity_free(a);
    tbi_identity_free(b);
}
END_TEST

START_TEST(who_had_no_certificate_has_none_when_resuming)
{
    struct tbi_identity *a = identity_from(&alloc, 1), *b = identity_from(&alloc, 2);
    gnutls_datum_t ticket_key, ticket = {0};

    ck_assert_int_eq(gnutls_session_ticket_key_generate(&ticket_key), 0);
    for (int round = 0; round < 2; round++) {
        /* Bringing a certificate to the second meeting does not help: the session is the old one.
         */
        struct outcome o = meet(round == 0 ? NULL : a, b, &ticket_key, &ticket);
        ck_assert_int_eq(o.resumed, round > 0);
        ck_assert_int_eq(o.client_rv, 0);
        ck_assert_int_eq(o.server_rv, TBQ_ERR_IDENTITY);
        ck_assert_uint_eq(o.server_says.close_code, TBI_CLOSE_NO_CERTIFICATE);
    }
    gnutls_free(ticket.data);
    gnutls_free(ticket_key.data);
    tbi_identity_free(a);
    tbi_identity_free(b);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("identity/peer");
    TCase *certificates = tcase_create("certificates"), *sessions = tcase_create("sessions");

    tcase_add_checked_fixture(certificates, setup, NULL);
    tcase_add_test(certificates, a_certificate_that_a_node_made_is_good_at_any_time);
    tcase_add_test(certificates, rsa_and_ecdsa_are_named_and_refused);
    tcase_add_test(certificates, an_operators_certificate_has_its_time);
    tcase_add_test(certificates, no_certificate_and_nonsense_are_told_apart);
    tcase_add_test(certificates, a_certificate_cut_anywhere_is_refused);
    suite_add_tcase(s, certificates);

    tcase_add_checked_fixture(sessions, setup, NULL);
    tcase_add_test(sessions, both_ends_know_each_other_in_full_and_resumed_sessions);
    tcase_add_test(sessions, who_had_no_certificate_has_none_when_resuming);
    suite_add_tcase(s, sessions);
    return tbi_test_main(s);
}
