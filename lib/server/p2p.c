/* server/p2p.c - see <tbquic/p2p.h>.
 *
 * The caller's structs may be older, and shorter, than ours: each is read into one of our own,
 * changed there, and written back no further than it reaches. */
#include <tbquic/p2p.h>

#include <string.h>

#define KIB64 ((size_t)64 << 10)

static const tbq_p2p defaults = {
    .size = sizeof(tbq_p2p),
    .bind_port = 8443,
    .replication_factor = 3,
    .node_capacity = 50,
    .refresh_interval_s = 300,
    .health_check_interval_s = 60,
    .connection_timeout_ms = 5000,
    .max_message_size = 1U << 20,
};

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

void tbq_p2p_init_sized(tbq_p2p *p2p, size_t size)
{
    if (p2p != NULL && size >= sizeof p2p->size) {
        memcpy(p2p, &defaults, least(size, sizeof defaults));
        p2p->size = size;
    }
}

static int read_config(tbq_config *to, const tbq_config *from)
{
    tbq_config_init(to);
    if (from == NULL || from->size < sizeof from->size) {
        return TBQ_ERR_INVALID;
    }
    memcpy(to, from, least(from->size, sizeof *to));
    return 0;
}

static int read_p2p(tbq_p2p *to, const tbq_p2p *from)
{
    *to = defaults;
    if (from == NULL || from->size < sizeof from->size) {
        return TBQ_ERR_INVALID;
    }
    memcpy(to, from, least(from->size, sizeof *to));
    return 0;
}

/* Budgets that were chosen for smaller messages than these. */
static void fit_budgets(tbq_config *c)
{
    if (c->receive_window < 2 * (size_t)c->max_message_size + KIB64) {
        c->receive_window = 0; /* the default, which fits */
    }
    if (c->receive_window_max < 2 * (size_t)c->max_message_size + KIB64) {
        c->receive_window_max = 0;
    }
    if (c->outbox_bytes < c->max_message_size) {
        c->outbox_bytes = 0;
    }
}

int tbq_config_from_p2p(tbq_config *config, const tbq_p2p *p2p)
{
    tbq_config c;
    tbq_p2p p;

    if (read_config(&c, config) < 0 || read_p2p(&p, p2p) < 0 ||
        p.health_check_interval_s > UINT32_MAX / 2000 || p.refresh_interval_s > UINT32_MAX / 1000) {
        return TBQ_ERR_INVALID;
    }
    c.bind_address = p.bind_address;
    c.bind_port = p.bind_port;
    c.bootstrap_nodes = p.seed_nodes;
    c.bootstrap_nodes_len = p.seed_nodes_len;
    c.max_connections = p.node_capacity;
    c.ping_interval_ms = p.health_check_interval_s * 1000;
    if (c.idle_timeout_ms < 2 * c.ping_interval_ms) {
        c.idle_timeout_ms = 2 * c.ping_interval_ms;
    }
    c.refresh_interval_ms = p.refresh_interval_s * 1000;
    c.connection_timeout_ms = p.connection_timeout_ms;
    c.max_message_size = p.max_message_size;
    fit_budgets(&c);
    memcpy(config, &c, least(config->size, sizeof c));
    return 0;
}

static uint32_t or_default(uint32_t value, uint32_t fallback)
{
    return value != 0 ? value : fallback;
}

static uint32_t seconds(uint32_t ms)
{
    return ms / 1000 + (ms % 1000 != 0);
}

int tbq_config_to_p2p(const tbq_config *config, tbq_p2p *p2p)
{
    tbq_config c, d;
    tbq_p2p p;

    if (read_config(&c, config) < 0 || read_p2p(&p, p2p) < 0) {
        return TBQ_ERR_INVALID;
    }
    tbq_config_init(&d);
    p.bind_address = c.bind_address;
    p.bind_port = c.bind_port;
    p.seed_nodes = c.bootstrap_nodes;
    p.seed_nodes_len = c.bootstrap_nodes_len;
    p.node_capacity = or_default(c.max_connections, d.max_connections);
    p.health_check_interval_s = seconds(or_default(c.ping_interval_ms, d.ping_interval_ms));
    p.refresh_interval_s = seconds(or_default(c.refresh_interval_ms, d.refresh_interval_ms));
    p.connection_timeout_ms = or_default(c.connection_timeout_ms, d.connection_timeout_ms);
    p.max_message_size = or_default(c.max_message_size, d.max_message_size);
    memcpy(p2p, &p, least(p2p->size, sizeof p));
    return 0;
}
