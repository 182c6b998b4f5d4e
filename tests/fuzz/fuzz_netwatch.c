/* tests/fuzz/fuzz_netwatch.c - any bytes as what the kernel's netlink tells.
 *
 * Messages that are whole, and tell of nothing, tell of nothing when they come twice. */
#include <stdlib.h>
#include <string.h>

#include "io/netwatch.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    /* Of exactly that size, so that a byte read past the end is noticed. */
    uint8_t *twice = calloc(2, size + 1);
    if (twice == NULL) {
        return 0;
    }
    if (size > 0) {
        memcpy(twice, data, size);
        memcpy(twice + size, data, size);
    }
    bool once = tbi_netwatch_tells(twice + size, size);
    if (size % 4 == 0 && !once && tbi_netwatch_tells(twice, 2 * size)) {
        abort();
    }
    free(twice);
    return 0;
}
