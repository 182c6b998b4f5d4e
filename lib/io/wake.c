/* io/wake.c - see wake.h. */
#include "io/wake.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <unistd.h>

#if defined(__linux__)
#include <sys/eventfd.h>
#endif

#include <tbquic/error.h>

struct post {
    void (*fn)(void *arg);
    void *arg;
};

/* The array is part of the struct: posting must take no memory, because the embedder's allocator
 * need not be safe for threads. */
struct tbi_wake {
    const struct tbi_alloc *alloc;
    pthread_mutex_t mutex; /* guards what follows up to `held` */
    struct post posts[TBI_POSTS_MAX];
    size_t first;
    size_t count;
    bool closed;
    bool held; /* readable, whether something was posted or not */
    int read_fd;
    int write_fd; /* the same as read_fd with eventfd */
};

static int open_descriptors(struct tbi_wake *w)
{
#if defined(__linux__)
    w->read_fd = w->write_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return w->read_fd < 0 ? TBQ_ERR_IO : 0;
#else
    int fds[2];
    if (pipe(fds) < 0) {
        return TBQ_ERR_IO;
    }
    w->read_fd = fds[0];
    w->write_fd = fds[1];
    for (int i = 0; i < 2; i++) {
        if (fcntl(fds[i], F_SETFD, FD_CLOEXEC) < 0 || fcntl(fds[i], F_SETFL, O_NONBLOCK) < 0) {
            return TBQ_ERR_IO;
        }
    }
    return 0;
#endif
}

static void close_descriptors(struct tbi_wake *w)
{
    if (w->write_fd >= 0 && w->write_fd != w->read_fd) {
        close(w->write_fd);
    }
    if (w->read_fd >= 0) {
        close(w->read_fd);
    }
}

int tbi_wake_new(struct tbi_wake **wake, const struct tbi_alloc *a)
{
    struct tbi_wake *w = tbi_calloc(a, 1, sizeof *w);

    *wake = NULL;
    if (w == NULL) {
        return TBQ_ERR_NOMEM;
    }
    w->alloc = a;
    w->read_fd = w->write_fd = -1;
    int rv = open_descriptors(w);
    if (rv == 0 && pthread_mutex_init(&w->mutex, NULL) != 0) {
        rv = TBQ_ERR_NOMEM;
    }
    if (rv < 0) {
        close_descriptors(w);
        tbi_free(a, w);
        return rv;
    }
    *wake = w;
    return 0;
}

void tbi_wake_free(struct tbi_wake *w)
{
    if (w == NULL) {
        return;
    }
    close_descriptors(w);
    pthread_mutex_destroy(&w->mutex);
    tbi_free(w->alloc, w);
}

int tbi_wake_fd(const struct tbi_wake *w)
{
    return w->read_fd;
}

/* A full pipe or counter wakes as well as one more byte would. */
static void signal_reader(const struct tbi_wake *w)
{
    uint64_t one = 1;
    ssize_t n;
    do {
        n = write(w->write_fd, &one, sizeof one);
    } while (n < 0 && errno == EINTR);
}

static void drain(const struct tbi_wake *w)
{
    uint64_t sink[64];
    ssize_t n;
    do {
        n = read(w->read_fd, sink, sizeof sink);
    } while ((n < 0 && errno == EINTR) || n == (ssize_t)sizeof sink);
}

int tbi_wake_post(struct tbi_wake *w, void (*fn)(void *arg), void *arg)
{
    int rv = 0;

    pthread_mutex_lock(&w->mutex);
    if (w->closed) {
        rv = TBQ_ERR_CLOSED;
    } else if (w->count == TBI_POSTS_MAX) {
        rv = TBQ_ERR_AGAIN;
    } else {
        struct post *p = &w->posts[(w->first + w->count) % TBI_POSTS_MAX];
        p->fn = fn;
        p->arg = arg;
        w->count++;
        if (w->count == 1 && !w->held) {
            /* Under the mutex: once it is released, the reader may free all this. */
            signal_reader(w);
        }
    }
    pthread_mutex_unlock(&w->mutex);
    return rv;
}

size_t tbi_wake_run(struct tbi_wake *w)
{
    pthread_mutex_lock(&w->mutex);
    size_t todo = w->count;
    pthread_mutex_unlock(&w->mutex);

    for (size_t i = 0; i < todo; i++) {
        pthread_mutex_lock(&w->mutex);
        struct post p = w->posts[w->first];
        w->first = (w->first + 1) % TBI_POSTS_MAX;
        w->count--;
        if (w->count == 0 && !w->held) {
            drain(w); /* the next post finds the queue empty and signals anew */
        }
        pthread_mutex_unlock(&w->mutex);
        p.fn(p.arg);
    }
    return todo;
}

void tbi_wake_hold(struct tbi_wake *w, bool on)
{
    pthread_mutex_lock(&w->mutex);
    bool changes = w->held != on && w->count == 0;
    w->held = on;
    if (changes && on) {
        signal_reader(w);
    } else if (changes) {
        drain(w);
    }
    pthread_mutex_unlock(&w->mutex);
}

void tbi_wake_close(struct tbi_wake *w)
{
    pthread_mutex_lock(&w->mutex);
    w->closed = true;
    pthread_mutex_unlock(&w->mutex);
}
