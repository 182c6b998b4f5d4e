/* base/log.h - log lines go to one sink; nothing below the cli writes anywhere by itself. */
#ifndef TBI_BASE_LOG_H
#define TBI_BASE_LOG_H

#include <stdarg.h>

#include <tbquic/types.h>

#define TBI_LOG_LINE_MAX 512 /* bytes with the NUL; longer lines are cut, with "..." at the end */

struct tbi_log {
    tbq_log_level level; /* lines above it are not even formatted */
    void (*write)(void *user, tbq_log_level level, const char *line); /* NULL: nowhere */
    void *user;
};

void tbi_log(const struct tbi_log *log, tbq_log_level level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* snprintf that always ends the text, with "..." where it was cut; NULL or size 0 is fine.
 * For the embedder's error text. */
void tbi_text(char *to, size_t size, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* Peers have a say in some texts (close reasons, names), and texts go to terminals and to files
 * with a line each: control characters become '?'. tbi_log() does so by itself. */
void tbi_text_tame(char *text);

#endif
