/* node/close.c - what the close code of a connection means for who dialled it, and for who asks. */
#include "node/parts.h"

/* The same would happen again: dialling on is of no use. */
bool tbi_close_is_final(uint64_t code)
{
    switch (code) {
    case TBI_CLOSE_NONE:
    case TBI_CLOSE_VERSION:
    case TBI_CLOSE_NO_CERTIFICATE:
    case TBI_CLOSE_KEY_TYPE:
    case TBI_CLOSE_CERTIFICATE:
    case TBI_CLOSE_PIN:
    case TBI_CLOSE_DENIED:
    case TBI_CLOSE_NOT_ALLOWED:
    case TBI_CLOSE_REPLACED:
    case TBI_CLOSE_SELF:
    case TBI_CLOSE_MODE:
        return true;
    default:
        return false;
    }
}

int tbi_close_reason(uint64_t code)
{
    switch (code) {
    case TBI_CLOSE_NONE:
    case TBI_CLOSE_RESTING:
        return TBQ_ERR_CLOSED;
    case TBI_CLOSE_STOPPED:
        return TBQ_ERR_STOPPED;
    case TBI_CLOSE_LIMIT:
    case TBI_CLOSE_BUSY:
        return TBQ_ERR_LIMIT;
    case TBI_CLOSE_VERSION:
        return TBQ_ERR_UNSUPPORTED;
    case TBI_CLOSE_NO_CERTIFICATE:
    case TBI_CLOSE_KEY_TYPE:
    case TBI_CLOSE_CERTIFICATE:
    case TBI_CLOSE_PIN:
        return TBQ_ERR_IDENTITY;
    case TBI_CLOSE_DENIED:
    case TBI_CLOSE_NOT_ALLOWED:
        return TBQ_ERR_TRUST;
    case TBI_CLOSE_REPLACED:
        return TBQ_ERR_EXISTS;
    case TBI_CLOSE_SELF:
        return TBQ_ERR_SELF;
    case TBI_CLOSE_TIMEOUT:
        return TBQ_ERR_TIMEOUT;
    case TBI_CLOSE_MODE:
        return TBQ_ERR_MODE;
    case TBI_CLOSE_INTERNAL:
        return TBQ_ERR_INTERNAL;
    default:
        return TBQ_ERR_PROTOCOL;
    }
}
