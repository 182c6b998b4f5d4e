/* tests/net/couple.h - two servers on loopback in one process, driven by poll() until something is
 * so. No test waits for a time: GUARD_MS only ends one that is stuck. */
#ifndef TBI_TESTS_COUPLE_H
#define TBI_TESTS_COUPLE_H

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include <tbquic/tbquic.h>

#define GUARD_MS 30000

/* An allocator that counts, for one server. */
struct counted {
    size_t live;  /* bytes now */
    size_t most;  /* bytes at most */
    size_t calls; /* allocations */
};

struct side {
    tbq_server *server;
    struct counted memory;
    tbq_event *last[8]; /* messages and requests that were pulled and not released */
    size_t kept;
    bool keep; /* pull, and do not release */
    size_t events[32];
    size_t fates[4];
    tbq_event seen; /* the latest of what the test asks about; pointers are gone */
    char text[256];
    uint8_t bytes[64]; /* of the latest message or answer */
    size_t bytes_size;
    uint64_t tag;
};

static inline void *couple_alloc(void *user, size_t size)
{
    struct counted *c = user;
    size_t *p = malloc(size + 16);
    if (p == NULL) {
        return NULL;
    }
    p[0] = size;
    c->live += size;
    c->most = c->live > c->most ? c->live : c->most;
    c->calls++;
    return (char *)p + 16;
}

static inline void couple_free(void *user, void *ptr)
{
    struct counted *c = user;
    if (ptr != NULL) {
        size_t *p = (size_t *)(void *)((char *)ptr - 16);
        c->live -= p[0];
        free(p);
    }
}

static inline void *couple_realloc(void *user, void *ptr, size_t size)
{
    void *to = couple_alloc(user, size);
    if (to != NULL && ptr != NULL) {
        size_t old = *(size_t *)(void *)((char *)ptr - 16);
        memcpy(to, ptr, old < size ? old : size);
        couple_free(user, ptr);
    }
    return to;
}

static inline tbq_config couple_config(struct side *s)
{
    tbq_config c;
    memset(s, 0, sizeof *s);
    tbq_config_init(&c);
    c.bind_address = "127.0.0.1";
    c.bind_port = 0;
    c.allocator = (tbq_allocator){couple_alloc, couple_realloc, couple_free, &s->memory};
    return c;
}

static inline void couple_start(struct side *s)
{
    tbq_config c = couple_config(s);
    ck_assert_int_eq(tbq_server_start(&s->server, &c, NULL, NULL, NULL), 0);
}

static inline void couple_note(struct side *s, tbq_event *e)
{
    s->events[e->type]++;
    s->seen = *e;
    strncpy(s->text, e->text, sizeof s->text - 1);
    if (e->type == TBQ_EVENT_FATE) {
        s->fates[e->fate]++;
        s->tag = e->tag;
    }
    if (e->message != NULL) {
        const tbq_message *m = e->message;
        tbq_bytes b = m->kind == TBQ_TRANSITION          ? m->u.transition
                      : m->kind == TBQ_RESOURCE_REQUEST  ? m->u.request.bytes
                      : m->kind == TBQ_RESOURCE_RESPONSE ? m->u.response.bytes
                                                         : (tbq_bytes){NULL, 0};
        s->bytes_size = b.size < sizeof s->bytes ? b.size : sizeof s->bytes;
        if (b.size > 0) {
            memcpy(s->bytes, b.data, s->bytes_size);
        }
    }
}

static inline void couple_pull(struct side *s)
{
    tbq_event *e;
    while ((e = tbq_server_next_event(s->server)) != NULL) {
        couple_note(s, e);
        bool carries = e->type == TBQ_EVENT_MESSAGE || e->type == TBQ_EVENT_REQUEST;
        if (s->keep && carries && s->kept < 8) {
            s->last[s->kept++] = e;
        } else {
            tbq_event_release(e);
        }
    }
}

static inline uint64_t couple_now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000U + (uint64_t)t.tv_nsec;
}

/* How long poll() may wait for that server, ms; rounded up, so that nobody spins. */
static inline int couple_wait(tbq_server *s, int most)
{
    struct timespec t;
    if (tbq_server_timeout(s, &t) == NULL) {
        return most;
    }
    long ms = (long)t.tv_sec * 1000 + (t.tv_nsec + 999999) / 1000000;
    return ms < most ? (int)ms : most;
}

/* Both go on until `done` says so; false: stuck. */
static int couple_idle_ms = 1000; /* how long a wait lasts when nobody wants anything */
static inline bool couple_run(struct side *a, struct side *b, bool (*done)(void *), void *arg)
{
    uint64_t end = couple_now_ns() + GUARD_MS * UINT64_C(1000000);

    while (!done(arg)) {
        struct pollfd fds[2 * TBQ_FDS_MAX];
        size_t n = tbq_server_pollfds(a->server, fds, TBQ_FDS_MAX);
        n += tbq_server_pollfds(b->server, fds + n, TBQ_FDS_MAX);
        poll(fds, (nfds_t)n, couple_wait(b->server, couple_wait(a->server, couple_idle_ms)));
        ck_assert_int_eq(tbq_server_process(a->server), 0);
        ck_assert_int_eq(tbq_server_process(b->server), 0);
        couple_pull(a);
        couple_pull(b);
        if (couple_now_ns() > end) {
            return false;
        }
    }
    return true;
}

static inline void couple_end(struct side *s)
{
    for (size_t i = 0; i < s->kept; i++) {
        tbq_event_release(s->last[i]);
    }
    tbq_server_free(s->server);
    ck_assert_uint_eq(s->memory.live, 0);
}

#endif
