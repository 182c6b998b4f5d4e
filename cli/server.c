/* cli/server.c - tbq server: listen, and tell what arrives. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "tbq.h"

#define END                                                                                        \
    {                                                                                              \
        NULL, NULL, false                                                                          \
    }

/* "ADDR:PORT" into the two fields of the configuration. */
static int bind_to(const char *text, tbq_config *c, char *host, size_t size)
{
    const char *colon = text != NULL ? strrchr(text, ':') : NULL;
    size_t digits = colon != NULL ? strspn(colon + 1, "0123456789") : 0;
    unsigned long port = digits > 0 && digits < 6 ? strtoul(colon + 1, NULL, 10) : 65536;

    if (text == NULL) {
        c->bind_address = "127.0.0.1";
        return 0;
    }
    bool brackets = text[0] == '[' && colon != NULL && colon > text && colon[-1] == ']';
    size_t len = colon != NULL ? (size_t)(colon - text) - (brackets ? 2 : 0) : 0;
    if (colon == NULL || colon[1 + digits] != '\0' || port > 65535 || len == 0 || len >= size) {
        return fail(EXIT_USAGE, TBQ_ERR_INVALID,
                    "--bind is \"%s\"; it must be ADDRESS:PORT, such as 127.0.0.1:8443", text);
    }
    memcpy(host, text + (brackets ? 1 : 0), len);
    host[len] = '\0';
    c->bind_address = host;
    c->bind_port = (uint16_t)port;
    return 0;
}

static int mode_of(const char *text, tbq_network_mode *mode)
{
    if (text == NULL || strcmp(text, "hybrid") == 0) {
        *mode = TBQ_MODE_HYBRID;
    } else if (strcmp(text, "server") == 0) {
        *mode = TBQ_MODE_SERVER;
    } else if (strcmp(text, "client") == 0) {
        *mode = TBQ_MODE_CLIENT;
    } else {
        return fail(EXIT_USAGE, TBQ_ERR_INVALID,
                    "--mode is \"%s\"; it must be client, server or hybrid", text);
    }
    return 0;
}

struct state {
    tbq_server *server;
    const char *store;
    const char *serve;
    size_t largest; /* bytes of an answer */
    struct arrivals bodies;
};

static void tell_message(const char *kind, uint64_t bytes, const char *from, const char *hash)
{
    char size[24];

    snprintf(size, sizeof size, "%llu", (unsigned long long)bytes);
    say("message",
        (struct field[]){{"kind", kind, false},
                         {"size", size, true},
                         {"from", from, false},
                         {"sha256", hash, false},
                         END},
        "%s of %s bytes from %s, sha256 %s", kind, size, from, hash);
}

/* The same of what comes in parts: the last one is taken when all is stored. */
static void on_body(struct state *s, tbq_event *e, const char *from)
{
    char hash[65];
    uint64_t size;
    int rv = arrivals_add(&s->bodies, e, hash, &size);

    if (rv < 0) {
        fail(0, TBQ_ERR_FILE, "%s: %s; a body was refused", s->store != NULL ? s->store : "a body",
             strerror(errno));
    } else if (rv > 0) {
        tell_message(tbq_kind_name(TBQ_BODY), size, from, hash);
    }
    (rv < 0 ? tbq_event_refuse : tbq_event_release)(e);
}

static void on_body_end(struct state *s, const tbq_event *e, const char *from)
{
    char size[24];

    snprintf(size, sizeof size, "%llu", (unsigned long long)arrivals_end(&s->bodies, e->body));
    say("abandoned",
        (struct field[]){
            {"size", size, true}, {"from", from, false}, {"reason", e->text, false}, END},
        "a body from %s is not whole, and was removed after %s bytes: %s", from, size, e->text);
}

/* Stores the payload first: a message that could not be kept is refused, not lost. */
static void on_message(struct state *s, tbq_event *e)
{
    char from[TBQ_PEER_ID_TEXT_SIZE], hash[65];
    const char *kind = tbq_kind_name((int)e->message->kind);
    tbq_bytes bytes = e->message->kind == TBQ_TRANSITION ? e->message->u.transition
                      : e->message->kind == TBQ_ERROR    ? e->message->u.error.text
                                                         : (tbq_bytes){NULL, 0};

    tbq_peer_id_to_text(e->peer, from);
    sha256_text(bytes.data, bytes.size, hash);
    if (s->store != NULL && store_put(s->store, hash, bytes.data, bytes.size) < 0) {
        fail(0, TBQ_ERR_FILE, "%s: %s: %s; the message was refused", s->store, hash,
             strerror(errno));
        tbq_event_refuse(e);
        return;
    }
    tell_message(kind, bytes.size, from, hash);
    tbq_event_release(e);
}

static bool on_event(void *user, tbq_event *e)
{
    struct state *s = user;
    char peer[TBQ_PEER_ID_TEXT_SIZE] = "";

    if (e->peer != NULL) {
        tbq_peer_id_to_text(e->peer, peer);
    }
    switch (e->type) {
    case TBQ_EVENT_MESSAGE:
        on_message(s, e);
        return true;
    case TBQ_EVENT_BODY:
        on_body(s, e, peer);
        return true;
    case TBQ_EVENT_BODY_END:
        on_body_end(s, e, peer);
        break;
    case TBQ_EVENT_REQUEST:
        serve_request(s->server, s->serve, s->largest, e);
        break;
    case TBQ_EVENT_CONNECTED:
        say("connected",
            (struct field[]){{"peer_id", peer, false}, {"address", e->address, false}, END},
            "%s is connected, at %s", peer, e->address);
        break;
    case TBQ_EVENT_DISCONNECTED:
        say("disconnected",
            (struct field[]){{"peer_id", peer, false}, {"reason", e->text, false}, END},
            "%s is gone: %s", peer, e->text);
        break;
    case TBQ_EVENT_PATH:
        say("path", (struct field[]){{"peer_id", peer, false}, {"address", e->address, false}, END},
            "%s goes on over another path, at %s", peer, e->address);
        break;
    case TBQ_EVENT_PEER:
        say("peer",
            (struct field[]){{"peer_id", peer, false},
                             {"address", e->address != NULL ? e->address : "", false},
                             END},
            "heard of %s%s%s", peer, e->address != NULL ? " at " : "",
            e->address != NULL ? e->address : "");
        break;
    case TBQ_EVENT_WARNING:
        say("warning", (struct field[]){{"text", e->text, false}, END}, "warning: %s", e->text);
        break;
    case TBQ_EVENT_STOPPED:
        tbq_event_release(e);
        return false;
    default:
        break;
    }
    tbq_event_release(e);
    return true;
}

static int check_folder(const char *option, const char *dir)
{
    struct stat st;
    if (dir == NULL || (stat(dir, &st) == 0 && S_ISDIR(st.st_mode))) {
        return 0;
    }
    return fail(EXIT_USAGE, TBQ_ERR_FILE, "--%s: %s is no folder; make it first", option, dir);
}

/* Known peers stand beside the key. */
static int first_use(const struct options *o, tbq_config *c, char known[4200])
{
    if (o->trust == NULL || strcmp(o->trust, "first-use") != 0) {
        return 0;
    }
    if (c->state_dir == NULL) {
        return fail(EXIT_USAGE, TBQ_ERR_INVALID,
                    "--trust first-use keeps its list beside the key: give --state DIR");
    }
    snprintf(known, 4200, "%s/known-peers", c->state_dir);
    c->known_peers_path = known;
    return 0;
}

int run_server(int argc, char **argv)
{
    static const char *const allowed[] = {
        "bind",  "mode",  "bootstrap", "advertise", "trust",     "deny",      "cert",       "key",
        "state", "store", "serve",     "early",     "busy-poll", "log-level", OPTIONS_FLOW, NULL};
    struct options o;
    struct state s = {0};
    struct loop l = {0};
    char why[512] = "", host[64], state_dir[4096], known[4200], peer[TBQ_PEER_ID_TEXT_SIZE];
    tbq_config c;

    tbq_config_init(&c);
    c.error_text = why;
    c.error_text_size = sizeof why;
    c.take_bodies = true;
    int rv = options_read(&o, command_named("server"), allowed, argc, argv);
    if (rv != 0 || (rv = options_to_config(&o, &c)) != 0 ||
        (rv = bind_to(o.bind, &c, host, sizeof host)) != 0 ||
        (rv = mode_of(o.mode, &c.network_mode)) != 0 ||
        (rv = check_folder("store", o.store)) != 0 || (rv = check_folder("serve", o.serve)) != 0) {
        return rv;
    }
    if (o.key == NULL && o.state == NULL) {
        if (tbq_state_dir(state_dir, sizeof state_dir) < 0) {
            return fail(EXIT_USAGE, TBQ_ERR_FILE,
                        "there is no folder for the key: give --state DIR, or set HOME");
        }
        c.state_dir = state_dir;
    }
    if ((rv = first_use(&o, &c, known)) != 0 || (rv = loop_open(&l, 0)) != 0) {
        return rv;
    }
    loop_reload_on_hangup(&l);
    rv = tbq_server_start(&s.server, &c, NULL, NULL, NULL);
    if (rv < 0) {
        return fail(EXIT_USAGE, rv, "%s", why);
    }
    l.server = s.server;
    l.trims = true;
    s.store = s.bodies.dir = o.store;
    arrivals_tidy(o.store);
    s.serve = o.serve;
    s.largest = c.max_message_size;
    tbq_peer_id_to_text(tbq_server_peer_id(s.server), peer);
    say("ready",
        (struct field[]){{"peer_id", peer, false},
                         {"address", tbq_server_address(s.server), false},
                         {"uri", tbq_server_uri(s.server), false},
                         {"trust", tbq_server_trust(s.server), false},
                         END},
        "ready: %s, trust %s", tbq_server_uri(s.server), tbq_server_trust(s.server));
    rv = loop_run(&l, on_event, &s);
    tbq_server_free(s.server);
    arrivals_free(&s.bodies);
    if (rv < 0) {
        return fail(EXIT_NETWORK, rv, "%s", tbq_strerror(rv));
    }
    return output_failed ? EXIT_USAGE : EXIT_DONE;
}
