/* mesh/tries.c - see tries.h. */
#include "mesh/tries.h"

#include <string.h>

#define KEY_SIZE 19 /* an IP address, padded, its size, and a port */

struct tbi_tried {
    unsigned tries;
};

static void key_of(const struct tbi_addr *addr, uint8_t key[KEY_SIZE])
{
    size_t size;
    const uint8_t *ip = tbi_addr_bytes(addr, &size);
    uint16_t port = tbi_addr_port(addr);

    memset(key, 0, KEY_SIZE);
    if (size > 0) {
        memcpy(key, ip, size);
    }
    key[16] = (uint8_t)size;
    key[17] = (uint8_t)(port >> 8);
    key[18] = (uint8_t)port;
}

void tbi_tries_init(struct tbi_tries *t, const struct tbi_alloc *a, const uint8_t secret[16])
{
    memset(t, 0, sizeof *t);
    tbi_map_init(&t->addresses, a, secret, KEY_SIZE, TBI_TRIES_ADDRESSES_MAX);
}

static void forget_first(struct tbi_tries *t)
{
    struct tbi_map_entry *first = tbi_map_first(&t->addresses);
    tbi_free(t->addresses.alloc, tbi_map_remove(&t->addresses, tbi_map_key(first)));
}

void tbi_tries_free(struct tbi_tries *t)
{
    while (tbi_map_first(&t->addresses) != NULL) {
        forget_first(t);
    }
    tbi_map_free(&t->addresses);
}

unsigned tbi_tries_of(const struct tbi_tries *t, const struct tbi_addr *addr)
{
    uint8_t key[KEY_SIZE];
    key_of(addr, key);
    const struct tbi_tried *tried = tbi_map_get(&t->addresses, key);
    return tried != NULL ? tried->tries : 0;
}

/* Where memory is out it is not remembered: the place in the book counts its own tries anyway. */
void tbi_tries_dialled(struct tbi_tries *t, const struct tbi_addr *addr)
{
    uint8_t key[KEY_SIZE];
    key_of(addr, key);
    struct tbi_tried *tried = tbi_map_get(&t->addresses, key);

    if (tried == NULL) {
        if (tbi_map_count(&t->addresses) == TBI_TRIES_ADDRESSES_MAX) {
            forget_first(t);
            t->forgotten++;
        }
        tried = tbi_calloc(t->addresses.alloc, 1, sizeof *tried);
        if (tried != NULL && tbi_map_put(&t->addresses, key, tried) < 0) {
            tbi_free(t->addresses.alloc, tried);
            tried = NULL;
        }
    }
    if (tried != NULL) {
        tried->tries++;
    }
}

void tbi_tries_reached(struct tbi_tries *t, const struct tbi_addr *addr)
{
    uint8_t key[KEY_SIZE];
    key_of(addr, key);
    tbi_free(t->addresses.alloc, tbi_map_remove(&t->addresses, key));
}
