/* tbquic/server.h - one node: one key, one UDP port, any number of peers. */
#ifndef TBQUIC_SERVER_H
#define TBQUIC_SERVER_H

#include <poll.h>
#include <time.h>

#include <tbquic/actor.h>
#include <tbquic/config.h>
#include <tbquic/event.h>
#include <tbquic/message.h>
#include <tbquic/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Without a server (NULL), or without what a call needs, each answers TBQ_ERR_INVALID, or NULL or 0
 * where it has no errors. */

/* --- Life ----------------------------------------------------------------------------------- */

/* Checks the configuration, loads or makes the key, binds the port. *server is set on success only;
 * end it with tbq_server_free().
 *
 * actor: callbacks; copied; NULL: events are pulled with tbq_server_next_event().
 * pubkey: 32 bytes, the Ed25519 public key that the key file must hold, else TBQ_ERR_IDENTITY;
 *         NULL: any.
 * loop: what drives the server; must outlive it; NULL: the caller does.
 *
 * Returns 0; TBQ_ERR_INVALID (a field: see error_text), TBQ_ERR_FILE, TBQ_ERR_IDENTITY (the key
 * file), TBQ_ERR_IO (port in use, ...), TBQ_ERR_TLS, TBQ_ERR_NOMEM. */
TBQ_API int tbq_server_start(tbq_server **server, const tbq_config *config, const tbq_actor *actor,
                             const uint8_t *pubkey, tbq_loop *loop);

/* Begins to stop: no new messages or connections; goes on until every message has its fate or
 * `deadline_ms` has passed, then closes the connections, tells the remaining fates and, last,
 * TBQ_EVENT_STOPPED. May be repeated; an earlier deadline counts. Returns 0. */
TBQ_API int tbq_server_stop(tbq_server *server, uint32_t deadline_ms);

/* Ends it at once and frees all, unpulled and unreleased events included. NULL is fine.
 * From within a callback it does nothing: that would free what is running. */
TBQ_API void tbq_server_free(tbq_server *server);

/* Reads the trust lists of the configuration again, and asks again about everybody who is
 * connected: who is not trusted any more is disconnected at once. When a file cannot be read, or is
 * not as it must be, `text` (may be NULL) names it and the fault, and all stays as it was. Returns
 * how many were turned away, TBQ_ERR_FILE, TBQ_ERR_INVALID, TBQ_ERR_LIMIT or TBQ_ERR_NOMEM.
 */
TBQ_API int tbq_server_reload(tbq_server *server, char *text, size_t text_size);

/* --- Who and where -------------------------------------------------------------------------- */

TBQ_API const tbq_peer_id *tbq_server_peer_id(const tbq_server *server);

/* "tbq://PEERID@host:port" that another node can dial; loopback where every address is bound and
 * nothing else is known. Valid while the server lives. */
TBQ_API const char *tbq_server_uri(const tbq_server *server);
TBQ_API const char *tbq_server_address(const tbq_server *server); /* what was bound, "[::]:8443" */
TBQ_API const char *tbq_server_trust(const tbq_server *server);   /* "open", "allow", ... */

/* --- Driving -------------------------------------------------------------------------------- */

#define TBQ_FDS_MAX 20

/* Fills in the descriptors to wait for; returns how many, at most TBQ_FDS_MAX. Ask again before
 * every wait. */
TBQ_API size_t tbq_server_pollfds(tbq_server *server, struct pollfd *fds, size_t max);

/* How long to wait at most: *timeout is set and returned, or NULL: for ever. */
TBQ_API const struct timespec *tbq_server_timeout(tbq_server *server, struct timespec *timeout);

/* One descriptor that becomes readable when tbq_server_process() has something to do, its deadline
 * included (Linux; elsewhere TBQ_ERR_UNSUPPORTED); calls between two waits count. It may end a wait
 * for nothing now and then. Owned by the server; asking once is enough. */
TBQ_API int tbq_server_fd(tbq_server *server);

/* Does all there is to do now, without waiting. Returns 0; TBQ_ERR_IO: the socket failed and the
 * server has ended, the remaining fates and TBQ_EVENT_STOPPED are there to be pulled;
 * TBQ_ERR_NOMEM: something is left to do, call again later; TBQ_ERR_BUSY from inside a callback. */
TBQ_API int tbq_server_process(tbq_server *server);

/* The next event, or NULL: then also what was sent, answered and released since the last
 * tbq_server_process() is on its way. So pull until NULL comes, then wait: answers leave with what
 * acknowledges the questions, and need no turn of their own. Give every event back with
 * tbq_event_release(). */
TBQ_API tbq_event *tbq_server_next_event(tbq_server *server);

/* Ends the event. A MESSAGE or REQUEST counts as taken from here on: its sender is told
 * "delivered". NULL is fine. */
TBQ_API void tbq_event_release(tbq_event *event);

/* Ends a MESSAGE or REQUEST event without taking it: its sender is told "not delivered", refused.
 * Refuses the peer of a TRUST event. */
TBQ_API void tbq_event_refuse(tbq_event *event);

/* Ends a TRUST event and lets the peer in; any other event is released. An answer that comes when
 * connection_timeout_ms has passed since the connection began is too late and changes nothing. */
TBQ_API void tbq_event_accept(tbq_event *event);

/* Runs fn(arg) from the next tbq_server_process(), on its thread. The one call that may overlap
 * with others. Returns 0, TBQ_ERR_AGAIN (1,024 wait already) or TBQ_ERR_CLOSED (stopped). */
TBQ_API int tbq_post(tbq_server *server, void (*fn)(void *arg), void *arg);

/* Addresses, interfaces or routes of this machine have changed: for systems where the library does
 * not notice by itself (all but Linux), and embedders who know earlier. 100 ms after the last such
 * news, one second after the first at most, tbq_server_process() tells peers the new addresses,
 * dials again who did not answer, moves the connections whose own address is gone, and asks at once
 * on the others whether they live. Returns 0. */
TBQ_API int tbq_server_network_changed(tbq_server *server);

/* --- Connections ---------------------------------------------------------------------------- */

/* Dials "host:port", "[v6]:port", "tbq://PEERID@host:port", or a peer by its id alone ("PEERID",
 * "tbq://PEERID") where the peer book says that it may be. Returns at once; the outcome is an
 * event, CONNECTED or CONNECT_FAILED, with the same number. Messages may be sent to it meanwhile.
 * A full node may name others that have room; they are dialled in its place only where no peer id
 * was given: nobody stands in for a certain peer.
 *
 * Returns 0, TBQ_ERR_ADDRESS, TBQ_ERR_INVALID (the peer id), TBQ_ERR_MODE, TBQ_ERR_LIMIT,
 * TBQ_ERR_CLOSED (stopping), TBQ_ERR_NOMEM. */
TBQ_API int tbq_server_connect(tbq_server *server, const char *address, tbq_connection *connection);

/* Closes a connection, or gives up a dial. Messages without a fate get one: not delivered where
 * they were never sent, else unknown. The peer is not dialled again.
 * Returns 0 or TBQ_ERR_CLOSED. */
TBQ_API int tbq_connection_close(tbq_server *server, tbq_connection connection);

/* --- Finding peers -------------------------------------------------------------------------- */

/* Asks all connected peers for others that have all of these capabilities (TBQ_CAN_..., 0: any).
 * A PEER event follows for each that was not known; tbq_server_peers() lists all. The library asks
 * by itself when it meets a peer, and again every refresh_interval_ms.
 * Returns how many were asked, TBQ_ERR_NO_ROUTE (none is connected) or TBQ_ERR_CLOSED. */
TBQ_API int tbq_discover(tbq_server *server, uint64_t capabilities);

/* Tells all connected peers the own record anew; they pass it on. The library does so by itself
 * when its addresses change. Returns 0, TBQ_ERR_CLOSED or TBQ_ERR_NOMEM. */
TBQ_API int tbq_announce(tbq_server *server);

/* --- Messages ------------------------------------------------------------------------------- */

typedef struct tbq_send_options {
    size_t size;     /* set by tbq_send_options_init() */
    uint64_t tag;    /* comes back with the fate; default 0 */
    tbq_lane lane;   /* default TBQ_LANE_NORMAL */
    uint32_t ttl_ms; /* time to live; default 0: as long as the peer may come back */
    bool unordered;  /* neither waits for others nor makes them wait */
    /* The bytes of a TRANSITION or RESOURCE_REQUEST are not copied. They stay the caller's, where
     * and as they are, until a RELEASED event comes with `tag`, exactly one for each send (of a
     * tbq_broadcast(), one for all); after STOPPED, until tbq_server_free() has returned. A send
     * that returns an error has not taken them. Meant for large ones, 64 KiB say; default false.
     * TBQ_ERR_INVALID with other kinds. */
    bool by_reference;
} tbq_send_options;

#define tbq_send_options_init(options)                                                             \
    tbq_send_options_init_sized((options), sizeof(tbq_send_options))
TBQ_API void tbq_send_options_init_sized(tbq_send_options *options, size_t size);

/* Sends to the peer at the other end of a connection or dial; options may be NULL. The bytes are
 * copied, but for by_reference. On success a FATE event follows, exactly one.
 *
 * Returns 0; TBQ_ERR_AGAIN (a WRITABLE event follows when there is room), TBQ_ERR_TOO_LARGE,
 * TBQ_ERR_CLOSED, TBQ_ERR_INVALID, TBQ_ERR_UNSUPPORTED (the kind), TBQ_ERR_NOMEM. */
TBQ_API int tbq_send(tbq_server *server, tbq_connection connection, const tbq_message *message,
                     const tbq_send_options *options);

/* The same, to a peer by id: connected, lost a moment ago, or pinned by a bootstrap address or a
 * dial. Besides: TBQ_ERR_NO_ROUTE. */
TBQ_API int tbq_send_to(tbq_server *server, const tbq_peer_id *peer, const tbq_message *message,
                        const tbq_send_options *options);

/* The same, to every peer that is connected now: to the newest process of each. A FATE follows for
 * each, with the peer and the tag, and after the last one a BROADCAST event with the counts. A peer
 * whose outbox is full gets its fate at once: not delivered, TBQ_ERR_AGAIN; nobody waits for it.
 * Returns how many peers it goes to; TBQ_ERR_NO_ROUTE: none is connected; TBQ_ERR_UNSUPPORTED:
 * PING, RESOURCE_REQUEST, RESOURCE_RESPONSE; TBQ_ERR_LIMIT: 4,096 broadcasts have no counts yet;
 * others as tbq_send(). */
TBQ_API int tbq_broadcast(tbq_server *server, const tbq_message *message,
                          const tbq_send_options *options);

/* Asks a peer for a resource. *request is the number that the RESPONSE event will carry; besides
 * it there is a FATE for the request's delivery. After `timeout_ms` without an answer a RESPONSE
 * comes with reason TBQ_ERR_TIMEOUT; 0: 30 s. Errors as tbq_send_to(); TBQ_ERR_LIMIT: 4,096 open
 * requests. */
TBQ_API int tbq_request(tbq_server *server, const tbq_peer_id *peer, const void *data, size_t size,
                        uint32_t timeout_ms, const tbq_send_options *options,
                        tbq_request_id *request);

/* Waits no longer for the answer to an own request: no RESPONSE comes for it, and an answer that
 * comes is dropped. The peer is not told; the request's FATE is told as ever. Returns 0;
 * TBQ_ERR_CLOSED: no such request, or its RESPONSE is among the events already; TBQ_ERR_INVALID. */
TBQ_API int tbq_cancel(tbq_server *server, tbq_request_id request);

typedef struct tbq_answer {
    tbq_response_status status;
    tbq_bytes bytes; /* the resource, or a text for people when status is not OK */
} tbq_answer;

/* Answers a REQUEST event, now or later, once; also after the event was released.
 * Errors as tbq_send(); TBQ_ERR_CLOSED: answered already or refused, or the requester is gone or
 * waits no longer. The answer has no FATE of its own. */
TBQ_API int tbq_respond(tbq_server *server, tbq_request_id request, const tbq_answer *answer);

/* Stops handing out messages of these lanes from this peer, also when it restarts, until they are
 * resumed or the peer is forgotten; its sends slow down and stop.
 * What was handed out already is not affected. Returns 0 or TBQ_ERR_NO_ROUTE (unknown peer). */
TBQ_API int tbq_pause(tbq_server *server, const tbq_peer_id *peer, unsigned lanes);
TBQ_API int tbq_resume(tbq_server *server, const tbq_peer_id *peer, unsigned lanes);

/* --- Unreliable datagrams ------------------------------------------------------------------- */

/* Besides messages, and never in their place: bytes that arrive soon, or out of order, or not at
 * all (RFC 9221). They are not kept, not resent, passed on by nobody, and have no fate; they wait
 * for no lane, and nobody learns whether they came. Both nodes must have set `datagrams`. */

/* The most bytes that a datagram to that peer may have now; it changes with the path. 0: the peer
 * is not connected, or it or this node does without. */
TBQ_API size_t tbq_datagram_size_max(tbq_server *server, const tbq_peer_id *peer);

/* Sends one to a peer that is connected (its newest process); a peer at rest is not woken. The
 * bytes are copied; size may be 0. At the peer a DATAGRAM event comes, perhaps. Returns 0;
 * TBQ_ERR_UNSUPPORTED: this node or the peer has not set `datagrams`; TBQ_ERR_TOO_LARGE: see above;
 * TBQ_ERR_AGAIN: 64 wait for the connection, try later (no event tells when); TBQ_ERR_NO_ROUTE: not
 * connected; TBQ_ERR_CLOSED (stopping), TBQ_ERR_INVALID, TBQ_ERR_NOMEM. */
TBQ_API int tbq_send_datagram(tbq_server *server, const tbq_peer_id *peer, const void *data,
                              size_t size);

#ifdef __cplusplus
}
#endif
#endif
