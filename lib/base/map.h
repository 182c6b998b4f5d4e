/* base/map.h - the one hash map: keys of a fixed size to pointers, over uthash.
 *
 * Keys may be chosen by an attacker, so they are hashed with SipHash-2-4 under a secret of the
 * owner. Walks go in order of insertion, never in hash order. */
#ifndef TBI_BASE_MAP_H
#define TBI_BASE_MAP_H

#include <stddef.h>
#include <stdint.h>

#include "base/alloc.h"

#define TBI_MAP_KEY_MAX 40

struct tbi_map_entry;
struct tbi_map {
    const struct tbi_alloc *alloc;
    uint8_t secret[16];
    size_t key_size;  /* bytes, at most TBI_MAP_KEY_MAX */
    size_t limit;     /* most entries */
    uint64_t refused; /* puts that the limit refused */
    struct tbi_map_entry *head;
    struct tbi_map_entry *last; /* that was found last; NULL: none */
};

void tbi_map_init(struct tbi_map *m, const struct tbi_alloc *a, const uint8_t secret[16],
                  size_t key_size, size_t limit);
void tbi_map_free(struct tbi_map *m); /* the entries, not what they point to */
size_t tbi_map_count(const struct tbi_map *m);

/* 0, TBQ_ERR_EXISTS, TBQ_ERR_LIMIT or TBQ_ERR_NOMEM; the map is unchanged after an error. */
int tbi_map_put(struct tbi_map *m, const void *key, void *value);
void *tbi_map_get(const struct tbi_map *m, const void *key); /* NULL when absent */
void *tbi_map_remove(struct tbi_map *m, const void *key);    /* the value, or NULL */

/* In order of insertion: for (e = first; e; e = next). The entry just returned may be removed once
 * its successor was fetched. */
struct tbi_map_entry *tbi_map_first(const struct tbi_map *m);
struct tbi_map_entry *tbi_map_next(const struct tbi_map_entry *e);
void *tbi_map_value(const struct tbi_map_entry *e);
const void *tbi_map_key(const struct tbi_map_entry *e);

/* SipHash-2-4, 64 bits (Aumasson and Bernstein, 2012). */
uint64_t tbi_siphash(const uint8_t secret[16], const void *data, size_t size);

#endif
