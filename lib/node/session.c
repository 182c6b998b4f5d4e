/* node/session.c - one connection from its handshake to its end: HELLO, CONFIRM, what a link writes
 * to it, and what comes on its control stream (docs/protocol.md, section 5).
 *
 * Frames arrive from inside the transport's callback: nothing here frees or ends a connection then,
 * it only marks it closing. */
#include <string.h>

#include "node/parts.h"

struct tbi_session *tbi_session_new(struct tbi_node *node, uint64_t conn, bool dialled,
                                    const struct tbi_addr *remote)
{
    struct tbi_session *s = tbi_calloc(node->alloc, 1, sizeof *s);
    uint64_t timeout = (uint64_t)node->cfg.settings.connection_timeout_ms * TBI_NS_PER_MS;

    if (s == NULL) {
        return NULL;
    }
    s->node = node;
    s->conn = conn;
    s->dialled = dialled;
    s->remote = *remote;
    s->began = node->now.mono_ns;
    s->control_out = -1;
    tbi_list_init(&s->member);
    tbi_list_init(&s->attempt);
    tbi_list_init(&s->carries);
    tbi_frame_reader_init(&s->control_in);
    for (size_t i = 0; i < TBQ_LANES; i++) {
        s->lane_out[i] = -1;
    }
    if (tbi_timer_register(&node->timers, &s->timer, s, TBI_TIMER_SESSION) < 0) {
        tbi_free(node->alloc, s);
        return NULL;
    }
    if (tbi_map_put(&node->sessions, &s->conn, s) < 0) {
        tbi_timer_unregister(&node->timers, &s->timer);
        tbi_free(node->alloc, s);
        return NULL;
    }
    s->busy = tbi_busy_is(s);
    tbi_conn_set_user(tbi_endpoint_conn(node->endpoint, conn), s);
    tbi_timer_set(&node->timers, &s->timer, s->began + timeout);
    return s;
}

/* The link goes on without this connection. */
static void leave_link(struct tbi_session *s, int reason)
{
    struct tbi_link_path *path = s->path;

    if (path != NULL) {
        s->path = NULL;
        tbi_link_detach(path, reason);
        tbi_bond_touch(s->bond);
    }
}

void tbi_session_free(struct tbi_session *s)
{
    struct tbi_node *node = s->node;
    struct tbi_conn *conn = tbi_endpoint_conn(node->endpoint, s->conn);

    if (conn != NULL) {
        tbi_conn_set_user(conn, NULL);
    }
    if (s->bond != NULL && s->bond->chosen == s) {
        s->bond->chosen = NULL;
    }
    leave_link(s, TBQ_ERR_CLOSED);
    tbi_further_settled(s);
    if (s->bond != NULL) {
        s->bond->session = s->bond->session == s ? NULL : s->bond->session;
    }
    tbi_list_remove(&s->member);
    tbi_list_remove(&s->carries);
    for (size_t i = 0; i < s->in_len; i++) {
        tbi_instream_free(&s->in[i]);
    }
    tbi_free(node->alloc, s->in);
    tbi_block_unref(s->control_body);
    tbi_block_unref(s->record);
    tbi_block_unref(s->referrals);
    tbi_list_remove(&s->attempt);
    tbi_map_remove(&node->sessions, &s->conn);
    tbi_timer_unregister(&node->timers, &s->timer);
    tbi_free(node->alloc, s);
}

struct tbi_conn *tbi_session_conn(const struct tbi_session *s)
{
    return tbi_endpoint_conn(s->node->endpoint, s->conn);
}

void tbi_session_close(struct tbi_session *s, uint64_t code, const char *text)
{
    if (!s->closing) {
        s->closing = true;
        leave_link(s, TBQ_ERR_CLOSED);
        tbi_conn_close(tbi_session_conn(s), s->node->now, code, text);
    }
}

void tbi_session_breaks(struct tbi_session *s, uint64_t code, const char *what)
{
    if (!s->closing && code != TBI_CLOSE_INTERNAL && code != TBI_CLOSE_REPLACED) {
        s->node->protocol_errors++;
    }
    tbi_session_close(s, code, what);
}

void tbi_session_violation(struct tbi_session *s, int error, const char *what)
{
    uint64_t code = error == TBQ_ERR_UNSUPPORTED ? TBI_CLOSE_VERSION
                    : error == TBQ_ERR_LIMIT     ? TBI_CLOSE_LIMIT
                                                 : TBI_CLOSE_PROTOCOL;
    tbi_session_breaks(s, code, what);
}

/* --- What a link writes ----------------------------------------------------------------------- */

static int64_t stream_out(struct tbi_session *s, int stream)
{
    return stream == TBI_LINK_CONTROL ? s->control_out : s->lane_out[stream];
}

int tbi_session_open(struct tbi_session *s, const struct tbi_prologue *p, unsigned priority,
                     int64_t *stream)
{
    uint8_t bytes[TBI_PROLOGUE_SIZE_MAX];
    struct tbi_writer w;

    int rv = tbi_conn_open_uni(tbi_session_conn(s), priority, stream);
    if (rv < 0) {
        return rv;
    }
    tbi_put_init(&w, bytes, sizeof bytes);
    tbi_put_prologue(&w, p);
    return tbi_conn_write(tbi_session_conn(s), *stream, bytes, tbi_put_size(&w), NULL, false);
}

void tbi_session_stream_stopped(struct tbi_session *s, int64_t stream)
{
    for (int i = TBI_LINK_CONTROL; i < (int)TBQ_LANES; i++) {
        if (stream_out(s, i) == stream) {
            tbi_session_violation(s, TBQ_ERR_PROTOCOL, "STOP_SENDING for a control or lane stream");
        }
    }
}

static size_t link_room(void *user, int stream)
{
    struct tbi_session *s = user;
    int64_t id = stream_out(s, stream);
    if (s->closing) {
        return 0;
    }
    size_t unsent = id >= 0 ? tbi_conn_unsent(tbi_session_conn(s), id) : 0;
    return unsent < TBI_STREAM_UNSENT_MAX ? TBI_STREAM_UNSENT_MAX - unsent : 0;
}

static int link_write(void *user, int stream, const struct tbi_headed *frames, size_t count)
{
    struct tbi_session *s = user;

    if (s->closing) {
        return TBQ_ERR_CLOSED;
    }
    if (stream != TBI_LINK_CONTROL && s->lane_out[stream] < 0) {
        struct tbi_prologue p = {.type = TBI_STREAM_LANE, .lane = (tbq_lane)stream};
        int rv = tbi_session_open(s, &p, 1 + (unsigned)stream, &s->lane_out[stream]);
        if (rv < 0) {
            s->lane_out[stream] = -1;
            return rv;
        }
    }
    return tbi_conn_write_all(tbi_session_conn(s), stream_out(s, stream), frames, count);
}

static int link_write_aside(void *user, tbq_lane lane, bool unordered,
                            const struct tbi_headed *frame)
{
    struct tbi_session *s = user;
    struct tbi_prologue p = {.type = unordered ? TBI_STREAM_UNORDERED : TBI_STREAM_ASIDE,
                             .lane = lane};
    int64_t stream;

    if (s->closing) {
        return TBQ_ERR_CLOSED;
    }
    int rv = tbi_session_open(s, &p, 1 + (unsigned)lane, &stream);
    return rv < 0 ? rv
                  : tbi_conn_write(tbi_session_conn(s), stream, frame->head, frame->head_size,
                                   frame->body, true);
}

static void link_consume(void *user, tbq_lane lane, uint64_t bytes)
{
    struct tbi_session *s = user;
    for (size_t i = 0; i < s->in_len; i++) {
        if (s->in[i].what == TBI_IN_LANE && s->in[i].lane == lane && s->in[i].id >= 0) {
            tbi_conn_taken(tbi_session_conn(s), s->node->now, &s->in[i].window, s->in[i].id, bytes);
            return;
        }
    }
}

static void link_consume_stream(void *user, uint64_t stream_id, uint64_t bytes)
{
    tbi_conn_consume(tbi_session_conn(user), (int64_t)stream_id, bytes);
}

static void link_stream_done(void *user, uint64_t stream_id)
{
    tbi_conn_stream_done(tbi_session_conn(user), (int64_t)stream_id);
}

static void link_facts(void *user, struct tbi_path_facts *facts)
{
    struct tbi_session *s = user;
    struct tbi_conn_facts f;

    if (s->closing) {
        return;
    }
    tbi_conn_facts(tbi_session_conn(s), &f);
    facts->rtt_ns = f.rtt_ns;
    facts->rate = f.rate;
    facts->waiting = f.unsent + f.in_flight;
    facts->streams = f.streams_left;
}

/* --- Hello and Confirm ------------------------------------------------------------------------ */

int tbi_session_write_control(struct tbi_session *s, const struct tbi_writer *w)
{
    int rv = tbi_put_error(w);
    if (rv == 0) {
        rv = tbi_conn_write(tbi_session_conn(s), s->control_out, w->begin, tbi_put_size(w), NULL,
                            false);
    }
    if (rv < 0) {
        tbi_session_close(s, TBI_CLOSE_INTERNAL, tbq_strerror(rv));
    }
    return rv;
}

static void send_hello(struct tbi_session *s)
{
    uint8_t bytes[256];
    struct tbi_writer w;
    struct tbi_hello hello = {
        .minor = TBI_PROTOCOL_MINOR,
        .max_message_size = s->node->cfg.settings.max_message_size,
        .idle_timeout_ms = s->node->cfg.settings.idle_timeout_ms,
        .beside = s->further,
    };
    struct tbi_prologue p = {.type = TBI_STREAM_CONTROL};

    if (s->hello_sent || s->closing || tbi_session_open(s, &p, 0, &s->control_out) < 0) {
        return;
    }
    memcpy(hello.boot_id, s->node->boot_id, sizeof hello.boot_id);
    tbi_put_init(&w, bytes, sizeof bytes);
    tbi_put_hello(&w, &hello);
    s->hello_sent = tbi_session_write_control(s, &w) == 0;
}

/* Two connections to one process: the newer wins where the same side dialled both; where both sides
 * dialled, within a connection timeout of each other, the one that the lower peer id dialled does.
 * Both sides compute the same. */
static bool loses_to(const struct tbi_session *s, const struct tbi_session *other)
{
    uint64_t window = (uint64_t)s->node->cfg.settings.connection_timeout_ms * TBI_NS_PER_MS;

    if (s->dialled == other->dialled || s->ready_at > other->ready_at + window) {
        return false;
    }
    bool lower_is_us = tbq_peer_id_compare(&s->node->id, &s->peer_id) < 0;
    return s->dialled != lower_is_us;
}

/* Before CONFIRM, so that no connection is confirmed that will not be kept (section 5.4). */
static bool choose(struct tbi_session *s)
{
    struct tbi_session *other = s->bond->chosen;

    if (other != NULL && other != s && !other->closing) {
        struct tbi_session *loser = loses_to(s, other) ? s : other;
        tbi_session_close(loser, TBI_CLOSE_REPLACED, tbi_close_text(TBI_CLOSE_REPLACED));
        if (loser == s) {
            return false;
        }
    }
    s->bond->chosen = s;
    return true;
}

static void send_confirm(struct tbi_session *s)
{
    uint8_t bytes[TBI_CONTROL_FRAME_MAX];
    struct tbi_writer w;
    struct tbi_confirm confirm;

    tbi_link_confirm(s->bond->link, &confirm);
    memcpy(s->base, confirm.base, sizeof s->base);
    confirm.observed = s->remote;
    confirm.record = s->node->record;
    confirm.record_size = s->node->record_size;
    tbi_put_init(&w, bytes, sizeof bytes);
    tbi_put_confirm(&w, &confirm);
    s->confirm_sent = tbi_session_write_control(s, &w) == 0;
}

static void maybe_up(struct tbi_session *s);

/* Whether it is one more path of a link that has one; then its bond is known. */
static bool is_further(struct tbi_session *s)
{
    if (s->dialled) {
        return s->further;
    }
    struct tbi_bond *b =
        s->hello.beside ? tbi_bond_find(s->node, &s->peer_id, s->hello.boot_id) : NULL;
    if (b == NULL || b->session == NULL) {
        return false; /* here the link has none (any more): then it is the first one */
    }
    tbi_bond_enter(b, s);
    return true;
}

void tbi_session_join(struct tbi_session *s)
{
    if (s->closing || s->confirm_sent) {
        return;
    }
    if (tbi_further_full(s->bond)) {
        tbi_further_refuse(s, "the link has as many connections as it may have");
        return;
    }
    send_confirm(s);
    maybe_up(s);
}

static void get_ready_alone(struct tbi_session *s);
static void speak_ahead(struct tbi_session *s);

/* The handshake is done, the peer is trusted and its HELLO is in: find its bond, and say so. */
static void get_ready(struct tbi_session *s)
{
    struct tbi_node *node = s->node;

    if (!s->trusted || !s->hello_in || s->confirm_sent || s->joins || s->closing) {
        return;
    }
    if (memcmp(s->hello.boot_id, node->boot_id, TBI_BOOT_ID_SIZE) == 0) {
        if (s->dialled) {
            char at[TBI_ADDR_TEXT_SIZE];
            tbi_addr_to_text(&s->remote, at);
            tbi_node_warn(node, NULL, "%s leads to this node itself; it is not dialled again", at);
            if (s->contact != NULL) {
                s->contact->persistent = false;
            }
        }
        tbi_session_close(s, TBI_CLOSE_SELF, tbi_close_text(TBI_CLOSE_SELF));
        return;
    }
    if (tbq_peer_id_compare(&s->peer_id, &node->id) == 0) {
        tbi_node_warn(node, &s->peer_id, "a second process has this node's own key");
    }
    s->ready_at = node->now.mono_ns;
    if (is_further(s)) {
        tbi_further_ready(s);
    } else {
        get_ready_alone(s);
    }
}

static void get_ready_alone(struct tbi_session *s)
{
    struct tbi_node *node = s->node;
    struct tbi_bond *waiting = s->contact != NULL ? s->contact->bond : NULL;

    tbi_race_won(s);
    if (s->contact == NULL) {
        if (s->dialled || (s->contact = tbi_contact_new(node)) == NULL) {
            tbi_session_close(s, TBI_CLOSE_BUSY, tbi_close_text(TBI_CLOSE_BUSY));
            return;
        }
        s->contact->session = s;
    }
    struct tbi_bond *b = tbi_bond_for(node, &s->peer_id, s->hello.boot_id, waiting);
    if (b == NULL) {
        tbi_session_close(s, TBI_CLOSE_BUSY, tbi_close_text(TBI_CLOSE_BUSY));
        return;
    }
    tbi_bond_enter(b, s);
    if (waiting != b) {
        if (waiting != NULL) {
            tbi_bond_let_go(s->contact);
        }
        tbi_bond_hold(b, s->contact);
    }
    if (choose(s)) {
        send_confirm(s);
        speak_ahead(s);
        maybe_up(s);
    }
}

static void tell_connected(const struct tbi_session *s, tbq_connection handle, struct tbi_event *e)
{
    tbi_event_set_peer(e, &s->peer_id);
    tbi_event_set_address(e, &s->remote);
    e->pub.connection = handle;
    e->pub.dialled = s->dialled;
    tbi_events_push_notice(&s->node->events, e);
}

void tbi_session_ping_later(struct tbi_session *s)
{
    tbi_timer_set(&s->node->timers, &s->timer,
                  s->node->now.mono_ns +
                      (uint64_t)s->node->cfg.settings.ping_interval_ms * TBI_NS_PER_MS);
}

static void come_up_for_contact(struct tbi_session *s, const struct tbi_confirm *theirs,
                                struct tbi_event *e)
{
    tbq_connection handle = s->contact->handle;

    tbi_contact_session_up(s->contact);
    tell_connected(s, handle, e);
    tbi_discovery_met(s, &theirs->observed);
    tbi_session_ping_later(s);
    tbi_load_met(s);
}

static struct tbi_link_conn functions_of(struct tbi_session *s)
{
    return (struct tbi_link_conn){
        .user = s,
        .room = link_room,
        .write = link_write,
        .write_aside = link_write_aside,
        .consume = link_consume,
        .consume_stream = link_consume_stream,
        .stream_done = link_stream_done,
        .facts = link_facts,
    };
}

/* A client's first messages do not wait for the server's CONFIRM (section 5.3): they leave with the
 * end of its handshake, and a round trip earlier. */
static void speak_ahead(struct tbi_session *s)
{
    struct tbi_link_conn conn = functions_of(s);
    struct tbi_link_limits limits = {.max_message_size = s->hello.max_message_size};

    if (s->dialled && s->confirm_sent && !s->confirm_in && !s->closing) {
        tbi_dispatch_pings_leave(s->bond);
        s->path = tbi_link_attach_ahead(s->bond->link, &conn, &limits, TBI_EARLY_BYTES_MAX);
        tbi_bond_touch(s->bond);
    }
}

/* The link has one more path, or may use the one that it has. False: out of memory. */
static bool join_link(struct tbi_session *s, const struct tbi_confirm *theirs)
{
    struct tbi_link_conn conn = functions_of(s);
    struct tbi_link_limits limits = {.max_message_size = s->hello.max_message_size};

    tbi_dispatch_pings_leave(s->bond);
    if (s->path != NULL) {
        tbi_link_confirmed(s->path, theirs);
    } else {
        s->path = tbi_link_attach(s->bond->link, &conn, s->base, theirs, &limits);
    }
    return s->path != NULL;
}

static void come_up(struct tbi_session *s, const struct tbi_confirm *theirs)
{
    struct tbi_event *e = NULL;

    if (s->joins && tbi_further_full(s->bond)) { /* others were faster */
        tbi_further_refuse(s, "the link has as many connections as it may have");
        return;
    }
    /* The link may have lost all others while this one was on its way. */
    if (s->bond->session == NULL && s->contact == NULL && tbi_contact_adopt(s) < 0) {
        tbi_session_close(s, TBI_CLOSE_BUSY, tbi_close_text(TBI_CLOSE_BUSY));
        return;
    }
    if (s->contact != NULL) {
        e = tbi_event_new(&s->node->events, s->node, TBQ_EVENT_CONNECTED);
        if (e == NULL) { /* what is not told must not be */
            tbi_session_close(s, TBI_CLOSE_INTERNAL, tbq_strerror(TBQ_ERR_NOMEM));
            return;
        }
    }
    if (!join_link(s, theirs)) {
        tbi_event_free(e);
        tbi_session_close(s, TBI_CLOSE_INTERNAL, tbq_strerror(TBQ_ERR_NOMEM));
        return;
    }
    s->bond->peer->seen_ms = s->node->now.wall_ms;
    s->up = true;
    tbi_conn_shed(tbi_session_conn(s), tbi_trust_reads_chains(s->node->cfg.trust));
    tbi_further_settled(s);
    tbi_bond_carried(s->bond, s);
    if (e != NULL) {
        come_up_for_contact(s, theirs, e);
    } else {
        tbi_discovery_reached(s);
        tbi_timer_set(&s->node->timers, &s->timer, TBI_NEVER);
    }
    tbi_instreams_to_link(s);
    tbi_contact_follow(s->bond);
    tbi_further_up(s);
    tbi_bond_touch(s->bond);
}

/* A client's CONFIRM comes in the same packet as the end of its handshake: before it was asked
 * whether to trust it. Then it waits here until ours is sent. */
static void maybe_up(struct tbi_session *s)
{
    struct tbi_peer *peer;

    if (!s->confirm_in || !s->confirm_sent || s->up || s->closing) {
        return;
    }
    peer = s->bond->peer;
    memcpy(peer->key, s->peer_key, sizeof peer->key);
    peer->met = true;
    int rv =
        s->record != NULL ? tbi_discovery_own_word(s->node, s->peer_key, s->record, &s->remote) : 0;
    if (rv == TBQ_ERR_PROTOCOL) {
        tbi_session_violation(s, rv,
                              "the record in CONFIRM is not the peer's own, or not as it must be");
    } else if (rv < 0) {
        tbi_session_close(s, TBI_CLOSE_INTERNAL, tbq_strerror(rv));
    } else {
        come_up(s, &s->confirm);
    }
    tbi_block_unref(s->record);
    s->record = NULL;
}

void tbi_session_writable_early(struct tbi_session *s)
{
    if (!s->busy) {
        send_hello(s);
        tbi_early_ask(s);
        tbi_early_answer(s);
    }
}

void tbi_session_trusted(struct tbi_session *s)
{
    s->trusted = true;
    if (s->busy) {
        tbi_busy_tell(s);
        return;
    }
    send_hello(s);
    get_ready(s);
    tbi_early_tell(s);
    tbi_busy_trusted(s);
}

/* --- What comes in ---------------------------------------------------------------------------- */

/* The frames of 0-RTT. False: it is none of them, or not for this side now. */
static bool on_early_frame(struct tbi_session *s, uint64_t type, struct tbi_cursor body)
{
    bool early = tbi_conn_is_early(tbi_session_conn(s));
    int rv = 0;

    if (early && type == TBI_FRAME_EARLY_PING && s->hello_in) {
        rv = tbi_early_ping_in(s, body);
    } else if (early && type != TBI_FRAME_HELLO && (type & 1) == 0) {
        tbi_early_wrong(s);
    } else if (type == TBI_FRAME_EARLY_PONG && s->dialled && s->hello_in) {
        rv = tbi_early_pong_in(s, body);
    } else {
        return false;
    }
    if (rv < 0) {
        tbi_session_violation(s, rv, "a frame of 0-RTT is not as it must be");
    }
    return true;
}

static void on_control_frame(struct tbi_session *s, uint64_t type, struct tbi_cursor body)
{
    if (on_early_frame(s, type, body)) {
        return;
    }
    if (type == TBI_FRAME_HELLO) {
        int rv = s->hello_in ? TBQ_ERR_PROTOCOL : tbi_get_hello(body, &s->hello);
        if (rv < 0) {
            tbi_session_violation(s, rv, "HELLO is not as it must be");
            return;
        }
        s->hello_in = true;
        get_ready(s);
        return;
    }
    if (type == TBI_FRAME_BUSY && s->dialled && !s->hello_in) {
        tbi_busy_heard(s, body);
        return;
    }
    if (!s->hello_in || type == TBI_FRAME_BUSY) {
        tbi_session_violation(s, TBQ_ERR_PROTOCOL,
                              s->hello_in ? "BUSY comes instead of HELLO"
                                          : "the first frame must be HELLO");
        return;
    }
    if (type == TBI_FRAME_CONFIRM) {
        struct tbi_confirm confirm;
        int rv = s->confirm_in ? TBQ_ERR_PROTOCOL : tbi_get_confirm(body, &confirm);
        if (rv < 0) {
            tbi_session_violation(s, rv, "CONFIRM is not as it must be");
            return;
        }
        if (confirm.record_size > 0) { /* the bytes do not outlive this call */
            s->record = tbi_block_copy(s->node->alloc, confirm.record, confirm.record_size);
            if (s->record == NULL) {
                tbi_session_close(s, TBI_CLOSE_INTERNAL, "out of memory");
                return;
            }
        }
        s->confirm_in = true;
        s->confirm = confirm;
        s->confirm.record = NULL;
        s->confirm.record_size = 0;
        maybe_up(s);
        return;
    }
    if (!s->up && ((type & 1) == 0 || type == TBI_FRAME_REST)) {
        tbi_session_violation(s, TBQ_ERR_PROTOCOL, "a frame came before CONFIRM");
        return;
    }
    if (type == TBI_FRAME_REST) {
        tbi_rest_asked(s, body);
        tbi_bond_touch(s->bond);
    } else if (s->path != NULL && (type & 1) == 0) {
        tbi_link_control(s->path, s->node->now, type, body);
        tbi_bond_touch(s->bond);
    }
}

/* Of a frame's body: most frames come whole, the others are put together. */
static void control_piece(struct tbi_session *s, const uint8_t *piece, size_t size, bool complete)
{
    struct tbi_block *whole = s->control_body;
    struct tbi_cursor body;

    if (whole == NULL && !complete) {
        whole = s->control_body = tbi_block_new(s->node->alloc, (size_t)s->control_in.length);
    }
    if ((whole == NULL && !complete) ||
        (whole != NULL && tbi_block_append(whole, piece, size) < 0)) {
        tbi_session_close(s, TBI_CLOSE_INTERNAL, "out of memory");
        return;
    }
    if (complete) {
        s->control_body = NULL;
        tbi_cur_init(&body, whole != NULL ? whole->data : piece,
                     whole != NULL ? whole->size : size);
        on_control_frame(s, s->control_in.type, body);
        tbi_block_unref(whole);
    }
}

void tbi_session_control(struct tbi_session *s, const uint8_t *data, size_t size)
{
    struct tbi_cursor c;
    tbi_cur_init(&c, data, size);
    while (!s->closing) {
        const uint8_t *piece;
        size_t piece_size;
        bool complete;
        struct tbi_frame_reader *r = &s->control_in;
        switch (tbi_frame_step(r, &c, &piece, &piece_size, &complete)) {
        case TBI_STEP_NEED_MORE:
            return;
        case TBI_STEP_HEAD:
            if (r->length > TBI_CONTROL_FRAME_MAX) {
                tbi_session_violation(s, TBQ_ERR_LIMIT, "a control frame is too long");
            }
            break;
        case TBI_STEP_BODY:
            control_piece(s, piece, piece_size, complete);
            break;
        case TBI_STEP_ERROR:
            tbi_session_violation(s, TBQ_ERR_LIMIT, "a frame's head cannot be");
            break;
        }
    }
}

/* --- Time and the end ------------------------------------------------------------------------- */

void tbi_session_timer(struct tbi_session *s)
{
    if (!s->up) {
        uint64_t code = s->busy ? TBI_CLOSE_BUSY : TBI_CLOSE_TIMEOUT;
        tbi_session_close(s, code, tbi_close_text(code));
        return;
    }
    /* A full outbox has no room for it: then the keep-alive notices that the peer is gone. */
    (void)tbi_dispatch_ping(s->bond);
    tbi_session_ping_later(s);
}

/* DISCONNECTED, or RESTING. */
static void tell_end(struct tbi_session *s, tbq_event_type type, int reason, const char *text)
{
    struct tbi_event *e = tbi_event_new(&s->node->events, s->node, type);

    if (e != NULL) {
        tbi_event_set_peer(e, &s->peer_id);
        tbi_event_set_address(e, &s->remote);
        e->pub.connection = s->contact->handle;
        e->pub.reason = reason;
        tbi_event_set_text(e, text);
        tbi_events_push_notice(&s->node->events, e);
    }
}

void tbi_session_ended(struct tbi_session *s, int reason, const char *text, uint64_t close_code)
{
    struct tbi_contact *c = s->contact;
    struct tbi_bond *b = s->bond;
    bool final = tbi_close_is_final(close_code);
    bool rests = s->up && c != NULL && tbi_rest_follows(c, close_code);

    if (s->busy_heard) { /* whoever closed it */
        reason = TBQ_ERR_LIMIT;
        text = tbi_close_text(TBI_CLOSE_BUSY);
        final = false;
    }
    if (b != NULL && b->chosen == s) {
        b->chosen = NULL;
    }
    leave_link(s, reason);
    tbi_further_settled(s);
    if (s->up && b != NULL) {
        tbi_bond_lost(b, s, reason);
        /* Replaced by a connection that has ended too: the next one must be dialled. */
        final = final && (close_code != TBI_CLOSE_REPLACED || b->session != NULL);
    }
    if (c != NULL && s->up && tbi_contact_hand_on(c)) {
        c = NULL; /* another path goes on: the application hears nothing */
    } else if (c != NULL && s->up) {
        tell_end(s, rests ? TBQ_EVENT_RESTING : TBQ_EVENT_DISCONNECTED, rests ? 0 : reason, text);
    }
    if (b != NULL) {
        tbi_further_lost(b, s, reason);
    }
    struct tbi_addr remote = s->remote;
    s->contact = NULL;
    tbi_session_free(s);
    if (b != NULL) {
        tbi_bond_left(b);
    }
    if (c != NULL && rests) {
        tbi_rest_contact(c);
    } else if (c != NULL) {
        tbi_contact_session_lost(c, &remote, reason, text, final);
    }
}
