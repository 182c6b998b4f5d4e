/* tests/vectors/vectors.c - reads the golden files. */
#include "vectors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static _Noreturn void bail(const char *family, const char *what)
{
    printf("Bail out! %s.txt: %s\n", family, what);
    exit(99);
}

static int digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

size_t vectors_hex(const char *text, size_t length, uint8_t *to, size_t capacity)
{
    if (length == 1 && text[0] == '-') {
        return 0;
    }
    if (length % 2 != 0 || length / 2 > capacity) {
        return SIZE_MAX;
    }
    for (size_t i = 0; i < length; i += 2) {
        int high = digit(text[i]);
        int low = digit(text[i + 1]);
        if (high < 0 || low < 0) {
            return SIZE_MAX;
        }
        to[i / 2] = (uint8_t)(high << 4 | low);
    }
    return length / 2;
}

/* Splits "name | fields | hex" in place. */
static void parse(struct vector *v, char *line, const char *family)
{
    char *fields = strstr(line, " | ");
    char *hex = fields != NULL ? strstr(fields + 3, " | ") : NULL;
    char *space;
    size_t length;

    if (hex == NULL) {
        bail(family, line);
    }
    *fields = *hex = '\0';
    fields += 3;
    hex += 3;
    length = strlen(hex);
    v->raw = malloc(length / 2 + 1);
    v->size = v->raw != NULL ? vectors_hex(hex, length, v->raw, length / 2) : SIZE_MAX;
    if (v->size == SIZE_MAX) {
        bail(family, line);
    }
    v->error = NULL;
    v->lenient = strncmp(fields, "lenient ", 8) == 0;
    if (v->lenient) {
        fields += 8;
    } else if (strncmp(fields, "error=", 6) == 0) {
        v->error = fields + 6;
        space = strchr(v->error, ' ');
        fields = space != NULL ? space + 1 : v->error + strlen(v->error);
        if (space != NULL) {
            *space = '\0';
        }
    }
    v->name = line; /* the owner of the memory that the texts stand in */
    v->fields = fields;
}

void vectors_load(struct vectors *v, const char *folder, const char *family)
{
    char path[4096];
    char *line = NULL;
    size_t capacity = 0;
    ssize_t length;
    FILE *file;

    *v = (struct vectors){0};
    if ((size_t)snprintf(path, sizeof path, "%s/%s.txt", folder, family) >= sizeof path) {
        bail(family, "the path is too long");
    }
    file = fopen(path, "r");
    if (file == NULL) {
        bail(family, "cannot be opened");
    }
    while ((length = getline(&line, &capacity, file)) > 0) {
        struct vector *grown;
        if (line[length - 1] == '\n') {
            line[length - 1] = '\0';
        }
        if (line[0] == '#' || line[0] == '\0') {
            continue;
        }
        grown = realloc(v->at, (v->len + 1) * sizeof *v->at);
        if (grown == NULL) {
            bail(family, "out of memory");
        }
        v->at = grown;
        parse(&v->at[v->len], line, family);
        if (vectors_find(v, line) != NULL) {
            bail(family, "a name comes twice");
        }
        v->len++;
        line = NULL;
        capacity = 0;
    }
    free(line);
    fclose(file);
    if (v->len == 0) {
        bail(family, "holds nothing");
    }
}

void vectors_free(struct vectors *v)
{
    for (size_t i = 0; i < v->len; i++) {
        free(v->at[i].name);
        free(v->at[i].raw);
    }
    free(v->at);
    *v = (struct vectors){0};
}

const struct vector *vectors_find(const struct vectors *v, const char *name)
{
    for (size_t i = 0; i < v->len; i++) {
        if (strcmp(v->at[i].name, name) == 0) {
            return &v->at[i];
        }
    }
    return NULL;
}

bool vector_get(const struct vector *v, const char *key, char *to, size_t size)
{
    size_t key_size = strlen(key);

    for (const char *at = v->fields; *at != '\0';) {
        size_t length = strcspn(at, " ");
        if (length > key_size && strncmp(at, key, key_size) == 0 && at[key_size] == '=') {
            length -= key_size + 1;
            if (length >= size) {
                return false;
            }
            memcpy(to, at + key_size + 1, length);
            to[length] = '\0';
            return true;
        }
        at += length;
        at += *at == ' ';
    }
    return false;
}
