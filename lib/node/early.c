/* node/early.c - 0-RTT: the one question that a client may ask with its first packet
 * (docs/protocol.md, section 5.7).
 *
 * What comes before the handshake is complete may have been sent again by an attacker. So it
 * touches no link and no number: HELLO is kept until the handshake tells that it is fresh, a ping
 * is answered with public facts, and all else is refused. The ping goes its ordinary way as well:
 * where its early copy is lost or not taken, nothing is missing. */
#include "node/parts.h"

/* --- The client ------------------------------------------------------------------------------- */

/* The first ping that waits for a connection, and was not asked early by another one. */
static struct tbi_bond_ping *waiting_ping(struct tbi_session *s)
{
    struct tbi_bond *b = s->contact != NULL ? s->contact->bond : NULL;

    for (size_t i = 0; b != NULL && i < b->pings; i++) {
        struct tbi_bond_ping *p = &b->ping[(b->ping_next + i) % b->pings];
        if (p->id != 0 && !p->own && p->sent_ns == TBI_NEVER && p->early_ns == 0) {
            return p;
        }
    }
    return NULL;
}

void tbi_early_ask(struct tbi_session *s)
{
    uint8_t bytes[64];
    struct tbi_writer w;
    struct tbi_bond_ping *p = NULL;

    if (s->hello_sent && !s->closing && tbi_conn_speaks_early(tbi_session_conn(s))) {
        p = waiting_ping(s);
    }
    if (p != NULL) {
        struct tbi_early_ping f = {.id = p->id};
        p->early_ns = s->node->now.mono_ns;
        tbi_put_init(&w, bytes, sizeof bytes);
        tbi_put_early_ping(&w, &f);
        (void)tbi_session_write_control(s, &w);
    }
}

/* The server has read nothing of it: HELLO goes again, the ping goes its own way. */
void tbi_early_rejected(struct tbi_session *s)
{
    s->hello_sent = false;
    s->control_out = -1;
}

int tbi_early_pong_in(struct tbi_session *s, struct tbi_cursor body)
{
    int rv = tbi_get_early_pong(body, &s->early_pong);

    s->early_pong.id = rv == 0 ? s->early_pong.id : 0;
    tbi_early_tell(s);
    return rv;
}

void tbi_early_tell(struct tbi_session *s)
{
    if (s->early_pong.id != 0 && s->trusted && s->bond != NULL && !s->closing) {
        tbi_dispatch_early_pong(s, &s->early_pong);
        s->early_pong.id = 0;
    }
}

/* --- The server ------------------------------------------------------------------------------- */

void tbi_early_wrong(struct tbi_session *s)
{
    s->early_wrong = true; /* it would learn no reason before its handshake is complete */
}

int tbi_early_ping_in(struct tbi_session *s, struct tbi_cursor body)
{
    struct tbi_early_ping f;
    int rv = tbi_get_early_ping(body, &f);

    if (rv == 0 && s->early_ping != 0) { /* one for each connection */
        tbi_early_wrong(s);
    } else if (rv == 0) {
        s->early_ping = f.id;
        tbi_early_answer(s);
    }
    return rv;
}

void tbi_early_answer(struct tbi_session *s)
{
    uint8_t bytes[64];
    struct tbi_writer w;
    struct tbi_early_pong f = {.id = s->early_ping, .wall_ms = s->node->now.wall_ms};

    bool due = s->early_ping != 0 && !s->early_answered && s->hello_sent;
    if (!due || s->early_wrong || s->closing) {
        return;
    }
    if (!tbi_trust_allows_early(s)) {
        return; /* it is asked again, and refuses, when the handshake is complete */
    }
    s->early_answered = true;
    s->node->early_answered++;
    tbi_put_init(&w, bytes, sizeof bytes);
    tbi_put_early_pong(&w, &f);
    (void)tbi_session_write_control(s, &w);
}
