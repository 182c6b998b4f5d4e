/* quic/account.c - what ngtcp2 holds for one connection because of what its peer has said: bytes
 * that came out of order, the gaps between them, streams, ids, acknowledgements to be made. All
 * that is allocated while a packet is read counts, and has a limit; what this side sends does not:
 * that is bounded by what the owner queues. */
#include <string.h>

#include "quic/parts.h"

#define HEAD 32 /* bytes before each block, so that it stays aligned */

struct head {
    struct tbi_list entry; /* in the account's list */
    size_t size;
    bool counted; /* it was allocated while a packet was read */
};

_Static_assert(sizeof(struct head) <= HEAD, "a block's head has its place");

static bool charge(struct tbi_account *a, size_t size)
{
    if (a->held + size > a->limit) {
        a->over = true;
        return false;
    }
    a->held += size;
    a->most = a->held > a->most ? a->held : a->most;
    return true;
}

static void *put_head(struct tbi_account *a, uint8_t *block, size_t size)
{
    struct head *h = (struct head *)(void *)block;

    if (block == NULL) {
        return NULL;
    }
    *h = (struct head){.size = size, .counted = a->reading};
    tbi_list_init(&h->entry);
    tbi_list_push(&a->blocks, &h->entry);
    return block + HEAD;
}

static struct head *head_of(void *ptr)
{
    return (struct head *)(void *)((uint8_t *)ptr - HEAD);
}

static void *account_malloc(size_t size, void *user)
{
    struct tbi_account *a = user;

    if (size > SIZE_MAX - HEAD || (a->reading && !charge(a, HEAD + size))) {
        return NULL;
    }
    void *ptr = put_head(a, tbi_malloc(a->alloc, HEAD + size), size);
    if (ptr == NULL && a->reading) {
        a->held -= HEAD + size;
    }
    return ptr;
}

static void account_free(void *ptr, void *user)
{
    struct tbi_account *a = user;

    if (ptr != NULL) {
        a->held -= head_of(ptr)->counted ? HEAD + head_of(ptr)->size : 0;
        tbi_list_remove(&head_of(ptr)->entry);
        tbi_free(a->alloc, head_of(ptr));
    }
}

static void *account_calloc(size_t n, size_t size, void *user)
{
    if (size > 0 && n > SIZE_MAX / size) {
        return NULL;
    }
    void *ptr = account_malloc(n * size, user);
    if (ptr != NULL) {
        memset(ptr, 0, n * size);
    }
    return ptr;
}

/* As a new block and a copy: what grows counts for who makes it grow. */
static void *account_realloc(void *ptr, size_t size, void *user)
{
    void *grown = account_malloc(size, user);

    if (grown != NULL && ptr != NULL) {
        size_t before = head_of(ptr)->size;
        memcpy(grown, ptr, before < size ? before : size);
        account_free(ptr, user);
    }
    return grown;
}

void tbi_account_init(struct tbi_account *a, const struct tbi_alloc *alloc, size_t limit)
{
    *a = (struct tbi_account){.alloc = alloc, .limit = limit};
    a->mem = (ngtcp2_mem){.user_data = a,
                          .malloc = account_malloc,
                          .free = account_free,
                          .calloc = account_calloc,
                          .realloc = account_realloc};
    tbi_list_init(&a->blocks);
}

/* Now and then ngtcp2 1.11 has lost a block of some 150 bytes, allocated while acknowledgements
 * were read, when its connection ends. */
void tbi_account_close(struct tbi_account *a)
{
    struct tbi_list *entry;

    while ((entry = tbi_list_shift(&a->blocks)) != NULL) {
        tbi_free(a->alloc, TBI_CONTAINER(entry, struct head, entry));
    }
}

/* Nearly all of it is data: as much as may be under way, in whole chunks, all of it behind a gap.
 * Where packets of full size arrive every other one, the gaps need little beside what lies between:
 * an eighth is more than that, and 1 MiB covers what does not grow with the window. */
size_t tbi_account_limit(uint64_t connection_window)
{
    uint64_t limit = connection_window + connection_window / 8 + (UINT64_C(1) << 20);
    return limit < SIZE_MAX ? (size_t)limit : SIZE_MAX;
}
