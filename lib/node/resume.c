/* node/resume.c - what makes the next connection to a peer cheaper: kept as it comes, shown when
 * the peer is dialled. Whether who answers may speak is asked as ever (trust.c). */
#include "node/parts.h"

void tbi_resume_ticket(struct tbi_session *s, const uint8_t *data, size_t size)
{
    if (s->handshake_done && !s->closing) { /* else nobody knows whose it is */
        tbi_tickets_keep(&s->node->tickets, &s->peer_id, &s->remote, data, size);
    }
}

void tbi_resume_token(struct tbi_session *s, const uint8_t *data, size_t size)
{
    if (s->handshake_done && !s->closing) {
        tbi_tickets_keep_token(&s->node->tickets, &s->peer_id, &s->remote, data, size);
    }
}

void tbi_resume_prepare(struct tbi_node *node, const tbq_peer_id *id, const struct tbi_addr *to,
                        struct tbi_dial_options *options)
{
    struct tbi_ticket *kept = tbi_tickets_find(&node->tickets, id, to);

    if (kept != NULL && kept->ticket != NULL) {
        options->ticket = kept->ticket->data;
        options->ticket_size = kept->ticket->size;
    }
    if (kept != NULL && kept->token != NULL && !kept->token_used &&
        tbi_addr_equal(&kept->addr, to)) {
        options->token = kept->token->data;
        options->token_size = kept->token->size;
        kept->token_used = true;
        node->tickets.changed = true;
    }
}

/* Whom the dial was to lead to, as tbi_resume_prepare() was told; NULL: to whoever is there. */
static const tbq_peer_id *meant(const struct tbi_session *s)
{
    const struct tbi_contact *c = s->contact;

    if (s->further) {
        return &s->bond->peer->id;
    }
    if (c != NULL && c->following) {
        return &c->dial->via;
    }
    return c != NULL && c->dialled && c->dial->target.pinned ? &c->dial->target.id : NULL;
}

void tbi_resume_refused(struct tbi_session *s)
{
    struct tbi_tickets *all = &s->node->tickets;

    if (s->dialled && tbi_conn_resumed(tbi_session_conn(s))) {
        tbi_tickets_forget(all, tbi_tickets_find(all, meant(s), &s->remote));
    }
}

int tbi_node_tickets_read(struct tbi_node *node, const uint8_t *data, size_t size)
{
    return tbi_tickets_read(&node->tickets, data, size);
}

bool tbi_node_tickets_changed(const struct tbi_node *node)
{
    return node->tickets.changed;
}

int tbi_node_tickets_write(struct tbi_node *node, struct tbi_block **bytes)
{
    return tbi_tickets_write(&node->tickets, bytes);
}
