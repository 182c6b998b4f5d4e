/* tests/unit/shrink.c - see shrink.h. */
#include "shrink.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define FILES 64

bool shrink_fails(void (*run)(void *arg, const bool *skip), void *arg, const bool *skip)
{
    int status = 0;

    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        /* Check's own messages too: what is found wrong here is nobody's but ours. */
        for (int fd = STDERR_FILENO + 1; fd < FILES; fd++) {
            close(fd);
        }
        run(arg, skip);
        fflush(NULL);
        _exit(0);
    }
    return child < 0 || waitpid(child, &status, 0) != child || status != 0;
}

size_t shrink(void (*run)(void *arg, const bool *skip), void *arg, bool *skip, size_t steps)
{
    size_t left = 0;

    for (size_t size = (steps + 1) / 2; size > 0; size /= 2) {
        for (size_t from = 0; from < steps; from += size) {
            bool before[SHRINK_STEPS_MAX];
            size_t n = size < steps - from ? size : steps - from;
            memcpy(before, skip + from, n);
            memset(skip + from, true, n);
            if (memchr(before, false, n) != NULL && !shrink_fails(run, arg, skip)) {
                memcpy(skip + from, before, n);
            }
        }
    }
    for (size_t i = 0; i < steps; i++) {
        left += !skip[i];
    }
    return left;
}
