/* tests/sim/scales.h - bytes from and to each address, weighed: nobody may be sent more than three
 * times what came from there before the address is proved (RFC 9000, sections 8.1 and 8.2). */
#ifndef TBI_TESTS_SCALES_H
#define TBI_TESTS_SCALES_H

#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"

#define SCALES_MAX 65536 /* places; half of them may be in use */

struct scales {
    struct scales_pan {
        uint64_t address; /* and port, as a hash; 0: none */
        uint64_t from, to;
    } pan[SCALES_MAX];
    size_t addresses;
};

struct scales *scales_new(void);
void scales_free(struct scales *s);
void scales_from(struct scales *s, const struct tbi_addr *a, size_t bytes);
void scales_to(struct scales *s, const struct tbi_addr *a, size_t bytes);
/* The most bytes beyond three times that any address was sent; 0: none was. */
uint64_t scales_excess(const struct scales *s);

#endif
