/* base/error.c - the texts and names of TBQ_ERROR_MAP. */
#include <tbquic/error.h>
#include <tbquic/types.h>

const char *tbq_strerror(int error)
{
    switch (error) {
    case TBQ_OK:
        return "success";
#define TEXT(name, number, text)                                                                   \
    case TBQ_ERR_##name:                                                                           \
        return text;
        TBQ_ERROR_MAP(TEXT)
#undef TEXT
    default:
        return "unknown error";
    }
}

const char *tbq_error_name(int error)
{
    switch (error) {
    case TBQ_OK:
        return "TBQ_OK";
#define NAME(name, number, text)                                                                   \
    case TBQ_ERR_##name:                                                                           \
        return "TBQ_ERR_" #name;
        TBQ_ERROR_MAP(NAME)
#undef NAME
    default:
        return "TBQ_ERR_UNKNOWN";
    }
}

const char *tbq_version(void)
{
    return TBQ_VERSION_TEXT;
}
