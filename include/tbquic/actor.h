/* tbquic/actor.h - callbacks instead of pulled events, for C programs, and the loop to run in.
 *
 * An actor is the application's side of a node: one actor, one server, one port. Its id is the peer
 * id. Callbacks run from within tbq_server_process() only, never from inside the transport, and may
 * call anything but tbq_server_process() and tbq_server_free() (TBQ_ERR_BUSY). The event is lent:
 * it ends when the callback returns, and tbq_event_release() and its neighbours do nothing to it.
 */
#ifndef TBQUIC_ACTOR_H
#define TBQUIC_ACTOR_H

#include <tbquic/event.h>
#include <tbquic/types.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct tbq_server tbq_server;

typedef struct tbq_actor {
    size_t size; /* set by tbq_actor_init() */

    /* The server that is started takes role and capabilities from here when they are not 0. */
    tbq_role role;
    uint64_t capabilities; /* TBQ_CAN_... */

    /* For MESSAGE and REQUEST events. 0: taken, the sender is told "delivered"; anything else:
     * refused, the sender is told "not delivered". For TRUST events too, where the configuration
     * asks for them: 0 lets the peer in. Required. */
    int (*on_message)(void *user, tbq_server *server, const tbq_event *event);

    /* For all other events. NULL: not wanted. */
    void (*on_event)(void *user, tbq_server *server, const tbq_event *event);

    void *user; /* handed to all */

    /* For BODY events, as on_message. NULL: bodies of peers are refused (tbq_config's take_bodies
     * does not count for an actor). Their BODY_END goes to on_event. */
    int (*on_body)(void *user, tbq_server *server, const tbq_event *event);
} tbq_actor;

#define tbq_actor_init(actor) tbq_actor_init_sized((actor), sizeof(tbq_actor))
TBQ_API void tbq_actor_init_sized(tbq_actor *actor, size_t size);

/* An event loop that drives a server: see tbq_loop_ev() in <tbquic/ev.h> for libev. For any other
 * loop, fill in these functions, or use tbq_server_pollfds() and its neighbours directly. */
typedef struct tbq_loop tbq_loop;
struct tbq_loop {
    /* Called once by tbq_server_start(); from then on the loop calls tbq_server_process() whenever
     * tbq_server_pollfds() or tbq_server_timeout() say so. 0 or a TBQ_ERR_*, then start fails. */
    int (*attach)(tbq_loop *loop, tbq_server *server);
    /* Called once by tbq_server_free(). */
    void (*detach)(tbq_loop *loop, tbq_server *server);
};

#ifdef __cplusplus
}
#endif
#endif
