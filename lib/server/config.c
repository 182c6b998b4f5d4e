/* server/config.c - see config.h, and <tbquic/config.h> for the fields. */
#include "server/config.h"

#include <string.h>

#include "base/cursor.h"
#include "base/log.h"
#include "io/udp.h"

#define KIB(n) ((size_t)(n) << 10)
#define MIB(n) ((size_t)(n) << 20)

/* Several of them must fit into QUIC's credit, 62 bits (RFC 9000, section 16): more makes ngtcp2
 * end the process at the first connection. */
#define WINDOW_MAX (UINT64_C(1) << 40)
#define GROWN_DEFAULT MIB(16) /* receive_window_max: 1.3 Gbit/s at a round trip of 100 ms */
#define BUDGET_DEFAULT MIB(128)

#define PATHS_WANTED_MAX                                                                           \
    4 /* one less than a link may have: one is for a connection that takes over */

static const tbq_config defaults = {
    .size = sizeof(tbq_config),
    .bind_port = 8443,
    .network_mode = TBQ_MODE_HYBRID,
    .connection_timeout_ms = 5000,
    .max_connections = 1024,
    .max_message_size = (uint32_t)MIB(1),
    .ping_interval_ms = 30000,
    .idle_timeout_ms = 60000,
    .peer_timeout_ms = 300000,
    .peers_wanted = 16,
    .refresh_interval_ms = 300000,
    .outbox_bytes = MIB(8),
    .outbox_messages = 4096,
    .log_level = TBQ_LOG_WARNING,
    .paths_max = 1,
    .congestion = TBQ_CUBIC,
};

void tbq_config_init_sized(tbq_config *config, size_t size)
{
    if (config == NULL || size < sizeof config->size) {
        return;
    }
    memcpy(config, &defaults, size < sizeof defaults ? size : sizeof defaults);
    config->size = size;
}

/* A number with its range; 0 stands for the default. */
static int number(const struct tbi_settings *s, const char *field, uint32_t *value,
                  uint32_t fallback, uint32_t min, uint32_t max)
{
    if (*value == 0) {
        *value = fallback;
    }
    if (*value < min || *value > max) {
        tbi_text(s->c.error_text, s->c.error_text_size, "%s is %lu; it must be %lu to %lu", field,
                 (unsigned long)*value, (unsigned long)min, (unsigned long)max);
        return TBQ_ERR_INVALID;
    }
    return 0;
}

static int numbers(struct tbi_settings *s)
{
    tbq_config *c = &s->c;
    const tbq_config *d = &defaults;
    int rv = number(s, "connection_timeout_ms", &c->connection_timeout_ms, d->connection_timeout_ms,
                    100, 600000);
    if (rv == 0) {
        rv = number(s, "max_connections", &c->max_connections, d->max_connections, 1, 1U << 20);
    }
    if (rv == 0) {
        rv = number(s, "max_message_size", &c->max_message_size, d->max_message_size, 1024,
                    1U << 30);
    }
    if (rv == 0) {
        rv = number(s, "ping_interval_ms", &c->ping_interval_ms, d->ping_interval_ms, 100, 3600000);
    }
    if (rv == 0) {
        /* Two pings at least: one lost datagram must not end a connection. */
        rv = number(s, "idle_timeout_ms", &c->idle_timeout_ms, d->idle_timeout_ms,
                    2 * c->ping_interval_ms, 7200000);
    }
    if (rv == 0) {
        rv = number(s, "peer_timeout_ms", &c->peer_timeout_ms, d->peer_timeout_ms, 100, 86400000);
    }
    if (rv == 0) {
        rv = number(s, "peers_wanted", &c->peers_wanted, d->peers_wanted, 1, 1U << 20);
    }
    if (rv == 0) {
        rv = number(s, "refresh_interval_ms", &c->refresh_interval_ms, d->refresh_interval_ms, 1000,
                    86400000);
    }
    if (rv == 0) {
        rv = number(s, "paths_max", &c->paths_max, d->paths_max, 1, PATHS_WANTED_MAX);
    }
    if (rv == 0 && c->link_idle_ms != 0) { /* 0 says never, and is the default */
        rv = number(s, "link_idle_ms", &c->link_idle_ms, 0, 1000, 86400000);
    }
    if (rv == 0 && c->busy_poll_us != 0) {
        rv = number(s, "busy_poll_us", &c->busy_poll_us, 0, 1, 1000000);
    }
    if (rv == 0) {
        s->buffer_wished = c->socket_buffer > 0;
        rv = number(s, "socket_buffer", &c->socket_buffer, TBI_UDP_BUFFER, 4096, 1U << 30);
    }
    return rv;
}

static int choices(struct tbi_settings *s)
{
    tbq_config *c = &s->c;

    if ((unsigned)c->congestion > TBQ_RENO) {
        tbi_text(c->error_text, c->error_text_size,
                 "congestion is %d; it must be TBQ_CUBIC, TBQ_BBR or TBQ_RENO", (int)c->congestion);
        return TBQ_ERR_INVALID;
    }
    for (size_t i = 0; i < TBQ_LANES; i++) {
        if ((unsigned)c->schedule[i] > TBQ_REDUNDANT) {
            tbi_text(c->error_text, c->error_text_size,
                     "schedule[%zu] is %d; it must be TBQ_FAILOVER, _AGGREGATE or _REDUNDANT", i,
                     (int)c->schedule[i]);
            return TBQ_ERR_INVALID;
        }
    }
    return 0;
}

static int budgets(struct tbi_settings *s)
{
    tbq_config *c = &s->c;
    size_t least = 2 * (size_t)c->max_message_size + KIB(64);

    if (c->outbox_bytes == 0) {
        c->outbox_bytes = defaults.outbox_bytes > c->max_message_size ? defaults.outbox_bytes
                                                                      : c->max_message_size;
    }
    c->outbox_messages = c->outbox_messages > 0 ? c->outbox_messages : defaults.outbox_messages;
    c->receive_window = c->receive_window > 0 ? c->receive_window : least;
    if (c->outbox_bytes < c->max_message_size) {
        tbi_text(c->error_text, c->error_text_size,
                 "outbox_bytes is %zu; it must hold one message of max_message_size, %lu bytes",
                 c->outbox_bytes, (unsigned long)c->max_message_size);
        return TBQ_ERR_INVALID;
    }
    if (c->receive_window < least) {
        tbi_text(c->error_text, c->error_text_size,
                 "receive_window is %zu; it must be at least %zu: two messages of max_message_size "
                 "and 64 KiB",
                 c->receive_window, least);
        return TBQ_ERR_INVALID;
    }
    if (c->receive_window > WINDOW_MAX) {
        tbi_text(c->error_text, c->error_text_size,
                 "receive_window is %zu; it must be at most %llu, 1 TiB", c->receive_window,
                 (unsigned long long)WINDOW_MAX);
        return TBQ_ERR_INVALID;
    }
    return 0;
}

/* How far windows grow beyond receive_window, which is checked already. */
static int growth(struct tbi_settings *s)
{
    tbq_config *c = &s->c;

    if (c->receive_window_max == 0) {
        c->receive_window_max =
            c->receive_window > GROWN_DEFAULT ? c->receive_window : GROWN_DEFAULT;
    }
    c->receive_budget = c->receive_budget > 0 ? c->receive_budget : BUDGET_DEFAULT;
    if (c->receive_window_max < c->receive_window || c->receive_window_max > WINDOW_MAX) {
        tbi_text(c->error_text, c->error_text_size,
                 "receive_window_max is %zu; it must be at least receive_window, which is %zu, and "
                 "at most %llu, 1 TiB",
                 c->receive_window_max, c->receive_window, (unsigned long long)WINDOW_MAX);
        return TBQ_ERR_INVALID;
    }
    if (c->receive_budget > WINDOW_MAX) {
        tbi_text(c->error_text, c->error_text_size,
                 "receive_budget is %zu; it must be at most %llu, 1 TiB", c->receive_budget,
                 (unsigned long long)WINDOW_MAX);
        return TBQ_ERR_INVALID;
    }
    return 0;
}

static int listening(struct tbi_settings *s)
{
    tbq_config *c = &s->c;
    char text[TBI_ADDR_TEXT_SIZE + 16];

    if (c->network_mode < TBQ_MODE_CLIENT || c->network_mode > TBQ_MODE_HYBRID) {
        tbi_text(c->error_text, c->error_text_size,
                 "network_mode is %d; it must be TBQ_MODE_CLIENT, _SERVER or _HYBRID",
                 (int)c->network_mode);
        return TBQ_ERR_INVALID;
    }
    if (c->network_mode == TBQ_MODE_CLIENT) {
        c->bind_address = NULL;
        c->bind_port = 0;
    }
    const char *address = c->bind_address != NULL ? c->bind_address : "::";
    tbi_text(text, sizeof text, strchr(address, ':') != NULL ? "[%s]:%u" : "%s:%u", address,
             (unsigned)c->bind_port);
    if (strlen(address) > TBI_ADDR_TEXT_SIZE || tbi_addr_from_text(&s->bind, text) < 0) {
        tbi_text(c->error_text, c->error_text_size,
                 "bind_address is \"%.80s\"; it must be a numeric IPv4 or IPv6 address", address);
        return TBQ_ERR_INVALID;
    }
    return 0;
}

static int bootstrap(struct tbi_settings *s)
{
    tbq_config *c = &s->c;

    if (c->bootstrap_nodes_len > TBI_BOOTSTRAP_MAX) {
        tbi_text(c->error_text, c->error_text_size, "bootstrap_nodes_len is %zu; at most %d",
                 c->bootstrap_nodes_len, TBI_BOOTSTRAP_MAX);
        return TBQ_ERR_INVALID;
    }
    if (c->bootstrap_nodes_len > 0 && c->network_mode == TBQ_MODE_SERVER) {
        tbi_text(c->error_text, c->error_text_size,
                 "bootstrap_nodes is set, but network_mode TBQ_MODE_SERVER dials nobody");
        return TBQ_ERR_MODE;
    }
    for (size_t i = 0; i < c->bootstrap_nodes_len; i++) {
        const char *text = c->bootstrap_nodes != NULL ? c->bootstrap_nodes[i] : NULL;
        if (text == NULL || tbi_target_parse(&s->bootstrap[i], text) < 0 ||
            s->bootstrap[i].port == 0) {
            tbi_text(c->error_text, c->error_text_size,
                     "bootstrap_nodes[%zu] is \"%.120s\"; it must be host:port, [v6]:port or "
                     "tbq://PEERID@host:port",
                     i, text != NULL ? text : "(null)");
            return TBQ_ERR_INVALID;
        }
    }
    s->bootstrap_len = c->bootstrap_nodes_len;
    return 0;
}

static int advertise(struct tbi_settings *s)
{
    tbq_config *c = &s->c;

    if (c->advertise_addresses_len > TBI_ADVERTISE_MAX) {
        tbi_text(c->error_text, c->error_text_size, "advertise_addresses_len is %zu; at most %d",
                 c->advertise_addresses_len, TBI_ADVERTISE_MAX);
        return TBQ_ERR_INVALID;
    }
    for (size_t i = 0; i < c->advertise_addresses_len; i++) {
        const char *text = c->advertise_addresses != NULL ? c->advertise_addresses[i] : NULL;
        struct tbi_target *t = &s->advertise[i];
        if (text == NULL || tbi_target_parse(t, text) < 0 || t->pinned || t->port == 0 ||
            (t->numeric && tbi_addr_is_any(&t->addr))) {
            tbi_text(c->error_text, c->error_text_size,
                     "advertise_addresses[%zu] is \"%.120s\"; it must be host:port or [v6]:port", i,
                     text != NULL ? text : "(null)");
            return TBQ_ERR_INVALID;
        }
    }
    s->advertise_len = c->advertise_addresses_len;
    return 0;
}

static int files(struct tbi_settings *s)
{
    tbq_config *c = &s->c;
    if ((c->cert_path == NULL) != (c->key_path == NULL)) {
        tbi_text(c->error_text, c->error_text_size, "%s is set without %s; give both or none",
                 c->cert_path != NULL ? "cert_path" : "key_path",
                 c->cert_path != NULL ? "key_path" : "cert_path");
        return TBQ_ERR_INVALID;
    }
    return 0;
}

int tbi_settings_told(const struct tbi_settings *s)
{
    const tbq_config *c = &s->c;

    if (c->capabilities > TBI_VARINT_MAX) {
        tbi_text(c->error_text, c->error_text_size,
                 "capabilities is %llu; bits 62 and 63 cannot be told to peers",
                 (unsigned long long)c->capabilities);
        return TBQ_ERR_INVALID;
    }
    if ((int)c->role < TBQ_ROLE_NONE || (int)c->role > TBQ_ROLE_TIME_BANDIT) {
        tbi_text(c->error_text, c->error_text_size,
                 "role is %d; it must be one of TBQ_ROLE_NONE to TBQ_ROLE_TIME_BANDIT",
                 (int)c->role);
        return TBQ_ERR_INVALID;
    }
    return 0;
}

int tbi_settings_read(struct tbi_settings *s, const tbq_config *config)
{
    int rv;

    memset(s, 0, sizeof *s);
    s->c = defaults;
    if (config == NULL || config->size < sizeof config->size) {
        return TBQ_ERR_INVALID;
    }
    memcpy(&s->c, config, config->size < sizeof s->c ? config->size : sizeof s->c);
    if ((rv = numbers(s)) < 0 || (rv = choices(s)) < 0 || (rv = budgets(s)) < 0 ||
        (rv = growth(s)) < 0 || (rv = listening(s)) < 0 || (rv = bootstrap(s)) < 0 ||
        (rv = advertise(s)) < 0 || (rv = files(s)) < 0) {
        return rv;
    }
    return tbi_settings_told(s);
}

/* The strings that are of use after the start. */
#define KEPT_STRINGS 5
static void kept_strings(tbq_config *c, const char **field[KEPT_STRINGS])
{
    field[0] = &c->state_dir;
    field[1] = &c->allow_path;
    field[2] = &c->deny_path;
    field[3] = &c->ca_path;
    field[4] = &c->known_peers_path;
}

int tbi_settings_keep(struct tbi_settings *s, const struct tbi_alloc *a)
{
    const char **field[KEPT_STRINGS];
    char *copy[KEPT_STRINGS] = {NULL};

    kept_strings(&s->c, field);
    for (size_t i = 0; i < KEPT_STRINGS; i++) {
        if (*field[i] != NULL && (copy[i] = tbi_strdup(a, *field[i])) == NULL) {
            while (i-- > 0) {
                tbi_free(a, copy[i]);
            }
            return TBQ_ERR_NOMEM;
        }
    }
    for (size_t i = 0; i < KEPT_STRINGS; i++) {
        *field[i] = copy[i];
    }
    s->c.bind_address = s->c.cert_path = s->c.key_path = NULL;
    s->c.bootstrap_nodes = s->c.advertise_addresses = NULL;
    s->c.error_text = NULL; /* was promised not to be kept */
    s->c.error_text_size = 0;
    s->kept = true;
    return 0;
}

void tbi_settings_free(struct tbi_settings *s, const struct tbi_alloc *a)
{
    const char **field[KEPT_STRINGS];

    kept_strings(&s->c, field);
    for (size_t i = 0; i < KEPT_STRINGS && s->kept; i++) {
        tbi_free(a, (void *)(uintptr_t)*field[i]);
    }
}
