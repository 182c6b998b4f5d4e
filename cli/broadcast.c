/* cli/broadcast.c - tbq broadcast: find the network behind a few addresses, and tell all of it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tbq.h"

#define END                                                                                        \
    {                                                                                              \
        NULL, NULL, false                                                                          \
    }
#define WAIT_MS 3000  /* unless told otherwise */
#define QUIET_MS 300  /* nothing new for so long, and all known are connected: all are up */
#define LOOK_MS 50    /* how often it is looked */
#define PEERS 1048576 /* as many as there are */

struct state {
    tbq_server *server;
    struct loop loop;
    tbq_message message;
    uint8_t *data;
    uint64_t send_at;   /* ms; at the latest */
    uint64_t last_news; /* ms */
    bool connected;     /* to somebody, once */
    bool sent;
    tbq_counts counts;
    int failure; /* why it could not be sent */
};

static bool all_are_up(struct state *s)
{
    const tbq_peers *peers = NULL;
    bool up = s->connected && loop_now_ms() >= s->last_news + QUIET_MS;

    if (!up || tbq_server_peers(s->server, NULL, &peers) < 0) {
        return false;
    }
    for (size_t i = 0; i < peers->len; i++) {
        up = up && (peers->peer[i]->connected || peers->peer[i]->addresses_len == 0);
    }
    tbq_peers_free(peers);
    return up;
}

static void on_tick(void *user)
{
    struct state *s = user;

    if (s->sent || (loop_now_ms() < s->send_at && !all_are_up(s))) {
        return;
    }
    s->sent = true;
    int rv = tbq_broadcast(s->server, &s->message, NULL);
    if (rv < 0) {
        s->failure = rv;
        tbq_server_stop(s->server, 0);
    }
}

static void on_fate(const tbq_event *e)
{
    char peer[TBQ_PEER_ID_TEXT_SIZE] = "";

    if (e->peer != NULL) {
        tbq_peer_id_to_text(e->peer, peer);
    }
    if (e->fate == TBQ_DELIVERED) {
        say("reached", (struct field[]){{"peer_id", peer, false}, END}, "reached %s", peer);
        return;
    }
    if (e->fate == TBQ_UNKNOWN) {
        say("unknown", (struct field[]){{"peer_id", peer, false}, {"reason", e->text, false}, END},
            "unknown %s: %s", peer, e->text);
    } else {
        say("undelivered",
            (struct field[]){{"peer_id", peer, false}, {"reason", e->text, false}, END},
            "not delivered %s: %s", peer, e->text);
    }
}

static void on_counts(struct state *s, const tbq_event *e)
{
    char reached[24], undelivered[24], unknown[24];

    s->counts = e->counts;
    snprintf(reached, sizeof reached, "%zu", e->counts.delivered);
    snprintf(undelivered, sizeof undelivered, "%zu", e->counts.not_delivered);
    snprintf(unknown, sizeof unknown, "%zu", e->counts.unknown);
    say("summary",
        (struct field[]){{"reached", reached, true},
                         {"undelivered", undelivered, true},
                         {"unknown", unknown, true},
                         END},
        "reached %s, not delivered %s, unknown %s", reached, undelivered, unknown);
    tbq_server_stop(s->server, 1000);
}

static bool on_event(void *user, tbq_event *e)
{
    struct state *s = user;
    bool last = e->type == TBQ_EVENT_STOPPED;

    switch (e->type) {
    case TBQ_EVENT_CONNECTED:
        s->connected = true;
        s->last_news = loop_now_ms();
        break;
    case TBQ_EVENT_PEER:
        s->last_news = loop_now_ms();
        break;
    case TBQ_EVENT_FATE:
        on_fate(e);
        break;
    case TBQ_EVENT_BROADCAST:
        on_counts(s, e);
        break;
    default:
        break;
    }
    tbq_event_release(e);
    return !last;
}

static int what_to_say(struct state *s, const struct options *o)
{
    size_t size = 0;

    if (o->kind != NULL && strcmp(o->kind, "discover") == 0) {
        s->message = (tbq_message){.kind = TBQ_DISCOVER};
        return o->address == NULL
                   ? 0
                   : fail(EXIT_USAGE, TBQ_ERR_INVALID,
                          "--kind discover takes no file, but was given \"%s\"", o->address);
    }
    if (o->kind != NULL && strcmp(o->kind, "transition") != 0) {
        return fail(EXIT_USAGE, TBQ_ERR_INVALID,
                    "--kind is \"%s\"; it must be transition or discover", o->kind);
    }
    int rv = file_read(&s->loop, o->address != NULL ? o->address : "-", &s->data, &size);
    s->message = tbq_transition(s->data, size);
    return rv;
}

static int start(struct state *s, const struct options *o)
{
    char why[512] = "";
    tbq_config c;

    tbq_config_init(&c);
    c.error_text = why;
    c.error_text_size = sizeof why;
    c.network_mode = TBQ_MODE_CLIENT;
    c.peers_wanted = PEERS;
    c.peer_timeout_ms = 10000; /* who does not come back is told as unknown */
    c.ping_interval_ms = 2000;
    c.idle_timeout_ms = 6000;
    int rv = options_to_config(o, &c);
    if (rv != 0) {
        return rv;
    }
    rv = tbq_server_start(&s->server, &c, NULL, NULL, NULL);
    return rv < 0 ? fail(EXIT_USAGE, rv, "%s", why) : 0;
}

int run_broadcast(int argc, char **argv)
{
    static const char *const allowed[] = {"bootstrap", "kind", "wait", "trust",
                                          "deny",      "cert", "key",  "state",
                                          "log-level", "ADDR", NULL};
    struct options o;
    struct state s = {0};

    int rv = options_read(&o, command_named("broadcast"), allowed, argc, argv);
    if (rv == 0 && o.bootstrap_len == 0) {
        rv = fail(EXIT_USAGE, TBQ_ERR_INVALID, "give at least one --bootstrap ADDRESS");
    }
    if (rv != 0 || (rv = loop_open(&s.loop, 0)) != 0 || (rv = what_to_say(&s, &o)) != 0 ||
        (rv = start(&s, &o)) != 0) {
        free(s.data);
        return rv;
    }
    s.loop.server = s.server;
    s.loop.on_tick = on_tick;
    s.loop.tick_ms = LOOK_MS;
    s.last_news = loop_now_ms();
    s.send_at = s.last_news + (o.wait_s != 0 ? o.wait_s * 1000 : WAIT_MS);
    rv = loop_run(&s.loop, on_event, &s);
    tbq_server_free(s.server);
    free(s.data);
    if (s.failure != 0) {
        return fail(EXIT_NETWORK, s.failure, "nobody was reached: %s", tbq_strerror(s.failure));
    }
    if (rv < 0) {
        return fail(EXIT_NETWORK, rv, "%s", tbq_strerror(rv));
    }
    if (output_failed) {
        return EXIT_USAGE;
    }
    return s.counts.delivered > 0 || s.loop.stops > 0 ? EXIT_DONE : EXIT_NETWORK;
}
