/* tests/fuzz/standalone.c - a main() for a fuzz target where there is no libFuzzer.
 *
 *     fuzz_NAME [--mutations N] [--seed N] FOLDER-OR-FILE...
 *
 * Runs the target over every file, then over N bytes-changed copies of them that depend on the
 * seed alone. It proves that the corpus still passes and looks a little beyond it; finding new
 * inputs is libFuzzer's work (configure --enable-fuzzers). A crash is the target's own; the input
 * that it had is left in the file `crash-input`. TAP on standard output. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MUTATIONS_DEFAULT 2000
#define CHANGES_MAX 8            /* in one mutation */
#define GROWTH_MAX 64            /* bytes, by which a mutation may grow */
#define SIZE_MAX_INPUT (1 << 20) /* bytes; a larger file is not a corpus but a mistake */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
    uint8_t *data;
    size_t size;
    char *path;
};

static struct input *corpus;
static size_t corpus_len;

/* What the target has now, for crash-input. */
static const uint8_t *current;
static size_t current_size;

static void fail(const char *what, const char *path)
{
    printf("Bail out! %s %s: %s\n", what, path, strerror(errno));
    exit(1);
}

static void *grown(void *ptr, size_t size)
{
    void *more = realloc(ptr, size);

    if (more == NULL) {
        fail("memory for", "the corpus");
    }
    return more;
}

/* Called when the process is about to die of a signal: only what is safe there. */
static void leave_input(int sig)
{
    int fd = open("crash-input", O_WRONLY | O_CREAT | O_TRUNC, 0644);
    ssize_t n;

    (void)sig;
    if (fd >= 0) {
        n = write(fd, current, current_size);
        (void)n;
        close(fd);
    }
}

static void run(const uint8_t *data, size_t size)
{
    /* A block of exactly that size, so that a sanitizer or valgrind sees a read past it. */
    uint8_t *exact = grown(NULL, size > 0 ? size : 1);

    if (size > 0) {
        memcpy(exact, data, size);
    }
    current = exact;
    current_size = size;
    LLVMFuzzerTestOneInput(exact, size);
    current_size = 0;
    free(exact);
}

static void load_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    struct input in = {0};
    size_t n;

    if (file == NULL) {
        fail("cannot open", path);
    }
    in.path = strdup(path);
    in.data = grown(NULL, SIZE_MAX_INPUT);
    while ((n = fread(in.data + in.size, 1, SIZE_MAX_INPUT - in.size, file)) > 0) {
        in.size += n;
    }
    if (ferror(file)) {
        fail("cannot read", path);
    }
    fclose(file);
    in.data = grown(in.data, in.size > 0 ? in.size : 1);
    corpus = grown(corpus, (corpus_len + 1) * sizeof *corpus);
    corpus[corpus_len++] = in;
}

static void load(const char *path)
{
    struct dirent **names;
    struct stat st;
    char *child;
    int count;

    if (stat(path, &st) != 0) {
        fail("no such", path);
    }
    if (!S_ISDIR(st.st_mode)) {
        load_file(path);
        return;
    }
    /* Sorted: the order decides which mutations a seed makes. */
    count = scandir(path, &names, NULL, alphasort);
    if (count < 0) {
        fail("cannot list", path);
    }
    for (int i = 0; i < count; i++) {
        if (names[i]->d_name[0] != '.') {
            if (asprintf(&child, "%s/%s", path, names[i]->d_name) < 0) {
                fail("memory for", path);
            }
            load(child);
            free(child);
        }
        free(names[i]);
    }
    free(names);
}

/* SplitMix64: small, and the same everywhere. */
static uint64_t random_state;
static uint64_t random_next(void)
{
    uint64_t z = (random_state += 0x9e3779b97f4a7c15);

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}

static size_t random_below(size_t limit)
{
    return limit > 0 ? (size_t)(random_next() % limit) : 0;
}

static size_t change(uint8_t *data, size_t size, size_t capacity)
{
    static const uint8_t telling[] = {0x00, 0x01, 0x3f, 0x40, 0x7f, 0x80, 0xbf, 0xc0, 0xff};
    const struct input *other = &corpus[random_below(corpus_len)];
    size_t at = random_below(size);
    size_t n;

    switch (random_below(6)) {
    case 0: /* one bit */
        if (size > 0) {
            data[at] ^= (uint8_t)(1u << random_below(8));
        }
        break;
    case 1: /* a byte that means something to a varint or a length */
        if (size > 0) {
            data[at] = telling[random_below(sizeof telling)];
        }
        break;
    case 2: /* any byte */
        if (size > 0) {
            data[at] = (uint8_t)random_next();
        }
        break;
    case 3: /* cut short */
        size = at;
        break;
    case 4: /* a byte in between */
        if (size < capacity) {
            memmove(data + at + 1, data + at, size - at);
            data[at] = (uint8_t)random_next();
            size++;
        }
        break;
    default: /* a piece of another input over it */
        n = random_below(other->size);
        if (n > 0 && size > at) {
            size_t from = random_below(other->size - n);
            memcpy(data + at, other->data + from, n < size - at ? n : size - at);
        }
        break;
    }
    return size;
}

static void mutate_and_run(void)
{
    const struct input *in = &corpus[random_below(corpus_len)];
    size_t capacity = in->size + GROWTH_MAX;
    uint8_t *data = grown(NULL, capacity);
    size_t size = in->size;

    memcpy(data, in->data, size);
    for (size_t n = 1 + random_below(CHANGES_MAX); n > 0; n--) {
        size = change(data, size, capacity);
    }
    run(data, size);
    free(data);
}

int main(int argc, char **argv)
{
    uint64_t mutations = MUTATIONS_DEFAULT;
    uint64_t seed = 1;

    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--mutations") == 0 && i + 1 < argc) {
            mutations = strtoull(argv[++i], NULL, 10);
        } else if (strcmp(argv[i], "--seed") == 0 && i + 1 < argc) {
            seed = strtoull(argv[++i], NULL, 10);
        } else {
            load(argv[i]);
        }
    }
    printf("1..2\n");
    if (corpus_len == 0) {
        printf("not ok 1 - the corpus is empty\n");
        return 1;
    }
    /* What abort() and a bad access raise; a sanitizer has its own handlers and reports. */
    if (getenv("TBQ_KEEP_SIGNALS") == NULL) {
        struct sigaction act = {.sa_handler = leave_input, .sa_flags = (int)SA_RESETHAND};
        sigaction(SIGABRT, &act, NULL);
        sigaction(SIGSEGV, &act, NULL);
    }
    for (size_t i = 0; i < corpus_len; i++) {
        fprintf(stderr, "# %s\n", corpus[i].path);
        run(corpus[i].data, corpus[i].size);
    }
    printf("ok 1 - the %zu files of the corpus\n", corpus_len);
    fflush(stdout);
    fprintf(stderr, "# mutations, seed %" PRIu64 "\n", seed);
    random_state = seed;
    for (uint64_t i = 0; i < mutations; i++) {
        mutate_and_run();
    }
    printf("ok 2 - %" PRIu64 " mutations of it, seed %" PRIu64 "\n", mutations, seed);
    for (size_t i = 0; i < corpus_len; i++) {
        free(corpus[i].data);
        free(corpus[i].path);
    }
    free(corpus);
    return 0;
}
