/* server/server.c - tbq_server: the engine with a socket, files and the time around it. */
#include <tbquic/server.h>

#include <string.h>

#include "server/parts.h"

/* --- Start and end ---------------------------------------------------------------------------- */

static void write_log(void *user, tbq_log_level level, const char *line)
{
    tbq_server *s = user;
    if (s->settings.c.log != NULL) {
        s->in_callback++;
        s->settings.c.log(s->settings.c.log_user, level, line);
        s->in_callback--;
    } else if (s->node != NULL) {
        tbi_node_log_event(s->node, level, line);
    }
}

static int open_socket(tbq_server *s)
{
    struct tbi_udp_config config = {.bind = s->settings.bind,
                                    .buffer_size = s->settings.c.socket_buffer};
    int rv = tbi_udp_open(&s->udp, &s->alloc, &config, s->settings.c.error_text,
                          s->settings.c.error_text_size);
    if (rv < 0) {
        return rv;
    }
    tbi_addr_to_text(tbi_udp_local(s->udp), s->address);
    return 0;
}

/* Who asked for a size is warned; the default is more than most systems allow unless told to. */
static void tell_of_small_buffers(tbq_server *s)
{
    char text[TBI_UDP_SHORT_TEXT_SIZE];

    if (tbi_udp_short(tbi_udp_stats(s->udp), text)) {
        tbi_log(&s->log, s->settings.buffer_wished ? TBQ_LOG_WARNING : TBQ_LOG_INFO, "%s", text);
    }
}

static int make_node(tbq_server *s, struct tbi_now now)
{
    struct tbi_node_config config = {
        .alloc = &s->alloc,
        .log = &s->log,
        .identity = s->identity,
        .trust = &s->trust,
        .local = *tbi_udp_local(s->udp),
        .settings = s->settings.c,
        .owner = s,
    };
    tbi_rng_bytes(&s->rng, config.seed, sizeof config.seed);
    int rv = tbi_node_new(&s->node, &config, now);
    tbi_wipe(config.seed, sizeof config.seed);
    for (size_t i = 0; rv == 0 && i < s->settings.bootstrap_len; i++) {
        rv = tbi_node_connect(s->node, now, &s->settings.bootstrap[i], true, NULL);
    }
    return rv;
}

/* What another node can dial: the bound address, or loopback where every address is bound. */
static void make_uri(tbq_server *s)
{
    static const uint8_t loopback4[4] = {127, 0, 0, 1};
    struct tbi_target t = {.numeric = true, .pinned = true, .addr = *tbi_udp_local(s->udp)};

    t.id = *tbi_identity_id(s->identity);
    if (tbi_addr_is_any(&t.addr)) {
        tbi_addr_from_bytes(&t.addr, loopback4, sizeof loopback4, tbi_addr_port(&t.addr));
    }
    tbi_target_to_text(&t, s->uri);
}

static int check_pubkey(tbq_server *s, const uint8_t *pubkey)
{
    if (pubkey == NULL || memcmp(pubkey, tbi_identity_key(s->identity), TBQ_PUBLIC_KEY_SIZE) == 0) {
        return 0;
    }
    tbi_text(s->settings.c.error_text, s->settings.c.error_text_size,
             "the key file does not hold the private key of the public key that was given");
    return TBQ_ERR_IDENTITY;
}

static int build(tbq_server *s, const tbq_actor *actor, const uint8_t *pubkey, tbq_loop *loop)
{
    uint8_t seed[TBI_RNG_SEED_SIZE];
    struct tbi_now now = tbi_server_now(s);
    int rv = tbi_random_fill(seed, sizeof seed);

    if (rv < 0) {
        return rv;
    }
    tbi_rng_init(&s->rng, seed);
    tbi_wipe(seed, sizeof seed);
    tbi_trust_init(&s->trust, &s->alloc, &s->rng);
    if (actor != NULL) {
        s->actor = *actor;
        s->has_actor = true;
        s->settings.c.take_bodies = actor->on_body != NULL;
        s->settings.c.role = s->actor.role != 0 ? s->actor.role : s->settings.c.role;
        if (s->actor.capabilities != 0) {
            s->settings.c.capabilities = s->actor.capabilities;
        }
        if ((rv = tbi_settings_told(&s->settings)) < 0) {
            return rv;
        }
    }
    if ((rv = tbi_server_load_identity(s, now)) < 0 || (rv = check_pubkey(s, pubkey)) < 0 ||
        (rv = tbi_server_load_trust(s, s->settings.c.error_text, s->settings.c.error_text_size)) <
            0 ||
        (rv = open_socket(s)) < 0 || (rv = tbi_server_watch_network(s)) < 0 ||
        (rv = tbi_wake_new(&s->wake, &s->alloc)) < 0 ||
        (rv = tbi_names_new(&s->names, &s->alloc, NULL)) < 0 || (rv = make_node(s, now)) < 0 ||
        (rv = tbi_server_load_book(s, now)) < 0 || (rv = tbi_server_load_tickets(s)) < 0 ||
        (rv = tbi_server_find_addresses(s, now)) < 0) {
        return rv;
    }
    make_uri(s);
    tell_of_small_buffers(s);
    if (loop != NULL) {
        rv = loop->attach(loop, s);
        s->loop = rv == 0 ? loop : NULL;
        rv = rv > 0 ? TBQ_ERR_INVALID : rv; /* neither success nor a TBQ_ERR_* */
    }
    return rv;
}

/* The caller's actor, however old its struct is: nothing past its size is read. */
static int read_actor(tbq_actor *a, const tbq_actor *given)
{
    tbq_actor_init(a);
    if (given->size < sizeof given->size) {
        return TBQ_ERR_INVALID;
    }
    memcpy(a, given, given->size < sizeof *a ? given->size : sizeof *a);
    return a->on_message != NULL ? 0 : TBQ_ERR_INVALID;
}

int tbq_server_start(tbq_server **server, const tbq_config *config, const tbq_actor *actor,
                     const uint8_t *pubkey, tbq_loop *loop)
{
    struct tbi_settings settings;
    struct tbi_alloc alloc;
    tbq_actor own;
    int rv;

    if (server == NULL || config == NULL || (actor != NULL && read_actor(&own, actor) < 0) ||
        (loop != NULL && (loop->attach == NULL || loop->detach == NULL))) {
        return TBQ_ERR_INVALID;
    }
    rv = tbi_settings_read(&settings, config);
    if (rv == 0) {
        rv = tbi_alloc_init(&alloc, &settings.c.allocator);
    }
    if (rv < 0) {
        return rv;
    }
    tbi_text(settings.c.error_text, settings.c.error_text_size, "%s", "");
    tbq_server *s = tbi_alloc_keep(&alloc) == 0 ? tbi_calloc(&alloc, 1, sizeof *s) : NULL;
    if (s == NULL) {
        tbi_alloc_release(&alloc);
        return TBQ_ERR_NOMEM;
    }
    s->alloc = alloc;
    s->settings = settings;
    s->key_lock.fd = -1;
    s->log = (struct tbi_log){.level = settings.c.log_level, .write = write_log, .user = s};
    rv = build(s, actor != NULL ? &own : NULL, pubkey, loop);
    if (rv == 0) {
        rv = tbi_settings_keep(&s->settings, &s->alloc);
    }
    if (rv < 0) {
        if (settings.c.error_text != NULL && settings.c.error_text_size > 0 &&
            settings.c.error_text[0] == '\0') {
            tbi_text(settings.c.error_text, settings.c.error_text_size, "%s", tbq_strerror(rv));
        }
        tbq_server_free(s);
        return rv;
    }
    *server = s;
    return 0;
}

void tbq_server_free(tbq_server *s)
{
    if (s == NULL || s->in_callback > 0) {
        return;
    }
    if (s->loop != NULL) {
        s->loop->detach(s->loop, s);
    }
    if (s->wake != NULL) {
        tbi_wake_close(s->wake);
    }
    tbi_server_save_state(s);
    struct tbi_node *node = s->node;
    s->node = NULL; /* log lines have nowhere to go from here on */
    tbi_node_free(node);
    tbi_onefd_free(s->onefd);
    tbi_netwatch_free(s->netwatch);
    tbi_names_free(s->names);
    tbi_wake_free(s->wake);
    tbi_udp_close(s->udp);
    tbi_free(&s->alloc, s->unsent_data);
    tbi_trust_free(&s->trust);
    tbi_identity_free(s->identity);
    tbi_file_unlock(&s->key_lock);
    tbi_wipe(&s->rng, sizeof s->rng);
    struct tbi_alloc alloc = s->alloc;
    tbi_settings_free(&s->settings, &alloc);
    tbi_free(&alloc, s);
    tbi_alloc_release(&alloc);
}

const tbq_peer_id *tbq_server_peer_id(const tbq_server *s)
{
    return s != NULL ? tbi_identity_id(s->identity) : NULL;
}

const char *tbq_server_uri(const tbq_server *s)
{
    return s != NULL ? s->uri : NULL;
}

const char *tbq_server_address(const tbq_server *s)
{
    return s != NULL ? s->address : NULL;
}

const char *tbq_server_trust(const tbq_server *s)
{
    return s != NULL ? tbi_trust_name(&s->trust) : NULL;
}

int tbq_server_stop(tbq_server *s, uint32_t deadline_ms)
{
    if (s == NULL) {
        return TBQ_ERR_INVALID;
    }
    tbi_node_stop(s->node, tbi_server_now(s), deadline_ms);
    return tbi_server_changed(s, 0);
}

int tbq_server_network_changed(tbq_server *s)
{
    if (s == NULL) {
        return TBQ_ERR_INVALID;
    }
    tbi_server_network_changed(s);
    return tbi_server_changed(s, 0);
}

/* --- Trust, anew ------------------------------------------------------------------------------ */

int tbq_server_reload(tbq_server *s, char *text, size_t text_size)
{
    if (s == NULL) {
        return TBQ_ERR_INVALID;
    }
    int rv = tbi_server_load_trust(s, text, text_size);
    return rv < 0 ? rv : tbi_server_changed(s, tbi_node_ask_again(s->node, tbi_server_now(s)));
}

/* --- Events and commands ---------------------------------------------------------------------- */

void tbq_event_release(tbq_event *event)
{
    tbq_server *s = tbi_node_event_owner(event);
    tbi_node_event_release(event);
    (void)tbi_server_changed(s, 0);
}

void tbq_event_refuse(tbq_event *event)
{
    tbq_server *s = tbi_node_event_owner(event);
    tbi_node_event_refuse(event);
    (void)tbi_server_changed(s, 0);
}

void tbq_event_accept(tbq_event *event)
{
    tbq_server *s = tbi_node_event_owner(event);
    tbi_node_event_accept(event);
    (void)tbi_server_changed(s, 0);
}

int tbq_post(tbq_server *s, void (*fn)(void *arg), void *arg)
{
    return s != NULL && fn != NULL ? tbi_wake_post(s->wake, fn, arg) : TBQ_ERR_INVALID;
}

int tbq_server_connect(tbq_server *s, const char *address, tbq_connection *connection)
{
    struct tbi_target target;
    int rv = s != NULL && address != NULL ? tbi_target_parse(&target, address) : TBQ_ERR_INVALID;
    return rv < 0 ? rv
                  : tbi_server_changed(s, tbi_node_connect(s->node, tbi_server_now(s), &target,
                                                           false, connection));
}

int tbq_discover(tbq_server *s, uint64_t capabilities)
{
    if (s == NULL) {
        return TBQ_ERR_INVALID;
    }
    return tbi_server_changed(s, tbi_node_discover(s->node, tbi_server_now(s), capabilities));
}

int tbq_announce(tbq_server *s)
{
    if (s == NULL) {
        return TBQ_ERR_INVALID;
    }
    return tbi_server_changed(s, tbi_node_announce(s->node, tbi_server_now(s)));
}

int tbq_server_set_load(tbq_server *s, uint32_t load, uint32_t capacity)
{
    if (s == NULL) {
        return TBQ_ERR_INVALID;
    }
    return tbi_server_changed(s, tbi_node_set_load(s->node, tbi_server_now(s), load, capacity));
}

int tbq_connection_close(tbq_server *s, tbq_connection connection)
{
    if (s == NULL) {
        return TBQ_ERR_INVALID;
    }
    return tbi_server_changed(s, tbi_node_close(s->node, tbi_server_now(s), connection));
}

static const tbq_send_options send_defaults = {.size = sizeof send_defaults,
                                               .lane = TBQ_LANE_NORMAL};

void tbq_send_options_init_sized(tbq_send_options *options, size_t size)
{
    if (options != NULL && size >= sizeof options->size) {
        memcpy(options, &send_defaults, size < sizeof send_defaults ? size : sizeof send_defaults);
        options->size = size;
    }
}

/* The caller's options, however old its struct is, over the defaults. */
static int read_options(tbq_send_options *o, const tbq_send_options *given)
{
    *o = send_defaults;
    if (given != NULL) {
        if (given->size < sizeof given->size) {
            return TBQ_ERR_INVALID;
        }
        memcpy(o, given, given->size < sizeof *o ? given->size : sizeof *o);
    }
    return (unsigned)o->lane < TBQ_LANES ? 0 : TBQ_ERR_INVALID;
}

void tbq_actor_init_sized(tbq_actor *actor, size_t size)
{
    static const tbq_actor defaults = {.size = sizeof defaults};
    if (actor != NULL && size >= sizeof actor->size) {
        memcpy(actor, &defaults, size < sizeof defaults ? size : sizeof defaults);
        actor->size = size;
    }
}

/* Only the order matters of most messages; what has a time of its own is exact. */
static struct tbi_now time_for(tbq_server *s, const tbq_message *m, const tbq_send_options *o)
{
    return m->kind == TBQ_TRANSITION && o->ttl_ms == 0 ? tbi_server_moment(s) : tbi_server_now(s);
}

int tbq_send(tbq_server *s, tbq_connection connection, const tbq_message *message,
             const tbq_send_options *options)
{
    tbq_send_options o;
    int rv = s != NULL && message != NULL ? read_options(&o, options) : TBQ_ERR_INVALID;
    return rv < 0 ? rv
                  : tbi_server_changed(s, tbi_node_send_on(s->node, time_for(s, message, &o),
                                                           connection, message, &o));
}

int tbq_send_to(tbq_server *s, const tbq_peer_id *peer, const tbq_message *message,
                const tbq_send_options *options)
{
    tbq_send_options o;
    int rv =
        s != NULL && message != NULL && peer != NULL ? read_options(&o, options) : TBQ_ERR_INVALID;
    return rv < 0 ? rv
                  : tbi_server_changed(
                        s, tbi_node_send_to(s->node, time_for(s, message, &o), peer, message, &o));
}

int tbq_broadcast(tbq_server *s, const tbq_message *message, const tbq_send_options *options)
{
    tbq_send_options o;
    int rv = s != NULL && message != NULL ? read_options(&o, options) : TBQ_ERR_INVALID;
    return rv < 0
               ? rv
               : tbi_server_changed(s, tbi_node_broadcast(s->node, tbi_server_now(s), message, &o));
}

int tbq_request(tbq_server *s, const tbq_peer_id *peer, const void *data, size_t size,
                uint32_t timeout_ms, const tbq_send_options *options, tbq_request_id *request)
{
    tbq_send_options o;

    if (s == NULL || peer == NULL || request == NULL || (data == NULL && size > 0)) {
        return TBQ_ERR_INVALID;
    }
    int rv = read_options(&o, options);
    return rv < 0 ? rv
                  : tbi_server_changed(s, tbi_node_request(s->node, tbi_server_now(s), peer,
                                                           (tbq_bytes){.data = data, .size = size},
                                                           timeout_ms, &o, request));
}

int tbq_cancel(tbq_server *s, tbq_request_id request)
{
    return s != NULL ? tbi_node_cancel(s->node, request) : TBQ_ERR_INVALID;
}

int tbq_respond(tbq_server *s, tbq_request_id request, const tbq_answer *answer)
{
    return s != NULL && answer != NULL
               ? tbi_server_changed(
                     s, tbi_node_respond(s->node, tbi_server_moment(s), request, answer))
               : TBQ_ERR_INVALID;
}

int tbq_pause(tbq_server *s, const tbq_peer_id *peer, unsigned lanes)
{
    return s != NULL && peer != NULL ? tbi_node_pause(s->node, peer, lanes) : TBQ_ERR_INVALID;
}

int tbq_resume(tbq_server *s, const tbq_peer_id *peer, unsigned lanes)
{
    return s != NULL && peer != NULL ? tbi_server_changed(s, tbi_node_resume(s->node, peer, lanes))
                                     : TBQ_ERR_INVALID;
}

size_t tbq_datagram_size_max(tbq_server *s, const tbq_peer_id *peer)
{
    return s != NULL && peer != NULL ? tbi_node_datagram_room(s->node, peer) : 0;
}

int tbq_send_datagram(tbq_server *s, const tbq_peer_id *peer, const void *data, size_t size)
{
    if (s == NULL || peer == NULL || (data == NULL && size > 0)) {
        return TBQ_ERR_INVALID;
    }
    return tbi_server_changed(s, tbi_node_send_datagram(s->node, tbi_server_now(s), peer,
                                                        (tbq_bytes){.data = data, .size = size}));
}
