/* tbquic/ev.h - libev as the loop of a server. Part of libtbquic-ev. */
#ifndef TBQUIC_EV_H
#define TBQUIC_EV_H

#include <ev.h>

#include <tbquic/actor.h>
#include <tbquic/export.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A loop for tbq_server_start() that runs on `loop`; one for each server. NULL: out of memory.
 * Free it with tbq_loop_ev_free() after tbq_server_free(). */
TBQ_API tbq_loop *tbq_loop_ev(struct ev_loop *loop);
TBQ_API void tbq_loop_ev_free(tbq_loop *loop);

#ifdef __cplusplus
}
#endif
#endif
