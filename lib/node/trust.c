/* node/trust.c - whether who is at the other end may speak: asked when a handshake is complete,
 * full or resumed, in both roles, before anything else is acted upon; and again when the policy
 * changes.
 *
 * The policy answers first. Where it lets somebody in and the application wants the last word, an
 * event asks for it, and the connection waits. */
#include <string.h>

#include "node/parts.h"

#define DAY_MS UINT64_C(86400000)
#define WARN_BEFORE_MS (30 * DAY_MS)
#define LOOK_AGAIN_NS (DAY_MS * TBI_NS_PER_MS) /* the wall clock may jump: not computed ahead */

/* What the policy says of the key that the peer has proved. 0, or a TBQ_ERR_* and a verdict. */
static int ask_policy(const struct tbi_session *s, struct tbi_verdict *verdict)
{
    const struct tbi_node *node = s->node;
    struct tbi_conn *conn = tbi_endpoint_conn(node->endpoint, s->conn);
    char host_port[TBQ_URI_SIZE];
    struct tbi_trust_query query = {
        .id = &s->peer_id,
        .dialled = s->dialled,
        .wall_ms = node->now.wall_ms,
    };

    if (s->further) {
        query.pin = &s->bond->peer->id;
    }
    query.chain = tbi_conn_peer_chain(conn, &query.chain_len);
    if (s->dialled && s->contact != NULL && s->contact->dialled) {
        struct tbi_target target = s->contact->dial->target;
        bool following = s->contact->following;
        query.pin = target.pinned ? &s->contact->dial->target.id
                    : following   ? &s->contact->dial->via
                                  : NULL;
        target.pinned = false;
        if (!following && (target.numeric || target.host[0] != '\0')) {
            tbi_target_to_text(&target, host_port);
            query.host_port = host_port;
        }
    }
    int rv = tbi_trust_ask(node->cfg.trust, &query, verdict);
    if (rv == 0 && verdict->first_use) {
        rv = tbi_trust_remember(node->cfg.trust, query.host_port, query.id);
        if (rv == 0) {
            rv = tbi_node_tell_binding(s->node, query.host_port, query.id);
        }
    }
    return rv;
}

static void turn_away(struct tbi_session *s, int error, struct tbi_verdict *verdict)
{
    if (verdict->close_code == TBI_CLOSE_NONE) {
        verdict->close_code = TBI_CLOSE_INTERNAL;
        tbi_text(verdict->text, sizeof verdict->text, "%s", tbq_strerror(error));
    }
    tbi_log(s->node->log, TBQ_LOG_WARNING, "a peer was refused: %s", verdict->text);
    tbi_resume_refused(s);
    tbi_session_close(s, verdict->close_code, verdict->text);
}

/* The application has the last word; until it has spoken, HELLO's time limit runs. */
static int ask_application(struct tbi_session *s)
{
    struct tbi_node *node = s->node;
    struct tbi_event *e = tbi_event_new(&node->events, node, TBQ_EVENT_TRUST);

    if (e == NULL) {
        return TBQ_ERR_NOMEM;
    }
    tbi_event_set_peer(e, &s->peer_id);
    tbi_event_set_address(e, &s->remote);
    memcpy(e->words->key, s->peer_key, sizeof e->words->key);
    e->pub.public_key = e->words->key;
    e->pub.dialled = s->dialled;
    e->pub.connection = s->contact != NULL ? s->contact->handle : 0;
    e->words->session = s->conn;
    tbi_events_push(&node->events, e);
    return 0;
}

static int ask(struct tbi_session *s, struct tbi_verdict *verdict)
{
    int rv = tbi_conn_peer_key(tbi_session_conn(s), s->peer_key, verdict);

    rv = rv < 0 ? rv : tbq_peer_id_from_key(&s->peer_id, s->peer_key);
    return rv < 0 ? rv : ask_policy(s, verdict);
}

bool tbi_trust_allows_early(struct tbi_session *s)
{
    struct tbi_verdict verdict = {0};
    return !s->dialled && !s->node->cfg.settings.ask_trust && ask(s, &verdict) == 0;
}

void tbi_session_handshake_done(struct tbi_session *s)
{
    struct tbi_verdict verdict = {0};

    s->handshake_done = true;
    int rv = ask(s, &verdict);
    if (rv == 0 && s->early_wrong) {
        tbi_session_violation(s, TBQ_ERR_PROTOCOL, "0-RTT is for HELLO and EARLY_PING only");
        return;
    }
    if (rv == 0 && s->node->cfg.settings.ask_trust) {
        rv = ask_application(s);
    } else if (rv == 0) {
        tbi_session_trusted(s);
    }
    if (rv < 0) {
        turn_away(s, rv, &verdict);
    }
}

void tbi_trust_answered(struct tbi_event *e, bool accept)
{
    struct tbi_node *node = e->node;
    struct tbi_session *s = tbi_map_get(&node->sessions, &e->words->session);
    struct tbi_verdict verdict = {.close_code = TBI_CLOSE_NOT_ALLOWED};

    if (s == NULL || s->closing || s->trusted) {
        return; /* it is gone, or did not wait */
    }
    if (accept) {
        tbi_session_trusted(s);
    } else {
        tbi_text(verdict.text, sizeof verdict.text, "the application refused the key");
        turn_away(s, TBQ_ERR_TRUST, &verdict);
    }
}

int tbi_node_ask_again(struct tbi_node *node, struct tbi_now now)
{
    int away = 0;

    node->now = now;
    for (struct tbi_map_entry *e = tbi_map_first(&node->sessions); e != NULL; e = tbi_map_next(e)) {
        struct tbi_session *s = tbi_map_value(e);
        struct tbi_verdict verdict = {0};
        int rv = s->trusted && !s->closing ? ask_policy(s, &verdict) : 0;
        if (rv < 0) {
            turn_away(s, rv, &verdict); /* which only marks it */
            away++;
        }
    }
    tbi_node_settle(node);
    return away;
}

/* --- The own certificate ---------------------------------------------------------------------- */

/* One that a node makes for itself never ends; an operator's does, and then nobody lets it in. */
void tbi_certificate_due(struct tbi_node *node)
{
    char when[TBI_ADDR_TEXT_SIZE];
    uint64_t ends = tbi_identity_ends_ms(node->cfg.identity, when, sizeof when);
    uint64_t now = node->now.wall_ms;

    if (ends == TBI_WALL_MS_MAX) {
        node->certificate_at = TBI_NEVER;
        return;
    }
    node->certificate_at = node->now.mono_ns + LOOK_AGAIN_NS;
    if (now >= ends) {
        tbi_node_warn(node, NULL, "this node's certificate has ended at %s: peers refuse it", when);
    } else if (ends - now <= WARN_BEFORE_MS) {
        unsigned days = (unsigned)((ends - now) / DAY_MS);
        tbi_node_warn(node, NULL, "this node's certificate ends in %u day%s, at %s", days,
                      days == 1 ? "" : "s", when);
    }
}

/* --- First use: what is to be remembered --------------------------------------------------------
 */

int tbi_node_tell_binding(struct tbi_node *node, const char *host_port, const tbq_peer_id *id)
{
    struct tbi_queued_binding *b = tbi_calloc(node->alloc, 1, sizeof *b);

    if (b == NULL) {
        return TBQ_ERR_NOMEM;
    }
    tbi_text(b->binding.host_port, sizeof b->binding.host_port, "%s", host_port);
    b->binding.id = *id;
    tbi_list_push(&node->bindings, &b->entry);
    return 0;
}

bool tbi_node_next_binding(struct tbi_node *node, struct tbi_binding *binding)
{
    struct tbi_list *entry = tbi_list_shift(&node->bindings);

    if (entry == NULL) {
        return false;
    }
    struct tbi_queued_binding *b = TBI_CONTAINER(entry, struct tbi_queued_binding, entry);
    *binding = b->binding;
    tbi_free(node->alloc, b);
    return true;
}
