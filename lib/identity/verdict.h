/* identity/verdict.h - the answer to "may this peer speak?", as the peer and the log get it. */
#ifndef TBI_IDENTITY_VERDICT_H
#define TBI_IDENTITY_VERDICT_H

#include "wire/wire.h"

struct tbi_verdict {
    uint64_t close_code; /* TBI_CLOSE_NONE: accepted; else what to close the connection with */
    char text[TBI_ERROR_TEXT_MAX + 1]; /* for people; empty when accepted */
    bool first_use;                    /* accepted, and to be remembered: this address, that key */
};

#endif
