/* tests/sim/scales.c - see scales.h. */
#include "scales.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define TIMES 3

struct scales *scales_new(void)
{
    struct scales *s = calloc(1, sizeof *s);
    assert(s != NULL);
    return s;
}

void scales_free(struct scales *s)
{
    free(s);
}

static struct scales_pan *pan_of(struct scales *s, const struct tbi_addr *a)
{
    size_t size;
    const uint8_t *ip = tbi_addr_bytes(a, &size);
    uint64_t key =
        14695981039346656037U ^ tbi_addr_port(a); /* FNV-1a: no two are ever alike here */

    for (size_t i = 0; i < size; i++) {
        key = (key ^ ip[i]) * 1099511628211U;
    }
    key |= 1; /* never 0, which is an empty pan */
    size_t at = (size_t)(key >> 32) % SCALES_MAX;
    while (s->pan[at].address != 0 && s->pan[at].address != key) {
        at = (at + 1) % SCALES_MAX;
    }
    if (s->pan[at].address == 0) {
        assert(++s->addresses < SCALES_MAX / 2);
        s->pan[at].address = key;
    }
    return &s->pan[at];
}

void scales_from(struct scales *s, const struct tbi_addr *a, size_t bytes)
{
    pan_of(s, a)->from += bytes;
}

void scales_to(struct scales *s, const struct tbi_addr *a, size_t bytes)
{
    pan_of(s, a)->to += bytes;
}

uint64_t scales_excess(const struct scales *s)
{
    uint64_t most = 0;
    for (size_t i = 0; i < SCALES_MAX; i++) {
        const struct scales_pan *p = &s->pan[i];
        if (p->to > TIMES * p->from && p->to - TIMES * p->from > most) {
            most = p->to - TIMES * p->from;
        }
    }
    return most;
}
