/* bench/zmq.c - the bench program over ZeroMQ with CURVE, as its user would write it for speed.
 *
 * usage: see side.h. --connections is known in mode `oneway`. There are no resumed sessions.
 *
 * A server has three sockets, all with CURVE: PULL takes what comes one way, DEALER answers round
 * trips (with one client at a time, so no envelope is needed), ROUTER answers whoever is new, and
 * the client's lead, which says BEGIN and FINISH. Messages are filled and checked where they lie,
 * and an answer is the message that came: nothing is copied that libzmq does not copy. Each side
 * has libzmq's one I/O thread.
 *
 * The address is HOST,PORT,PORT,PORT,KEY: of PULL, DEALER and ROUTER, and the server's public key.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zmq.h>

#include "side.h"

#define KEY_SIZE 41                /* Z85, with its end */
#define WORD_SIZE 128              /* of an address */
#define QUEUE_BYTES (4 << 20)      /* what a queue may hold, about */
#define QUEUE_MIN 16               /* messages */
#define QUEUE_MAX 20000            /* messages */
#define BATCH 1000                 /* messages of one socket before another is looked at */
#define TURN ((uint64_t)16 * 1024) /* bytes for one connection of many before the next */
#define DIALS_MAX 64               /* handshakes at once, where they are not what is measured */
#define NUMBER_SIZE 8              /* of a number in front of a message, with several connections */
#define BACKLOG 4096

enum { PULL, DEALER, ROUTER, SOCKETS };

/* What a lead says, and the answer to FINISH. Other messages to a ROUTER are greetings, of another
 * size, and are sent back as they are. */
struct order {
    char what[8]; /* BEGIN or FINISH */
    uint64_t connections, messages;
};
struct done {
    char what[8]; /* DONE */
    uint64_t messages, bytes, cpu_ns;
};

static struct side_args args;
static void *context;

static int must(int rv, const char *what)
{
    if (rv < 0) {
        side_die("%s: %s", what, zmq_strerror(errno));
    }
    return rv;
}

static void set(void *socket, int option, const void *value, size_t size)
{
    must(zmq_setsockopt(socket, option, value, size), "a socket's option");
}

static void set_int(void *socket, int option, int value)
{
    set(socket, option, &value, sizeof value);
}

/* A queue of large messages is short, so that they are still in the cache when they are sent. */
static int queue_length(uint64_t size)
{
    uint64_t n = QUEUE_BYTES / size;
    return (int)(n < QUEUE_MIN ? QUEUE_MIN : n > QUEUE_MAX ? QUEUE_MAX : n);
}

static void *new_socket(int type)
{
    void *s = zmq_socket(context, type);
    if (s == NULL) {
        side_die("socket: %s", zmq_strerror(errno));
    }
    set_int(s, ZMQ_LINGER, 0);
    set_int(s, ZMQ_SNDHWM, queue_length(args.size));
    set_int(s, ZMQ_RCVHWM, queue_length(args.size));
    set_int(s, ZMQ_BACKLOG, BACKLOG);
    return s;
}

/* ---- the server ------------------------------------------------------------------------------ */

static void *sockets[SOCKETS];
static uint64_t connections = 1; /* that the client said it sends over */
static uint64_t messages, bytes, promised = SIDE_UNKNOWN, cpu_began;
static uint64_t greeted; /* libzmq does not tell how many are connected: those that have spoken */
static zmq_msg_t client; /* envelope of the lead that is owed an answer */

static void open_server(char word[WORD_SIZE])
{
    static const int types[SOCKETS] = {ZMQ_PULL, ZMQ_DEALER, ZMQ_ROUTER};
    char public[KEY_SIZE], secret[KEY_SIZE], endpoint[64];
    int len = snprintf(word, WORD_SIZE, "%s,", args.host);
    must(zmq_curve_keypair(public, secret), "making a key");
    for (int i = 0; i < SOCKETS; i++) {
        size_t size = sizeof endpoint;
        sockets[i] = new_socket(types[i]);
        set_int(sockets[i], ZMQ_CURVE_SERVER, 1);
        set(sockets[i], ZMQ_CURVE_SECRETKEY, secret, KEY_SIZE);
        snprintf(endpoint, sizeof endpoint, "tcp://%s:*", args.host);
        must(zmq_bind(sockets[i], endpoint), "bind");
        must(zmq_getsockopt(sockets[i], ZMQ_LAST_ENDPOINT, endpoint, &size), "the port");
        len += snprintf(word + len, WORD_SIZE - (size_t)len, "%s,", strrchr(endpoint, ':') + 1);
    }
    snprintf(word + len, WORD_SIZE - (size_t)len, "%s", public);
    zmq_msg_init(&client);
}

/* false: there is none. */
static bool receive(void *socket, zmq_msg_t *m, int flags)
{
    int rv = zmq_msg_recv(m, socket, flags);
    if (rv < 0 && errno != EAGAIN && errno != EINTR) {
        side_die("receiving: %s", zmq_strerror(errno));
    }
    return rv >= 0;
}

static void transmit(void *socket, zmq_msg_t *m, int flags)
{
    int rv;
    do {
        rv = zmq_msg_send(m, socket, flags);
    } while (rv < 0 && errno == EINTR);
    must(rv, "sending");
}

static void tell_when_done(void)
{
    if (messages != promised) {
        return;
    }
    struct done d = {"DONE", messages, bytes, side_cpu_ns() - cpu_began};
    transmit(sockets[ROUTER], &client, ZMQ_SNDMORE);
    must(zmq_send(sockets[ROUTER], &d, sizeof d, 0), "sending");
    promised = SIDE_UNKNOWN;
}

static void check(zmq_msg_t *m)
{
    const uint8_t *p = zmq_msg_data(m);
    size_t len = zmq_msg_size(m);
    uint64_t number = messages, front = 0;
    if (connections > 1 && len > NUMBER_SIZE) {
        memcpy(&number, p, NUMBER_SIZE);
        front = NUMBER_SIZE;
    }
    if (!side_check(p + front, len - front, number, front)) {
        side_die("message %" PRIu64 " is not what was sent", number);
    }
    messages++;
    bytes += len;
    side_took(len);
}

static void serve_pull(zmq_msg_t *m)
{
    for (int i = 0; i < BATCH && receive(sockets[PULL], m, ZMQ_DONTWAIT); i++) {
        check(m);
    }
    tell_when_done();
}

static void serve_dealer(zmq_msg_t *m)
{
    for (int i = 0; i < BATCH && receive(sockets[DEALER], m, ZMQ_DONTWAIT); i++) {
        transmit(sockets[DEALER], m, 0);
    }
}

static void obey(zmq_msg_t *m)
{
    struct order o;
    memcpy(&o, zmq_msg_data(m), sizeof o);
    if (strncmp(o.what, "BEGIN", sizeof o.what) == 0) {
        connections = o.connections;
        messages = bytes = 0;
        promised = 0; /* is answered at once */
        cpu_began = side_cpu_ns();
    } else {
        promised = o.messages;
    }
    tell_when_done();
}

static void serve_router(zmq_msg_t *m)
{
    zmq_msg_t envelope;
    zmq_msg_init(&envelope);
    while (receive(sockets[ROUTER], &envelope, ZMQ_DONTWAIT)) {
        receive(sockets[ROUTER], m, 0);
        if (zmq_msg_size(m) == sizeof(struct order)) {
            zmq_msg_move(&client, &envelope);
            obey(m);
            continue;
        }
        greeted++;
        transmit(sockets[ROUTER], &envelope, ZMQ_SNDMORE);
        transmit(sockets[ROUTER], m, 0);
    }
    zmq_msg_close(&envelope);
}

static void serve(void)
{
    char word[WORD_SIZE];
    zmq_msg_t m;
    zmq_msg_init(&m);
    open_server(word);
    zmq_pollitem_t items[] = {{sockets[PULL], 0, ZMQ_POLLIN, 0},
                              {sockets[DEALER], 0, ZMQ_POLLIN, 0},
                              {sockets[ROUTER], 0, ZMQ_POLLIN, 0},
                              {NULL, STDIN_FILENO, ZMQ_POLLIN, 0}};
    side_print_ready(word);
    for (bool more = true; more;) {
        zmq_poll(items, SOCKETS + 1, -1);
        if (items[PULL].revents) {
            serve_pull(&m);
        }
        if (items[DEALER].revents) {
            serve_dealer(&m);
        }
        if (items[ROUTER].revents) {
            serve_router(&m);
        }
        if (items[SOCKETS].revents) {
            more = side_orders(greeted);
        }
    }
    side_print_end();
}

/* ---- the client ------------------------------------------------------------------------------ */

static struct side_result result;
static struct side_times times;
static char host[16]; /* as text, of IPv4 */
static unsigned ports[SOCKETS];
static char server_key[KEY_SIZE], public_key[KEY_SIZE], secret_key[KEY_SIZE];
static void *lead;
static uint64_t began_ns, cpu_ns;

static void connect_to(void *s, int which)
{
    char endpoint[64];
    snprintf(endpoint, sizeof endpoint, "tcp://%s:%u", host, ports[which]);
    must(zmq_connect(s, endpoint), "connect");
}

static void *new_client_socket(int type)
{
    void *s = new_socket(type);
    set_int(s, ZMQ_IMMEDIATE, type == ZMQ_PUSH); /* writable is then the same as connected */
    set(s, ZMQ_CURVE_SERVERKEY, server_key, KEY_SIZE);
    set(s, ZMQ_CURVE_PUBLICKEY, public_key, KEY_SIZE);
    set(s, ZMQ_CURVE_SECRETKEY, secret_key, KEY_SIZE);
    return s;
}

static void *dial(int type, int which)
{
    void *s = new_client_socket(type);
    connect_to(s, which);
    return s;
}

static void open_client(void)
{
    if (sscanf(args.address, "%15[0-9.],%u,%u,%u,%40s", host, &ports[PULL], &ports[DEALER],
               &ports[ROUTER], server_key) != 5) {
        side_cannot("`%s` is no address of a server", args.address);
    }
    must(zmq_curve_keypair(public_key, secret_key), "making a key");
    lead = dial(ZMQ_DEALER, ROUTER);
}

/* Says it over the lead, and waits for the answer. */
static struct done order(const char *what, uint64_t count)
{
    struct order o = {.connections = args.connections, .messages = count};
    struct done d;
    snprintf(o.what, sizeof o.what, "%s", what);
    must(zmq_send(lead, &o, sizeof o, 0), "sending");
    if (must(zmq_recv(lead, &d, sizeof d, 0), "receiving") != sizeof d) {
        side_die("an answer of another size");
    }
    return d;
}

static void begin(void)
{
    order("BEGIN", 0);
    began_ns = side_now_ns();
    cpu_ns = side_cpu_ns();
}

static bool is_over(uint64_t now)
{
    return now - began_ns >= args.ns;
}

static void stop_clocks(void)
{
    result.ns = side_now_ns() - began_ns;
    result.cpu_ns = side_cpu_ns() - cpu_ns;
}

static void send_message(void *socket, uint64_t number, size_t front)
{
    zmq_msg_t m;
    must(zmq_msg_init_size(&m, args.size), "a message");
    uint8_t *p = zmq_msg_data(&m);
    if (front > 0) {
        memcpy(p, &number, front);
    }
    side_fill(p + front, args.size - front, number, front);
    transmit(socket, &m, 0);
}

/* Greets over a new connection, which is then known to be up when the answer has come. */
static void *greet(void)
{
    void *s = dial(ZMQ_DEALER, ROUTER);
    send_message(s, 0, 0);
    return s;
}

static void check_answer(zmq_msg_t *m, uint64_t number)
{
    if (zmq_msg_size(m) != args.size || !side_check(zmq_msg_data(m), args.size, number, 0)) {
        side_die("answer %" PRIu64 " is not what was sent", number);
    }
}

/* ---- its modes ------------------------------------------------------------------------------- */

static void await(void *socket, short what)
{
    zmq_pollitem_t item = {socket, 0, what, 0};
    while (zmq_poll(&item, 1, -1) != 1) {
    }
}

static void oneway(void)
{
    size_t front = args.connections > 1 ? NUMBER_SIZE : 0;
    uint64_t batch = TURN / args.size + 1;
    uint64_t sent = 0;
    void **all = calloc(args.connections, sizeof *all);
    if (all == NULL) {
        side_die("out of memory");
    }
    for (uint64_t i = 0; i < args.connections; i++) {
        all[i] = dial(ZMQ_PUSH, PULL);
    }
    for (uint64_t i = 0; i < args.connections; i++) {
        await(all[i], ZMQ_POLLOUT);
    }
    begin();
    while (!is_over(side_now_ns())) {
        for (uint64_t i = 0; i < args.connections; i++) {
            for (uint64_t b = 0; b < batch; b++) {
                send_message(all[i], sent++, front);
            }
        }
    }
    struct done d = order("FINISH", sent);
    stop_clocks();
    result.messages = d.messages;
    result.bytes = d.bytes;
    result.server_cpu_ns = d.cpu_ns;
}

static void roundtrip(void)
{
    uint64_t asked = 0, answered = 0;
    uint64_t *asked_ns = calloc(args.outstanding, sizeof *asked_ns);
    void *s = dial(ZMQ_DEALER, DEALER);
    zmq_msg_t m;
    zmq_msg_init(&m);
    if (asked_ns == NULL) {
        side_die("out of memory");
    }
    begin();
    while (asked < args.outstanding) {
        asked_ns[asked] = side_now_ns();
        send_message(s, asked++, 0);
    }
    while (answered < asked) {
        must(zmq_msg_recv(&m, s, 0), "receiving");
        check_answer(&m, answered);
        uint64_t now = side_now_ns();
        side_times_add(&times, now - asked_ns[answered++ % args.outstanding]);
        if (!is_over(now)) {
            asked_ns[asked % args.outstanding] = now;
            send_message(s, asked++, 0);
        }
    }
    stop_clocks();
    result.messages = answered;
    result.times = &times;
    result.server_cpu_ns = order("FINISH", 0).cpu_ns;
}

static void handshake(void)
{
    zmq_pollitem_t items[SIDE_UNDER_WAY];
    size_t under_way = SIDE_UNDER_WAY;
    zmq_msg_t m;
    zmq_msg_init(&m);
    begin();
    for (size_t i = 0; i < under_way; i++) {
        items[i] = (zmq_pollitem_t){greet(), 0, ZMQ_POLLIN, 0};
    }
    while (under_way > 0) {
        zmq_poll(items, (int)under_way, -1);
        for (size_t i = under_way; i-- > 0;) {
            if (!items[i].revents || !receive(items[i].socket, &m, ZMQ_DONTWAIT)) {
                continue;
            }
            check_answer(&m, 0);
            zmq_close(items[i].socket);
            result.messages++;
            if (!is_over(side_now_ns())) {
                items[i].socket = greet();
            } else {
                items[i] = items[--under_way];
            }
        }
    }
    stop_clocks();
    result.server_cpu_ns = order("FINISH", 0).cpu_ns;
}

/* Waits until so many handshakes of the socket that is watched have been done. */
static void await_handshakes(void *monitor, uint64_t count)
{
    zmq_msg_t m;
    zmq_msg_init(&m);
    while (count > 0) {
        uint16_t event;
        must(zmq_msg_recv(&m, monitor, 0), "watching");
        memcpy(&event, zmq_msg_data(&m), sizeof event);
        must(zmq_msg_recv(&m, monitor, 0), "watching"); /* whose */
        if (event != ZMQ_EVENT_HANDSHAKE_SUCCEEDED) {
            side_die("a connection was not made");
        }
        count--;
    }
}

/* One PUSH socket of many connections: a socket for each would be two open files for each. */
static void idle(void)
{
    static const char watched[] = "inproc://watched";
    uint64_t began = side_now_ns();
    void *s = new_client_socket(ZMQ_PUSH), *monitor = zmq_socket(context, ZMQ_PAIR);
    must(zmq_socket_monitor(s, watched,
                            ZMQ_EVENT_HANDSHAKE_SUCCEEDED | ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL |
                                ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL |
                                ZMQ_EVENT_HANDSHAKE_FAILED_AUTH),
         "watching");
    must(zmq_connect(monitor, watched), "watching");
    for (uint64_t up = 0; up < args.count;) {
        uint64_t n = args.count - up < DIALS_MAX ? args.count - up : DIALS_MAX;
        for (uint64_t i = 0; i < n; i++) {
            connect_to(s, PULL);
        }
        await_handshakes(monitor, n);
        up += n;
    }
    side_print_held(args.count, side_now_ns() - began);
    while (side_orders(args.count)) {
    }
}

static void be_client(void)
{
    open_client();
    switch (args.mode) {
    case SIDE_ONEWAY:
        oneway();
        break;
    case SIDE_ROUNDTRIP:
        roundtrip();
        break;
    case SIDE_HANDSHAKE:
        handshake();
        break;
    default:
        idle();
        return;
    }
    side_print_result(&args, &result);
}

int main(int argc, char **argv)
{
    side_args(&args, argc, argv, NULL);
    if (!zmq_has("curve")) {
        side_cannot("this libzmq has no CURVE");
    }
    if (args.mode == SIDE_HANDSHAKE && args.kind != SIDE_FULL) {
        side_cannot("CURVE resumes no sessions, and has no early data");
    }
    if (args.connections > 1 && args.mode != SIDE_SERVER &&
        (args.mode != SIDE_ONEWAY || args.size <= NUMBER_SIZE)) {
        side_cannot("several connections are for mode oneway, and more than %d bytes", NUMBER_SIZE);
    }
    if (args.mode == SIDE_HANDSHAKE && args.size == sizeof(struct order)) {
        side_cannot("greetings of that size are taken for orders");
    }
    context = zmq_ctx_new();
    if (context == NULL) {
        side_die("context: %s", zmq_strerror(errno));
    }
    must(zmq_ctx_set(context, ZMQ_MAX_SOCKETS, zmq_ctx_get(context, ZMQ_SOCKET_LIMIT)), "sockets");
    if (args.mode == SIDE_SERVER) {
        serve();
    } else {
        be_client();
    }
    /* Nothing is closed: the process ends, and takes its sockets with it. */
    fflush(stdout);
    _exit(0);
}
