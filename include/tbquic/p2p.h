/* tbquic/p2p.h - the runtime's P2PConfig as a configuration, and back (the source document's
 * p2pConfigToQuicConfig). */
#ifndef TBQUIC_P2P_H
#define TBQUIC_P2P_H

#include <tbquic/config.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The fields of the runtime's P2PConfig. Fill it with tbq_p2p_init(), then change what you need. */
typedef struct tbq_p2p {
    size_t size; /* set by tbq_p2p_init() */

    const char *bind_address;      /* a numeric address; NULL: every address */
    uint16_t bind_port;            /* UDP; 8443 */
    const char *const *seed_nodes; /* as bootstrap_nodes of a tbq_config */
    size_t seed_nodes_len;
    uint32_t replication_factor;      /* nodes that keep a key; 3 */
    uint32_t node_capacity;           /* peers to keep, at most; 50; 1..1048576 */
    uint32_t refresh_interval_s;      /* between two refreshes of the peer list; 300 */
    uint32_t health_check_interval_s; /* 60; 1..3600 */
    uint32_t connection_timeout_ms;   /* 5000 */
    uint32_t max_message_size;        /* bytes; 1 MiB */
} tbq_p2p;

#define tbq_p2p_init(p2p) tbq_p2p_init_sized((p2p), sizeof(tbq_p2p))

/* Writes the runtime's defaults into the first `size` bytes, and never more. */
TBQ_API void tbq_p2p_init_sized(tbq_p2p *p2p, size_t size);

/* Sets in *config, which was initialised before, what a P2PConfig tells:
 *
 *     bind_address, bind_port     bind_address, bind_port
 *     seed_nodes                  bootstrap_nodes
 *     node_capacity               max_connections
 *     health_check_interval_s     ping_interval_ms, in ms; and idle_timeout_ms is raised to twice
 *                                 that where it is less
 *     refresh_interval_s          refresh_interval_ms, in ms
 *     connection_timeout_ms       connection_timeout_ms
 *     max_message_size            max_message_size; receive_window, receive_window_max and
 *                                 outbox_bytes are set to their defaults where they would be too
 *                                 small for it
 *
 * All other fields stay as they are. Replication is not a matter of the configuration:
 * replication_factor is not read. Strings and arrays are the caller's: *config
 * points to them. Ranges are checked by tbq_server_start(), where config->error_text tells of them.
 * Returns 0 or TBQ_ERR_INVALID: a struct was not initialised, or a number is too large to be
 * turned into milliseconds; *config is then unchanged. */
TBQ_API int tbq_config_from_p2p(tbq_config *config, const tbq_p2p *p2p);

/* The way back, by the same table; intervals are rounded up to whole seconds, 0 becomes the
 * default of tbq_config. replication_factor stays as it is in *p2p.
 * Returns 0 or TBQ_ERR_INVALID: a struct was not initialised; *p2p is then unchanged. */
TBQ_API int tbq_config_to_p2p(const tbq_config *config, tbq_p2p *p2p);

#ifdef __cplusplus
}
#endif
#endif
