/* tbquic.h - libtbquic: peers over QUIC, and the truth about every message.
 *
 * A server is one node: it has a key, its peer id is the hash of that key, and it listens and
 * dials on one UDP port. You drive it from a loop of your own:
 *
 *     tbq_config c;
 *     tbq_config_init(&c);
 *     c.bootstrap_nodes = ...;
 *     tbq_server_start(&server, &c, NULL, NULL, NULL);
 *     for (;;) {
 *         n = tbq_server_pollfds(server, fds, TBQ_FDS_MAX);
 *         ppoll(fds, n, tbq_server_timeout(server, &t), NULL);
 *         tbq_server_process(server);
 *         while ((event = tbq_server_next_event(server)) != NULL) {
 *             ...
 *             tbq_event_release(event);
 *         }
 *     }
 *
 * What a sender may rely on: a message is delivered exactly once and in order within its lane
 * while both processes live, whatever happens to the connections beneath; and its fate (delivered,
 * not delivered, unknown) is told exactly once. See docs/protocol.md for how.
 *
 * Calls on one server must not overlap, but may come from any thread. Nothing calls back, except
 * an actor, a log hook or what a body is read from, if you set them. Read on in this order:
 * types.h, config.h, server.h, event.h, message.h, body.h, actor.h, peer.h, select.h, error.h,
 * identity.h, p2p.h.
 */
#ifndef TBQUIC_H
#define TBQUIC_H

#include <tbquic/actor.h>
#include <tbquic/body.h>
#include <tbquic/config.h>
#include <tbquic/error.h>
#include <tbquic/event.h>
#include <tbquic/identity.h>
#include <tbquic/message.h>
#include <tbquic/p2p.h>
#include <tbquic/peer.h>
#include <tbquic/select.h>
#include <tbquic/server.h>
#include <tbquic/types.h>

#endif
