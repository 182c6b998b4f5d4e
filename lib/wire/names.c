/* wire/names.c - the texts of close and decline codes, from the same lists as the numbers. */
#include "wire/wire.h"

const char *tbi_close_text(uint64_t code)
{
    switch (code) {
#define CLOSE_TEXT(name, number, text)                                                             \
    case number:                                                                                   \
        return text;
        TBI_CLOSE_MAP(CLOSE_TEXT)
#undef CLOSE_TEXT
    default:
        return "unknown close code";
    }
}

const char *tbi_decline_text(uint64_t code)
{
    switch (code) {
#define DECLINE_TEXT(name, number, text)                                                           \
    case number:                                                                                   \
        return text;
        TBI_DECLINE_MAP(DECLINE_TEXT)
#undef DECLINE_TEXT
    default:
        return "unknown reason";
    }
}
