/* base/pool.c - see pool.h. */
#include "base/pool.h"

#include <stdint.h>
#include <string.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define __SANITIZE_ADDRESS__ 1
#endif
#endif
#ifdef __SANITIZE_ADDRESS__ /* it shall notice who uses what was freed here, too */
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(at, size) ((void)(at), (void)(size))
#define ASAN_UNPOISON_MEMORY_REGION(at, size) ((void)(at), (void)(size))
#endif

#define PAGE_SIZE_OF_POOL 4096
/* With its head a region is larger than 128 KiB: from there on glibc asks the system for memory
 * that goes back to it when it is freed, wherever it lies. */
#define REGION_PAGES 32

/* Bytes of an object with its head. What is larger than the last is the parent's. */
static const uint16_t class_size[TBI_POOL_CLASSES] = {32,  48,  64,  96,   128,  192, 256,
                                                      384, 512, 768, 1024, 1360, 2048};

struct object {
    struct page *page; /* NULL: it came from the parent */
    union {
        size_t size;         /* as asked for */
        struct object *next; /* of its page's free ones */
    } u;
};
_Static_assert(sizeof(struct object) <= 16, "what follows an object's head is aligned like it");
#define HEAD_SIZE 16

struct page {
    struct tbi_list entry; /* of those with room, or of the unused; in none when full */
    struct region *region;
    uint8_t *data;
    struct object *free; /* objects that were given back */
    unsigned cut;        /* objects that were handed out at least once; they come first */
    unsigned used;       /* objects that are out now */
    unsigned class;
};

struct region {
    unsigned used; /* pages */
    struct page page[REGION_PAGES];
};
/* Where the first page begins, aligned for whatever is put there. */
#define REGION_HEAD ((sizeof(struct region) + 15) / 16 * 16)
#define REGION_SIZE (REGION_HEAD + (size_t)REGION_PAGES * PAGE_SIZE_OF_POOL)

static void *payload(struct object *o)
{
    return (uint8_t *)o + HEAD_SIZE;
}

static struct object *object_of(void *ptr)
{
    return (struct object *)(void *)((uint8_t *)ptr - HEAD_SIZE);
}

/* --- Pages ------------------------------------------------------------------------------------ */

static int add_region(struct tbi_pool *p)
{
    struct region *r = tbi_malloc(p->parent, REGION_SIZE);

    if (r == NULL) {
        return TBQ_ERR_NOMEM;
    }
    memset(r, 0, sizeof *r); /* the pages are not touched before they are needed */
    for (size_t i = 0; i < REGION_PAGES; i++) {
        r->page[i].region = r;
        r->page[i].data = (uint8_t *)r + REGION_HEAD + i * PAGE_SIZE_OF_POOL;
        tbi_list_push(&p->unused, &r->page[i].entry);
    }
    return 0;
}

static void drop_region(struct tbi_pool *p, struct region *r)
{
    for (size_t i = 0; i < REGION_PAGES; i++) {
        tbi_list_remove(&r->page[i].entry);
    }
    ASAN_UNPOISON_MEMORY_REGION(r, REGION_SIZE);
    tbi_free(p->parent, r);
}

/* A page with room for one more object of that class, or NULL. */
static struct page *page_for(struct tbi_pool *p, unsigned class)
{
    if (!tbi_list_empty(&p->room[class])) {
        return TBI_CONTAINER(p->room[class].next, struct page, entry);
    }
    if (tbi_list_empty(&p->unused) && add_region(p) < 0) {
        return NULL;
    }
    struct page *page = TBI_CONTAINER(tbi_list_shift(&p->unused), struct page, entry);
    ASAN_UNPOISON_MEMORY_REGION(page->data, PAGE_SIZE_OF_POOL);
    page->region->used++;
    page->class = class;
    page->cut = 0;
    page->free = NULL;
    tbi_list_push(&p->room[class], &page->entry);
    return page;
}

static struct object *take_object(struct page *page)
{
    struct object *o = page->free;
    unsigned most = PAGE_SIZE_OF_POOL / class_size[page->class];

    if (o != NULL) {
        page->free = o->u.next;
    } else {
        o = (struct object *)(void *)(page->data + (size_t)page->cut++ * class_size[page->class]);
    }
    if (++page->used == most) {
        tbi_list_remove(&page->entry);
    }
    return o;
}

static void give_object(struct tbi_pool *p, struct object *o)
{
    struct page *page = o->page;
    bool full = page->used == PAGE_SIZE_OF_POOL / (unsigned)class_size[page->class];

    ASAN_POISON_MEMORY_REGION(payload(o), class_size[page->class] - HEAD_SIZE);
    o->u.next = page->free;
    page->free = o;
    if (--page->used > 0) {
        if (full) {
            tbi_list_push(&p->room[page->class], &page->entry);
        }
        return;
    }
    tbi_list_remove(&page->entry);
    tbi_list_push(&p->unused, &page->entry);
    if (--page->region->used == 0) {
        drop_region(p, page->region);
    }
}

/* --- As an allocator -------------------------------------------------------------------------- */

static void *pool_alloc(void *user, size_t size)
{
    struct tbi_pool *p = user;
    struct page *page = NULL;
    struct object *o;
    unsigned class = 0;

    if (size > SIZE_MAX - HEAD_SIZE) {
        return NULL;
    }
    while (class < TBI_POOL_CLASSES && size + HEAD_SIZE > class_size[class]) {
        class ++;
    }
    if (class == TBI_POOL_CLASSES) {
        o = tbi_malloc(p->parent, size + HEAD_SIZE);
    } else {
        page = page_for(p, class);
        o = page != NULL ? take_object(page) : NULL;
    }
    if (o == NULL) {
        return NULL;
    }
    o->page = page;
    o->u.size = size;
    ASAN_UNPOISON_MEMORY_REGION(payload(o), size);
    return payload(o);
}

static void pool_free(void *user, void *ptr)
{
    struct tbi_pool *p = user;
    struct object *o = object_of(ptr);

    if (o->page == NULL) {
        tbi_free(p->parent, o);
    } else {
        give_object(p, o);
    }
}

static void *pool_realloc(void *user, void *ptr, size_t size)
{
    void *to = pool_alloc(user, size);

    if (to != NULL && ptr != NULL) {
        size_t had = object_of(ptr)->u.size;
        memcpy(to, ptr, had < size ? had : size);
        pool_free(user, ptr);
    }
    return to;
}

void tbi_pool_init(struct tbi_pool *p, const struct tbi_alloc *parent)
{
    p->parent = parent;
    p->alloc = (struct tbi_alloc){.hook = {pool_alloc, pool_realloc, pool_free, p}};
    tbi_list_init(&p->unused);
    for (size_t i = 0; i < TBI_POOL_CLASSES; i++) {
        tbi_list_init(&p->room[i]);
    }
}
