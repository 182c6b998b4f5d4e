/* base/log.c - see log.h. */
#include "base/log.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static void format_line(char *to, size_t size, const char *format, va_list args)
{
    int n = vsnprintf(to, size, format, args);
    if (n < 0) {
        to[0] = '\0';
    } else if ((size_t)n >= size && size > 4) {
        memcpy(to + size - 4, "...", 4);
    }
}

void tbi_text_tame(char *text)
{
    for (unsigned char *at = (unsigned char *)text; *at != '\0'; at++) {
        bool c1 = at[0] == 0xc2 && at[1] >= 0x80 && at[1] < 0xa0; /* U+0080 to U+009F in UTF-8 */
        if (*at < 0x20 || *at == 0x7f) {
            *at = '?';
        } else if (c1) {
            at[0] = at[1] = '?';
        }
    }
}

void tbi_log(const struct tbi_log *log, tbq_log_level level, const char *format, ...)
{
    char line[TBI_LOG_LINE_MAX];
    va_list args;

    if (log == NULL || log->write == NULL || level > log->level) {
        return;
    }
    va_start(args, format);
    format_line(line, sizeof line, format, args);
    va_end(args);
    tbi_text_tame(line);
    log->write(log->user, level, line);
}

void tbi_text(char *to, size_t size, const char *format, ...)
{
    va_list args;

    if (to == NULL || size == 0) {
        return;
    }
    va_start(args, format);
    format_line(to, size, format, args);
    va_end(args);
}
