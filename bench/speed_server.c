/* bench/speed_server.c - the side that is dialled: counts messages, or sends them back. */
#include "speed.h"

#include <inttypes.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>

#define HEADS 16384U /* lists of guests, by their id */
#define POUR_TAG 1U  /* tells the fates of what is poured from those of answers */

/* An answer that the outbox had no room for. */
struct held {
    struct held *next;
    tbq_request_id request; /* 0: a message */
    size_t size;
    uint8_t data[];
};

struct guest {
    struct guest *next;
    tbq_peer_id id;
    bool takes; /* else it wants its messages back */
    bool pours; /* it wants messages, so many on their way: */
    uint64_t window, sent, told;
    bool ended; /* and sent no more than: */
    uint64_t total;
    uint64_t size, messages, bytes;
    struct held *held, **held_end; /* in their order */
};

static struct guest *guests[HEADS];
static uint64_t here; /* connections */

static struct guest *guest_of(const tbq_peer_id *id)
{
    static struct guest *last;
    uint32_t word;

    if (last != NULL && memcmp(last->id.bytes, id->bytes, sizeof id->bytes) == 0) {
        return last;
    }
    memcpy(&word, id->bytes, sizeof word); /* ids are hashes already */
    struct guest **at = &guests[word % HEADS];

    while (*at != NULL && memcmp((*at)->id.bytes, id->bytes, sizeof id->bytes) != 0) {
        at = &(*at)->next;
    }
    if (*at == NULL) {
        *at = calloc(1, sizeof **at);
        if (*at == NULL) {
            side_die("out of memory");
        }
        (*at)->id = *id;
        (*at)->held_end = &(*at)->held;
    }
    last = *at;
    return last;
}

/* ---- messages of the server's own ------------------------------------------------------------ */

/* As many as may be on their way. A guest may be gone: then there are no more. */
static void pour(struct node *n, struct guest *g)
{
    static uint8_t *message;
    tbq_send_options how;

    tbq_send_options_init(&how);
    how.tag = POUR_TAG;
    if (message == NULL && (message = malloc((size_t)g->size + 1)) == NULL) {
        side_die("out of memory");
    }
    while (g->pours && g->sent - g->told < g->window) {
        side_fill(message, (size_t)g->size, g->sent, 0);
        tbq_message m = tbq_transition(message, (size_t)g->size);
        if (tbq_send_to(n->server, &g->id, &m, &how) < 0) {
            return;
        }
        g->sent++;
    }
}

static void on_fate(struct node *n, const tbq_event *e)
{
    if (e->tag == POUR_TAG) {
        struct guest *g = guest_of(e->peer);
        g->told++;
        g->pours = g->pours && e->fate == TBQ_DELIVERED;
        pour(n, g);
    }
}

/* ---- orders ---------------------------------------------------------------------------------- */

static void answer(struct node *n, const struct guest *g, uint64_t what)
{
    struct order o = {
        .what = what, .messages = g->messages, .bytes = g->bytes, .cpu_ns = side_cpu_ns()};
    tbq_send_options how;
    tbq_message m = order_message(&o, &how);
    int rv = tbq_send_to(n->server, &g->id, &m, &how);

    if (rv < 0) {
        side_die("an answer: %s", tbq_strerror(rv));
    }
}

static void tell_done(struct node *n, struct guest *g)
{
    if (g->ended && g->messages == g->total) {
        g->ended = false;
        answer(n, g, ORDER_DONE);
    }
}

static void obey(struct node *n, struct guest *g, const struct order *o)
{
    if (o->what == ORDER_END) {
        g->ended = true;
        g->total = o->messages;
        tell_done(n, g);
        return;
    }
    g->takes = o->what == ORDER_TAKE;
    g->pours = o->what == ORDER_POUR;
    g->window = o->messages > 0 ? o->messages : UINT64_MAX;
    g->size = o->size;
    g->messages = g->bytes = 0;
    answer(n, g, ORDER_READY);
    pour(n, g);
}

/* ---- messages -------------------------------------------------------------------------------- */

static void take(struct guest *g, const tbq_bytes *b)
{
    if (b->size != g->size || !side_check(b->data, b->size, g->messages, 0)) {
        side_die("message %" PRIu64 " of a client is not what was sent", g->messages);
    }
    g->bytes += b->size;
    side_took(b->size);
}

static int send_back(struct node *n, const struct guest *g, tbq_request_id request,
                     const void *data, size_t size)
{
    if (request != 0) {
        tbq_answer a = {TBQ_RESPONSE_OK, {data, size}};
        return tbq_respond(n->server, request, &a);
    }
    tbq_message m = tbq_transition(data, size);
    return tbq_send_to(n->server, &g->id, &m, NULL);
}

static void hold(struct guest *g, tbq_request_id request, const tbq_bytes *b)
{
    struct held *h = malloc(sizeof *h + b->size);

    if (h == NULL) {
        side_die("out of memory");
    }
    h->next = NULL;
    h->request = request;
    h->size = b->size;
    memcpy(h->data, b->data, b->size);
    *g->held_end = h;
    g->held_end = &h->next;
}

/* A client that has gone wants no answer: TBQ_ERR_CLOSED and TBQ_ERR_NO_ROUTE are fine. */
static void echo(struct node *n, struct guest *g, tbq_request_id request, const tbq_bytes *b)
{
    if (g->held != NULL || send_back(n, g, request, b->data, b->size) == TBQ_ERR_AGAIN) {
        hold(g, request, b);
    }
}

static void on_writable(struct node *n, struct guest *g)
{
    struct held *h;

    while ((h = g->held) != NULL &&
           send_back(n, g, h->request, h->data, h->size) != TBQ_ERR_AGAIN) {
        g->held = h->next;
        g->held_end = g->held == NULL ? &g->held : g->held_end;
        free(h);
    }
}

static void on_message(struct node *n, const tbq_event *e)
{
    struct guest *g = guest_of(e->peer);
    struct order place;
    const struct order *o = order_of(e, &place);

    if (o != NULL) {
        obey(n, g, o);
        return;
    }
    if (e->type == TBQ_EVENT_REQUEST) {
        echo(n, g, e->request, &e->message->u.request.bytes);
    } else if (e->message->kind != TBQ_TRANSITION) {
        return;
    } else if (g->takes) {
        take(g, &e->message->u.transition);
    } else {
        echo(n, g, 0, &e->message->u.transition);
    }
    g->messages++;
    tell_done(n, g);
}

static void on_event(struct node *n, const tbq_event *e)
{
    switch (e->type) {
    case TBQ_EVENT_MESSAGE:
    case TBQ_EVENT_REQUEST:
        on_message(n, e);
        break;
    case TBQ_EVENT_WRITABLE:
        on_writable(n, guest_of(e->peer));
        pour(n, guest_of(e->peer));
        break;
    case TBQ_EVENT_FATE:
        on_fate(n, e);
        break;
    case TBQ_EVENT_CONNECTED:
        here++;
        break;
    case TBQ_EVENT_DISCONNECTED:
        here--;
        break;
    default:
        break;
    }
}

/* ---- the side -------------------------------------------------------------------------------- */

static uint64_t connections(void)
{
    return here;
}

/* It is bound to every address; what is told is the one that clients are to use. */
static void tell_ready(const tbq_server *s, const char *host)
{
    char id[TBQ_PEER_ID_TEXT_SIZE], uri[TBQ_URI_SIZE];
    const char *port = strrchr(tbq_server_address(s), ':');

    tbq_peer_id_to_text(tbq_server_peer_id(s), id);
    snprintf(uri, sizeof uri, "tbq://%s@%s%s", id, host, port != NULL ? port : "");
    side_print_ready(uri);
}

static void forget_guests(void)
{
    for (size_t i = 0; i < HEADS; i++) {
        for (struct guest *g; (g = guests[i]) != NULL; free(g)) {
            for (struct held *h; (h = g->held) != NULL; free(h)) {
                g->held = h->next;
            }
            guests[i] = g->next;
        }
    }
}

void speed_server(const struct speed_args *a)
{
    struct node n = {0};
    struct node_setup setup = {
        .mode = TBQ_MODE_SERVER, .early = true, .connections = 0, .on_event = on_event};
    uint64_t expected = a->side.count + a->side.connections;

    setup.connections = expected > 1000 ? (uint32_t)(expected + expected / 8) : a->limit;
    setup.busy_poll_us = a->busy_poll_us;
    loop_begin(a->drive, 1);
    loop_start(&n, &setup);
    loop_obey(connections);
    tell_ready(n.server, a->side.host);
    while (loop_turn(1000)) {
    }
    loop_end();
    forget_guests();
    side_print_end();
}
