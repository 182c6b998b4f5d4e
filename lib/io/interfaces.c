/* io/interfaces.c - see interfaces.h. */
#include "io/interfaces.h"

#include <ifaddrs.h>
#include <net/if.h>

static bool is_link_local(const struct tbi_addr *a)
{
    size_t size;
    const uint8_t *ip = tbi_addr_bytes(a, &size);

    return size == 4 ? ip[0] == 169 && ip[1] == 254 : ip[0] == 0xfe && (ip[1] & 0xc0) == 0x80;
}

size_t tbi_interfaces(struct tbi_addr *to, size_t max, uint16_t port, bool v4_only)
{
    struct ifaddrs *all = NULL;
    size_t n = 0;

    if (getifaddrs(&all) < 0) {
        return 0;
    }
    for (int loopback = 0; loopback < 2; loopback++) {
        for (struct ifaddrs *i = all; i != NULL && n < max; i = i->ifa_next) {
            struct tbi_addr a;
            if (i->ifa_addr == NULL || (i->ifa_flags & IFF_UP) == 0 ||
                (i->ifa_addr->sa_family != AF_INET && i->ifa_addr->sa_family != AF_INET6)) {
                continue;
            }
            size_t size = i->ifa_addr->sa_family == AF_INET ? sizeof(struct sockaddr_in)
                                                            : sizeof(struct sockaddr_in6);
            if (tbi_addr_from_sockaddr(&a, i->ifa_addr, size) < 0 || is_link_local(&a) ||
                tbi_addr_is_loopback(&a) != (loopback == 1) ||
                (v4_only && a.u.sa.sa_family != AF_INET)) {
                continue;
            }
            tbi_addr_set_port(&a, port);
            to[n++] = a;
        }
    }
    freeifaddrs(all);
    return n;
}
