/* tests/fuzz/fuzz_session.c - past the handshake: a peer that has proved its key says what it likes
 * on its streams, and the node's session, link and messages have to live with it.
 *
 * The input: a byte of flags (1: the node dials; 2: HELLO and CONFIRM are said properly first; 4:
 * the application releases nothing), then commands of one byte each: 0..3 LENGTH BYTES: on the
 * stream of that number among those opened; 4 LENGTH BYTES: on a new stream; 5 LENGTH BYTES: on a
 * new stream, which ends; 6 KIND LENGTH BYTES: a whole frame of that type on the first stream; 7
 * MS: time passes; 8: the node sends a message, and with some a body; 9: it releases one; 10: it
 * sends a request; 11: it answers one; 12: the peer does not want what the node says on its stream
 * of that number; 13: the peer, if it dials, does so again. Lengths have one byte. Other commands
 * count as their rest by 14.
 */
#include <string.h>

#include "wire/frame.h"
#include "world.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define COMMANDS_MAX 300
#define STREAMS_MAX 4

static struct world w;
static int64_t stream[STREAMS_MAX];
static size_t streams;
static size_t sent;
static bool polite, dials; /* the peer */

static struct tbi_conn *peer_conn(void)
{
    return w.peer_up ? tbi_endpoint_conn(w.peer, w.conn) : NULL;
}

static void say(int64_t on, const uint8_t *bytes, size_t size, bool fin)
{
    struct tbi_conn *c = peer_conn();
    if (c != NULL) {
        (void)tbi_conn_write(c, on, bytes, size, NULL, fin);
    }
}

static void open_with(const uint8_t *bytes, size_t size, bool fin)
{
    struct tbi_conn *c = peer_conn();
    int64_t made;

    if (c != NULL && tbi_conn_open_uni(c, 0, &made) == 0) {
        say(made, bytes, size, fin);
        if (streams < STREAMS_MAX && !fin) {
            stream[streams++] = made;
        }
    }
}

static void be_polite(void)
{
    uint8_t bytes[400] = {TBI_STREAM_CONTROL};
    struct tbi_writer out;
    struct tbi_hello hello = {.max_message_size = 4096, .idle_timeout_ms = 60000};
    struct tbi_confirm confirm = {.incarnation = 1};

    memset(hello.boot_id, 5, sizeof hello.boot_id);
    tbi_put_init(&out, bytes + 1, sizeof bytes - 1);
    tbi_put_hello(&out, &hello);
    tbi_put_confirm(&out, &confirm);
    require(tbi_put_error(&out) == 0);
    open_with(bytes, 1 + tbi_put_size(&out), false);
    world_run(&w, 5);
}

static const uint8_t *take(struct tbi_cursor *c, size_t *size)
{
    *size = tbi_cur_u8(c);
    *size = *size < tbi_cur_left(c) ? *size : tbi_cur_left(c);
    return tbi_cur_take(c, *size);
}

static void frame(struct tbi_cursor *c)
{
    uint8_t bytes[300];
    struct tbi_writer out;
    uint8_t type = tbi_cur_u8(c);
    size_t size;
    const uint8_t *body = take(c, &size);

    tbi_put_init(&out, bytes, sizeof bytes);
    tbi_put_varint(&out, type & 0x3f);
    tbi_put_prefixed(&out, body, size);
    if (streams > 0 && tbi_put_error(&out) == 0) {
        say(stream[0], bytes, tbi_put_size(&out), false);
    }
}

/* What bodies are read from: less and less at once, then nothing for now, an end or a failure. */
static int64_t read_some(void *user, void *buffer, size_t size)
{
    static const int64_t last[] = {0, TBQ_ERR_AGAIN, TBQ_ERR_FILE};
    size_t *left = user;
    size_t n = *left < size ? *left : size;

    memset(buffer, 7, n);
    *left /= 2;
    return n > 0 ? (int64_t)n : last[sent % 3];
}

static void node_sends_body(const tbq_peer_id *peer)
{
    static size_t left;
    tbq_body_options o;
    tbq_body body;

    left = 5000;
    tbq_body_options_init(&o);
    if (tbi_node_send_body(w.node, w.now, peer, read_some, &left,
                           sent % 2 == 0 ? TBQ_LENGTH_UNKNOWN : 9000, &o, &body) == 0) {
        sent++;
        if (sent % 7 == 6) {
            (void)tbi_node_body_cancel(w.node, w.now, body);
        }
    }
}

static void node_sends(bool asks)
{
    const tbq_peer_id *peer = NULL;
    const tbq_peers *all = NULL;
    tbq_send_options o;
    tbq_message m = tbq_transition("to the peer", 11);
    tbq_request_id id;

    require(tbi_node_peers(w.node, NULL, &all) == 0);
    peer = all->len > 0 ? &all->peer[0]->id : NULL;
    tbq_send_options_init(&o);
    o.lane = (tbq_lane)(sent % TBQ_LANES);
    o.unordered = sent % 3 == 0;
    o.ttl_ms = sent % 5 == 0 ? 20 : 0;
    if (peer != NULL &&
        (asks ? tbi_node_request(w.node, w.now, peer, (tbq_bytes){"which?", 6}, 10, &o, &id)
              : tbi_node_send_to(w.node, w.now, peer, &m, &o)) == 0) {
        sent++;
    }
    if (peer != NULL && sent % 3 != 1) {
        node_sends_body(peer);
    }
    tbi_peers_free(all);
}

static void node_answers(void)
{
    const tbq_answer answer = {.bytes = {"this", 4}};
    for (size_t i = 0; i < w.kept_len; i++) {
        if (w.kept[i]->type == TBQ_EVENT_REQUEST &&
            tbi_node_respond(w.node, w.now, w.kept[i]->request, &answer) == 0) {
            return;
        }
    }
}

static void dial_again(void)
{
    const struct tbi_dial_options none = {0};
    if (dials && tbi_endpoint_dial(w.peer, w.now, &w.node_addr, &none, &w.conn) == 0) {
        w.peer_up = false;
        streams = 0;
        world_run(&w, 5);
        if (polite) {
            be_polite();
        }
    }
}

static void command(struct tbi_cursor *c)
{
    uint8_t what = tbi_cur_u8(c) % 14;
    size_t size;
    const uint8_t *bytes;

    switch (what) {
    case 4:
    case 5:
        bytes = take(c, &size);
        open_with(bytes, size, what == 5);
        break;
    case 6:
        frame(c);
        break;
    case 7:
        world_run(&w, 1 + tbi_cur_u8(c) % 32);
        break;
    case 8:
    case 10:
        node_sends(what == 10);
        break;
    case 9:
        if (w.kept_len > 0) {
            tbi_node_event_release(w.kept[--w.kept_len]);
        }
        break;
    case 11:
        node_answers();
        break;
    case 12:
        if (peer_conn() != NULL) { /* 3, 7, ... are a server's, 2, 6, ... a client's */
            int64_t theirs = 4 * (int64_t)(tbi_cur_u8(c) % 8) + (dials ? 3 : 2);
            tbi_conn_stop_sending(peer_conn(), theirs, 0);
        }
        break;
    case 13:
        dial_again();
        break;
    default:
        bytes = take(c, &size);
        if (what < streams) {
            say(stream[what], bytes, size, false);
        }
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tbi_cursor c;

    tbi_cur_init(&c, data, size);
    uint8_t flags = tbi_cur_u8(&c);
    streams = sent = 0;
    dials = (flags & 1) == 0;
    polite = (flags & 2) != 0;
    world_begin(&w, !dials);
    w.keep_events = (flags & 4) != 0;
    world_connect(&w);
    if (polite) {
        be_polite();
        require(w.events[TBQ_EVENT_CONNECTED] == 1);
    }
    for (int i = 0; i < COMMANDS_MAX && tbi_cur_left(&c) > 0; i++) {
        command(&c);
        world_run(&w, 0);
    }
    world_run(&w, 30);
    require(w.events[TBQ_EVENT_FATE] <= sent);
    tbi_node_stop(w.node, w.now, 0);
    world_run(&w, 5);
    require(w.events[TBQ_EVENT_FATE] + w.kept_len >= sent); /* each has its fate by now */
    world_end(&w);
    return 0;
}
