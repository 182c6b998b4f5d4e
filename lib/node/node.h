/* node/node.h - the engine: datagrams, commands and the time go in; datagrams, events and the next
 * deadline come out. It makes no system call. lib/server drives it with sockets, tests/sim with a
 * pretended network.
 *
 * Every entry takes the time. Calls must not overlap. Nothing calls back, but for tbi_node_step(),
 * which reads the bodies that are sent. */
#ifndef TBI_NODE_NODE_H
#define TBI_NODE_NODE_H

#include <tbquic/event.h>
#include <tbquic/peer.h>
#include <tbquic/select.h>
#include <tbquic/server.h>

#include "base/addr.h"
#include "base/alloc.h"
#include "base/block.h"
#include "base/datagram.h"
#include "base/log.h"
#include "base/now.h"
#include "base/rng.h"
#include "identity/identity.h"
#include "identity/trust.h"

struct tbi_node;

struct tbi_node_config {
    const struct tbi_alloc *alloc;       /* outlives the node */
    const struct tbi_log *log;           /* outlives the node */
    const struct tbi_identity *identity; /* outlives the node */
    struct tbi_trust *trust;             /* outlives the node; learns by first use */
    uint8_t seed[TBI_RNG_SEED_SIZE];     /* of the random stream */
    struct tbi_addr local;               /* what the socket is bound to */
    tbq_config settings;                 /* numbers only; checked by the caller */
    void *owner;                         /* for tbi_node_event_owner(); not touched */
};

int tbi_node_new(struct tbi_node **made, const struct tbi_node_config *config, struct tbi_now now);
void tbi_node_free(struct tbi_node *node); /* frees every event too */

/* --- Datagrams and time ----------------------------------------------------------------------- */

/* How many were read; as tbi_endpoint_recv(). */
size_t tbi_node_recv(struct tbi_node *node, struct tbi_now now, const struct tbi_datagram *batch,
                     size_t n);

/* Fills one batch: 1, or 0 when there is nothing to send before the next step, which may be due at
 * once. Call until 0. */
int tbi_node_send(struct tbi_node *node, struct tbi_now now, struct tbi_send_batch *out);

/* Events since the application asked for one: more would leave the cache before it sees them, and
 * their senders have nothing to do meanwhile. */
#define TBI_TURN_EVENTS 256
/* Step and send before more is received: else answers without a connection would be lost, others
 * wait for too long, or there are so many events. */
bool tbi_node_has_enough(const struct tbi_node *node);
bool tbi_node_hurries(const struct tbi_node *node); /* as tbi_endpoint_hurries() */

/* Does what is due. After it, and after every command, send and ask for the deadline again. */
void tbi_node_step(struct tbi_node *node, struct tbi_now now);
/* Does what arrivals, sends and releases since the last call have left to do. */
void tbi_node_settle(struct tbi_node *node);

/* QUIC's timers alone, where they have come due since the step. Whether there may be something to
 * send. */
bool tbi_node_catch_up(struct tbi_node *node, struct tbi_now now);
uint64_t tbi_node_deadline(const struct tbi_node *node); /* ns; TBI_NEVER */

/* --- Events ----------------------------------------------------------------------------------- */

tbq_event *tbi_node_next_event(struct tbi_node *node);
bool tbi_node_has_news(const struct tbi_node *node); /* since it was asked for an event last */
/* Whether the application has said something, since the links were looked at last, to peers that
 * have acknowledged all that they were sent before: these may have nothing else to do than to wait
 * for it. And whether that is half as much as it was told messages since it had pulled all, and
 * enough for a packet: then it need not wait for the rest. */
bool tbi_node_is_awaited(const struct tbi_node *node);
bool tbi_node_has_half(const struct tbi_node *node);
void tbi_node_event_release(tbq_event *event); /* takes what it carried */
void tbi_node_event_refuse(tbq_event *event);
void tbi_node_event_accept(tbq_event *event);
/* While it is lent to a callback, release, refuse and accept do nothing. */
void tbi_node_event_lend(tbq_event *event, bool lent);
void *tbi_node_event_owner(const tbq_event *event); /* of its node; NULL for NULL */
void tbi_node_log_event(struct tbi_node *node, tbq_log_level level, const char *line);

/* --- Names: the node asks, the server resolves ------------------------------------------------ */

struct tbi_lookup {
    tbq_connection contact;
    const char *host; /* valid until the next call */
    uint16_t port;
};
bool tbi_node_next_lookup(struct tbi_node *node, struct tbi_lookup *lookup);
/* --- Finding peers ---------------------------------------------------------------------------- */

/* What to claim besides the bound address; tells the peers. At most 16 of each. */
int tbi_node_set_addresses(struct tbi_node *node, struct tbi_now now,
                           const struct tbi_addr *advertised, size_t advertised_len,
                           const struct tbi_addr *interfaces, size_t interfaces_len);
int tbi_node_announce(struct tbi_node *node, struct tbi_now now);

/* The addresses or routes of this machine may have changed: these are its interfaces' now (n 0: not
 * known). Peers are told where the own record changes, who waits to dial again dials with the next
 * step, and each connection goes to another address where its own is gone, or asks at once whether
 * the peer is still there. As tbi_node_announce(). */
int tbi_node_network_changed(struct tbi_node *node, struct tbi_now now,
                             const struct tbi_addr *interfaces, size_t n);

/* How many peers were asked, or TBQ_ERR_NO_ROUTE: none is connected. */
int tbi_node_discover(struct tbi_node *node, struct tbi_now now, uint64_t capabilities);

/* What peers are told of the own load, and the choice among them; errors as in <tbquic/select.h>.
 * The query is whole, its numbers not 0 where that means a default. */
int tbi_node_set_load(struct tbi_node *node, struct tbi_now now, uint32_t load, uint32_t capacity);
int tbi_node_select(struct tbi_node *node, struct tbi_now now, const tbq_select_query *query,
                    tbq_peer_id *out, size_t max);

/* The peer book, for a file. Errors as tbi_book_read() and tbi_book_write(). */
int tbi_node_book_read(struct tbi_node *node, struct tbi_now now, const uint8_t *data, size_t size);
bool tbi_node_book_changed(const struct tbi_node *node);
int tbi_node_book_write(struct tbi_node *node, struct tbi_block **bytes);

/* Session tickets and address tokens, for another file, of secrets. Errors as tbi_tickets_read()
 * and tbi_tickets_write(). */
int tbi_node_tickets_read(struct tbi_node *node, const uint8_t *data, size_t size);
bool tbi_node_tickets_changed(const struct tbi_node *node);
int tbi_node_tickets_write(struct tbi_node *node, struct tbi_block **bytes);

void tbi_node_resolved(struct tbi_node *node, struct tbi_now now, tbq_connection contact,
                       const struct tbi_addr *addrs, size_t n, const char *why_none);

/* --- Commands: the arguments and errors of <tbquic/server.h>; options are whole, never NULL -----
 */

/* persistent: a bootstrap node, dialled for as long as the node runs. */
int tbi_node_connect(struct tbi_node *node, struct tbi_now now, const struct tbi_target *target,
                     bool persistent, tbq_connection *connection);
int tbi_node_close(struct tbi_node *node, struct tbi_now now, tbq_connection connection);
int tbi_node_send_on(struct tbi_node *node, struct tbi_now now, tbq_connection connection,
                     const tbq_message *message, const tbq_send_options *options);
int tbi_node_send_to(struct tbi_node *node, struct tbi_now now, const tbq_peer_id *peer,
                     const tbq_message *message, const tbq_send_options *options);
int tbi_node_broadcast(struct tbi_node *node, struct tbi_now now, const tbq_message *message,
                       const tbq_send_options *options);
int tbi_node_request(struct tbi_node *node, struct tbi_now now, const tbq_peer_id *peer,
                     tbq_bytes bytes, uint32_t timeout_ms, const tbq_send_options *options,
                     tbq_request_id *request);
size_t tbi_node_datagram_room(struct tbi_node *node, const tbq_peer_id *id);
int tbi_node_send_datagram(struct tbi_node *node, struct tbi_now now, const tbq_peer_id *id,
                           tbq_bytes bytes);
int tbi_node_cancel(struct tbi_node *node, tbq_request_id request);
int tbi_node_respond(struct tbi_node *node, struct tbi_now now, tbq_request_id request,
                     const tbq_answer *answer);
int tbi_node_send_body(struct tbi_node *node, struct tbi_now now, const tbq_peer_id *peer,
                       tbq_read_fn source, void *user, uint64_t length,
                       const tbq_body_options *options, tbq_body *body);
int tbi_node_body_ready(struct tbi_node *node, tbq_body body);
int tbi_node_body_cancel(struct tbi_node *node, struct tbi_now now, tbq_body body);
int tbi_node_body_progress(const struct tbi_node *node, tbq_body body, tbq_body_progress *progress);
int tbi_node_pause(struct tbi_node *node, const tbq_peer_id *peer, unsigned lanes);
int tbi_node_resume(struct tbi_node *node, const tbq_peer_id *peer, unsigned lanes);
void tbi_node_stop(struct tbi_node *node, struct tbi_now now, uint32_t deadline_ms);
bool tbi_node_stopped(const struct tbi_node *node);

/* First use: the next address that is to be remembered with its key; the policy knows it already.
 */
struct tbi_binding {
    char host_port[TBQ_ADDRESS_SIZE];
    tbq_peer_id id;
};
bool tbi_node_next_binding(struct tbi_node *node, struct tbi_binding *binding);

/* The trust policy has changed: all that are connected are asked about again. Returns how many were
 * turned away. */
int tbi_node_ask_again(struct tbi_node *node, struct tbi_now now);

/* --- How it stands ---------------------------------------------------------------------------- */

int tbi_node_peers(const struct tbi_node *node, const tbq_peer_id *id, const tbq_peers **peers);
void tbi_peers_free(const tbq_peers *peers);
void tbi_node_stats(const struct tbi_node *node, tbq_stats *stats); /* all but the socket's */

#endif
