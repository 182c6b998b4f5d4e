/* tbquic/error.h - what a call can answer.
 *
 * Every function that can fail returns 0 (or a count) on success and one of these negative
 * numbers otherwise. The numbers are stable: new ones are added, none is reused.
 */
#ifndef TBQUIC_ERROR_H
#define TBQUIC_ERROR_H

#include <tbquic/export.h>

#ifdef __cplusplus
extern "C" {
#endif

/* X(NAME, number, text): the text is what tbq_strerror() returns. */
#define TBQ_ERROR_MAP(X)                                                                           \
    X(NOMEM, -1, "out of memory")                                                                  \
    X(INVALID, -2, "an argument or a field of the configuration is not valid")                     \
    X(AGAIN, -3, "the queue is full for now; a WRITABLE event says when to go on")                 \
    X(CLOSED, -4, "the server, peer or connection is closed")                                      \
    X(BUSY, -5, "the call is not allowed from inside a callback")                                  \
    X(MODE, -6, "the network mode does not allow this")                                            \
    X(TOO_LARGE, -7, "the message is larger than allowed")                                         \
    X(NO_ROUTE, -8, "no connection to that peer and no address to dial")                           \
    X(TIMEOUT, -9, "the time allowed for it has passed")                                           \
    X(IDENTITY, -10, "the key, certificate or peer id is not the expected one")                    \
    X(TRUST, -11, "refused by the trust policy")                                                   \
    X(PROTOCOL, -12, "the peer broke the protocol")                                                \
    X(LIMIT, -13, "a limit was reached")                                                           \
    X(NAME, -14, "the name could not be resolved")                                                 \
    X(ADDRESS, -15, "the address is not valid or cannot be used")                                  \
    X(FILE, -16, "a file could not be read or written")                                            \
    X(IO, -17, "the operating system reported an error on a socket")                               \
    X(TLS, -18, "the TLS library reported an error")                                               \
    X(EXPIRED, -19, "the time to live has passed")                                                 \
    X(REFUSED, -20, "the peer refused it")                                                         \
    X(RESTARTED, -21, "the peer restarted")                                                        \
    X(UNSUPPORTED, -22, "this build or this peer cannot do that")                                  \
    X(EXISTS, -23, "it exists already")                                                            \
    X(STOPPED, -24, "the server was stopped first")                                                \
    X(LOST, -25, "the connection was lost")                                                        \
    X(SELF, -26, "the address leads to this node itself")                                          \
    X(MALFORMED, -27, "the bytes are not of the documented form")                                  \
    X(INTERNAL, -28, "a fault of libtbquic itself; please report it")

enum tbq_error {
    TBQ_OK = 0,
#define TBQ_ERROR_ENUM(name, number, text) TBQ_ERR_##name = number,
    TBQ_ERROR_MAP(TBQ_ERROR_ENUM)
#undef TBQ_ERROR_ENUM
};

/* The sentence for an error number; never NULL, static memory. Not a TBQ_ERR_*: "unknown error". */
TBQ_API const char *tbq_strerror(int error);

/* The short name, such as "TBQ_ERR_AGAIN", for logs and JSON; never NULL, static memory. */
TBQ_API const char *tbq_error_name(int error);

#ifdef __cplusplus
}
#endif
#endif
