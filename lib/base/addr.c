/* base/addr.c - see addr.h. */
#include "base/addr.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

static const uint8_t mapped_prefix[12] = {[10] = 0xff, [11] = 0xff}; /* ::ffff:0:0/96, RFC 4291 */

int tbi_addr_from_bytes(struct tbi_addr *a, const uint8_t *ip, size_t size, uint16_t port)
{
    memset(a, 0, sizeof *a);
    if (size == 16 && memcmp(ip, mapped_prefix, sizeof mapped_prefix) == 0) {
        ip += sizeof mapped_prefix;
        size = 4;
    }
    if (size == 4) {
        a->u.in.sin_family = AF_INET;
        a->u.in.sin_port = htons(port);
        memcpy(&a->u.in.sin_addr, ip, 4);
        a->len = sizeof a->u.in;
        return 0;
    }
    if (size == 16) {
        a->u.in6.sin6_family = AF_INET6;
        a->u.in6.sin6_port = htons(port);
        memcpy(&a->u.in6.sin6_addr, ip, 16);
        a->len = sizeof a->u.in6;
        return 0;
    }
    return TBQ_ERR_ADDRESS;
}

/* `sa` may be what `a` holds already: it is copied before `a` is written. */
int tbi_addr_from_sockaddr(struct tbi_addr *a, const struct sockaddr *sa, size_t len)
{
    struct sockaddr_in6 in6;
    struct sockaddr_in in;

    if (len >= sizeof in && sa->sa_family == AF_INET) {
        memcpy(&in, sa, sizeof in);
        return tbi_addr_from_bytes(a, (const uint8_t *)&in.sin_addr, 4, ntohs(in.sin_port));
    }
    if (len >= sizeof in6 && sa->sa_family == AF_INET6) {
        memcpy(&in6, sa, sizeof in6);
        int rv = tbi_addr_from_bytes(a, (const uint8_t *)&in6.sin6_addr, 16, ntohs(in6.sin6_port));
        if (a->u.sa.sa_family == AF_INET6) {
            a->u.in6.sin6_scope_id = in6.sin6_scope_id; /* link-local addresses need it */
        }
        return rv;
    }
    memset(a, 0, sizeof *a);
    return TBQ_ERR_ADDRESS;
}

const uint8_t *tbi_addr_bytes(const struct tbi_addr *a, size_t *size)
{
    if (a->len == 0) {
        *size = 0;
        return NULL;
    }
    if (a->u.sa.sa_family == AF_INET) {
        *size = 4;
        return (const uint8_t *)&a->u.in.sin_addr;
    }
    *size = 16;
    return (const uint8_t *)&a->u.in6.sin6_addr;
}

uint16_t tbi_addr_port(const struct tbi_addr *a)
{
    if (a->len == 0) {
        return 0;
    }
    return ntohs(a->u.sa.sa_family == AF_INET ? a->u.in.sin_port : a->u.in6.sin6_port);
}

void tbi_addr_set_port(struct tbi_addr *a, uint16_t port)
{
    if (a->u.sa.sa_family == AF_INET) {
        a->u.in.sin_port = htons(port);
    } else if (a->u.sa.sa_family == AF_INET6) {
        a->u.in6.sin6_port = htons(port);
    }
}

bool tbi_addr_equal(const struct tbi_addr *a, const struct tbi_addr *b)
{
    size_t na, nb;
    const uint8_t *pa = tbi_addr_bytes(a, &na);
    const uint8_t *pb = tbi_addr_bytes(b, &nb);

    if (na != nb || tbi_addr_port(a) != tbi_addr_port(b)) {
        return false;
    }
    if (na == 16 && a->u.in6.sin6_scope_id != b->u.in6.sin6_scope_id) {
        return false;
    }
    return na == 0 || memcmp(pa, pb, na) == 0;
}

bool tbi_addr_is_any(const struct tbi_addr *a)
{
    static const uint8_t zero[16];
    size_t n;
    const uint8_t *p = tbi_addr_bytes(a, &n);
    return n > 0 && memcmp(p, zero, n) == 0;
}

bool tbi_addr_is_loopback(const struct tbi_addr *a)
{
    size_t n;
    const uint8_t *p = tbi_addr_bytes(a, &n);
    if (n == 4) {
        return p[0] == 127;
    }
    return n == 16 && memcmp(p, &in6addr_loopback, 16) == 0;
}

void tbi_addr_to_v6(struct tbi_addr *a)
{
    if (a->len == 0 || a->u.sa.sa_family != AF_INET) {
        return;
    }
    struct sockaddr_in in = a->u.in;
    memset(a, 0, sizeof *a);
    a->u.in6.sin6_family = AF_INET6;
    a->u.in6.sin6_port = in.sin_port;
    memcpy(a->u.in6.sin6_addr.s6_addr, mapped_prefix, sizeof mapped_prefix);
    memcpy(a->u.in6.sin6_addr.s6_addr + 12, &in.sin_addr, 4);
    a->len = sizeof a->u.in6;
}

void tbi_addr_to_text(const struct tbi_addr *a, char text[TBI_ADDR_TEXT_SIZE])
{
    char ip[INET6_ADDRSTRLEN];
    size_t n;
    const uint8_t *p = tbi_addr_bytes(a, &n);

    if (n == 0) {
        snprintf(text, TBI_ADDR_TEXT_SIZE, "none");
        return;
    }
    inet_ntop(n == 4 ? AF_INET : AF_INET6, p, ip, sizeof ip);
    snprintf(text, TBI_ADDR_TEXT_SIZE, n == 4 ? "%s:%u" : "[%s]:%u", ip,
             (unsigned)tbi_addr_port(a));
}

void tbi_prefix_of(const struct tbi_addr *addr, uint8_t prefix[TBI_PREFIX_SIZE])
{
    size_t size;
    const uint8_t *ip = tbi_addr_bytes(addr, &size);

    memset(prefix, 0, TBI_PREFIX_SIZE);
    if (size == 4) {
        prefix[7] = 4; /* no IPv6 prefix of 56 bits has this byte set */
        memcpy(prefix, ip, 3);
    } else if (size == 16) {
        memcpy(prefix, ip, 7);
    }
}
