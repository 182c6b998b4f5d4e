/* tbquic/select.h - which of the peers: by a key, by distance, or by who has least to do. */
#ifndef TBQUIC_SELECT_H
#define TBQUIC_SELECT_H

#include <tbquic/actor.h>
#include <tbquic/types.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum tbq_select_policy {
    /* By the key where there is one, else of two the less loaded. */
    TBQ_SELECT_DEFAULT = 0,
    /* The same key leads to the same peer, at every node that knows the same peers, and as many
     * keys to each as its capacity says. A peer that joins or leaves moves only its own keys. Peers
     * with a load of more than 1.25 times the average come last. docs/protocol.md, section 12. */
    TBQ_SELECT_RENDEZVOUS = 1,
    /* The shortest round trip first; those that are not connected last. */
    TBQ_SELECT_LEAST_RTT = 2,
    /* Of two at random the less loaded comes first, then again of the others. */
    TBQ_SELECT_TWO_CHOICES = 3
} tbq_select_policy;

/* What is asked for. Fill it with tbq_select_query_init(), then change what you need. */
typedef struct tbq_select_query {
    size_t size; /* set by tbq_select_query_init() */

    tbq_select_policy policy; /* default TBQ_SELECT_DEFAULT */
    uint64_t capabilities;    /* peers that announce all of these TBQ_CAN_...; default 0: any */
    tbq_bytes key;            /* at most 4,096 bytes; data NULL: none. Not kept */
    bool include_self;        /* this node may be chosen too; its round trip is the shortest */
    bool ignore_load;         /* RENDEZVOUS: nobody comes last for its load, as when what is
                                 stored under the key must be found again */
    bool connected_only;      /* peers that are connected now; else those too that were met no
                                 longer than recent_ms ago, have not been lost since, and may be
                                 dialled: tbq_server_connect() by their id leads there */
    uint32_t recent_ms;       /* default and 0: 300000 */
} tbq_select_query;

#define tbq_select_query_init(query) tbq_select_query_init_sized((query), sizeof(tbq_select_query))
TBQ_API void tbq_select_query_init_sized(tbq_select_query *query, size_t size);

/* Writes up to `max` peer ids, the best first: when one cannot be reached, or refuses, go on with
 * the next. What peers say of their load and capacity counts for this choice and for nothing else.
 *
 * Returns how many, 0: nobody is there who can do it; TBQ_ERR_INVALID, TBQ_ERR_TOO_LARGE (the key),
 * TBQ_ERR_NOMEM, TBQ_ERR_TLS. */
TBQ_API int tbq_select(tbq_server *server, const tbq_select_query *query, tbq_peer_id *out,
                       size_t max);

#define TBQ_LOAD_FULL 1000        /* permille: all of the node's capacity is in use */
#define TBQ_CAPACITY_DEFAULT 100U /* of a node that has told none */

/* Tells the peers how busy this node is and how strong it is. load: permille of its capacity in
 * use, more than 1000 where work waits; values above 65535 count as 65535. capacity: next to other
 * nodes', 1..65535, higher ones count as 65535; 0: TBQ_CAPACITY_DEFAULT. Until it is called,
 * nothing is told.
 *
 * Call it as often as you like. Peers are told with every ping; and at once, but once a second at
 * most, of a load that differs by 50 or more from what all were told last, or of another capacity.
 * Returns 0, TBQ_ERR_CLOSED (stopping) or TBQ_ERR_INVALID. */
TBQ_API int tbq_server_set_load(tbq_server *server, uint32_t load, uint32_t capacity);

#ifdef __cplusplus
}
#endif
#endif
