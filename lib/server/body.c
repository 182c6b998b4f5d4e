/* server/body.c - the public functions of bodies. */
#include <tbquic/body.h>

#include <string.h>

#include "server/parts.h"

void tbq_body_options_init_sized(tbq_body_options *options, size_t size)
{
    static const tbq_body_options defaults = {.size = sizeof defaults, .lane = TBQ_LANE_LOW};
    if (options != NULL && size >= sizeof options->size) {
        memcpy(options, &defaults, size < sizeof defaults ? size : sizeof defaults);
        options->size = size;
    }
}

void tbq_body_progress_init_sized(tbq_body_progress *progress, size_t size)
{
    if (progress != NULL && size >= sizeof progress->size) {
        memset(progress, 0, size < sizeof *progress ? size : sizeof *progress);
        progress->size = size;
    }
}

/* The caller's options, however old its struct is, over the defaults. */
static int read_options(tbq_body_options *o, const tbq_body_options *given)
{
    tbq_body_options_init(o);
    if (given != NULL) {
        if (given->size < sizeof given->size) {
            return TBQ_ERR_INVALID;
        }
        memcpy(o, given, given->size < sizeof *o ? given->size : sizeof *o);
    }
    return (unsigned)o->lane < TBQ_LANES ? 0 : TBQ_ERR_INVALID;
}

int tbq_send_body(tbq_server *s, const tbq_peer_id *peer, tbq_read_fn read, void *user,
                  uint64_t length, const tbq_body_options *options, tbq_body *body)
{
    tbq_body_options o;

    if (s == NULL || peer == NULL || read == NULL || read_options(&o, options) < 0) {
        return TBQ_ERR_INVALID;
    }
    return tbi_server_changed(
        s, tbi_node_send_body(s->node, tbi_server_now(s), peer, read, user, length, &o, body));
}

int tbq_body_ready(tbq_server *s, tbq_body body)
{
    return s != NULL ? tbi_server_changed(s, tbi_node_body_ready(s->node, body)) : TBQ_ERR_INVALID;
}

int tbq_body_cancel(tbq_server *s, tbq_body body)
{
    return s != NULL ? tbi_server_changed(s, tbi_node_body_cancel(s->node, tbi_server_now(s), body))
                     : TBQ_ERR_INVALID;
}

int tbq_server_body_progress(tbq_server *s, tbq_body body, tbq_body_progress *progress)
{
    tbq_body_progress p;

    if (s == NULL || progress == NULL || progress->size < sizeof progress->size) {
        return TBQ_ERR_INVALID;
    }
    int rv = tbi_node_body_progress(s->node, body, &p);
    if (rv == 0) {
        p.size = progress->size;
        memcpy(progress, &p, p.size < sizeof p ? p.size : sizeof p);
    }
    return rv;
}
