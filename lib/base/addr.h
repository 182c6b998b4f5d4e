/* base/addr.h - an IP address and port as one comparable value, and the text forms of addresses. */
#ifndef TBI_BASE_ADDR_H
#define TBI_BASE_ADDR_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include <tbquic/types.h>

/* IPv4 and IPv6 alike; an IPv4-mapped IPv6 address is always held as IPv4. */
struct tbi_addr {
    union {
        struct sockaddr sa;
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
    } u;
    socklen_t len; /* 0: none */
};

#define TBI_ADDR_TEXT_SIZE 64

/* Copies, maps ::ffff:a.b.c.d to IPv4 and clears what does not count (flow label).
 * 0 or TBQ_ERR_ADDRESS (another family, too short). */
int tbi_addr_from_sockaddr(struct tbi_addr *a, const struct sockaddr *sa, size_t len);

/* "192.0.2.1:8443", "[2001:db8::1]:8443"; numbers only, no names. 0 or TBQ_ERR_ADDRESS. */
int tbi_addr_from_text(struct tbi_addr *a, const char *text);
void tbi_addr_to_text(const struct tbi_addr *a, char text[TBI_ADDR_TEXT_SIZE]);
int tbi_addr_from_bytes(struct tbi_addr *a, const uint8_t *ip, size_t size /* 4 or 16 */,
                        uint16_t port);
const uint8_t *tbi_addr_bytes(const struct tbi_addr *a, size_t *size); /* 4 or 16 */

uint16_t tbi_addr_port(const struct tbi_addr *a);
void tbi_addr_set_port(struct tbi_addr *a, uint16_t port);
bool tbi_addr_equal(const struct tbi_addr *a, const struct tbi_addr *b);
bool tbi_addr_is_any(const struct tbi_addr *a);
bool tbi_addr_is_loopback(const struct tbi_addr *a);

/* The network that an address counts for: IPv4 /24, IPv6 /56; of 8 bytes. */
#define TBI_PREFIX_SIZE 8
void tbi_prefix_of(const struct tbi_addr *a, uint8_t prefix[TBI_PREFIX_SIZE]);

/* The same address as an IPv4-mapped IPv6 one, for a dual-stack socket. */
void tbi_addr_to_v6(struct tbi_addr *a);

/* Where to dial, as text from outside: a name or number, a port, and perhaps the key. */
struct tbi_target {
    char host[254]; /* without brackets; empty: wherever the peer with that id is */
    uint16_t port;
    bool numeric; /* host is an address: `addr` holds it */
    struct tbi_addr addr;
    bool pinned; /* `id` is the peer that must answer */
    tbq_peer_id id;
};

/* "host:port", "[v6]:port", "tbq://PEERID@host:port", "PEERID", "tbq://PEERID". 0 or
 * TBQ_ERR_ADDRESS / TBQ_ERR_INVALID (the peer id). */
int tbi_target_parse(struct tbi_target *t, const char *text);

/* The way back, TBQ_URI_SIZE bytes are always enough. */
void tbi_target_to_text(const struct tbi_target *t, char text[TBQ_URI_SIZE]);

#endif
