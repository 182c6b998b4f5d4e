/* tests/vectors/vectors.h - reads the golden files; README.md beside it describes them. */
#ifndef TBI_TESTS_VECTORS_H
#define TBI_TESTS_VECTORS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct vector {
    char *name;
    char *fields; /* without the marker */
    char *error;  /* NAME of "error=NAME", or NULL */
    bool lenient;
    uint8_t *raw; /* not NULL, also for no bytes */
    size_t size;
};

struct vectors {
    struct vector *at;
    size_t len;
};

/* Reads FOLDER/FAMILY.txt. Any fault in it ends the program with a "Bail out!" line: half a set of
 * vectors proves nothing. */
void vectors_load(struct vectors *v, const char *folder, const char *family);
void vectors_free(struct vectors *v);

/* The line of that name, or NULL. */
const struct vector *vectors_find(const struct vectors *v, const char *name);

/* Copies the value of `key` from the fields; false when there is none, or no room for it. */
bool vector_get(const struct vector *v, const char *key, char *to, size_t size);

/* "-" or hex to bytes; returns how many, or SIZE_MAX (not hex, more than `capacity`). */
size_t vectors_hex(const char *text, size_t length, uint8_t *to, size_t capacity);

#endif
