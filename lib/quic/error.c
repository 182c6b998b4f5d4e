/* quic/error.c - why a connection ended, in words. */
#include <string.h>

#include "quic/parts.h"

#define ALERT_NO_APPLICATION_PROTOCOL 120 /* RFC 7301 */

static const char *transport_text(uint64_t code)
{
    switch (code) {
    case NGTCP2_NO_ERROR:
        return "closed without an error";
    case NGTCP2_INTERNAL_ERROR:
        return "internal error";
    case NGTCP2_CONNECTION_REFUSED:
        return "connection refused: the server takes no more now";
    case NGTCP2_FLOW_CONTROL_ERROR:
        return "flow control error";
    case NGTCP2_STREAM_LIMIT_ERROR:
        return "stream limit error";
    case NGTCP2_STREAM_STATE_ERROR:
        return "stream state error";
    case NGTCP2_FINAL_SIZE_ERROR:
        return "final size error";
    case NGTCP2_FRAME_ENCODING_ERROR:
        return "frame encoding error";
    case NGTCP2_TRANSPORT_PARAMETER_ERROR:
        return "transport parameter error";
    case NGTCP2_CONNECTION_ID_LIMIT_ERROR:
        return "connection id limit error";
    case NGTCP2_PROTOCOL_VIOLATION:
        return "protocol violation";
    case NGTCP2_INVALID_TOKEN:
        return "invalid token";
    case NGTCP2_APPLICATION_ERROR:
        return "application error before the handshake was complete";
    case NGTCP2_CRYPTO_BUFFER_EXCEEDED:
        return "crypto buffer exceeded";
    case NGTCP2_KEY_UPDATE_ERROR:
        return "key update error";
    case NGTCP2_AEAD_LIMIT_REACHED:
        return "the keys were used up";
    case NGTCP2_NO_VIABLE_PATH:
        return "no viable path";
    default:
        return "transport error";
    }
}

/* Returns the TBQ_ERR_* that fits. */
int tbi_ccerr_text(const ngtcp2_ccerr *e, bool remote, char *text, size_t size)
{
    const char *by = remote ? "the peer" : "this side";

    if (e->error_code >= NGTCP2_CRYPTO_ERROR && e->error_code < NGTCP2_CRYPTO_ERROR + 0x100) {
        unsigned alert = (unsigned)(e->error_code - NGTCP2_CRYPTO_ERROR);
        const char *name = gnutls_alert_get_name((gnutls_alert_description_t)alert);
        if (alert == ALERT_NO_APPLICATION_PROTOCOL) {
            tbi_text(text, size, "no application protocol in common: %s refused (TLS alert 120)",
                     by);
        } else {
            tbi_text(text, size, "%s refused the TLS handshake: %s (alert %u)", by,
                     name != NULL ? name : "unknown alert", alert);
        }
        return TBQ_ERR_TLS;
    }
    if (remote && e->reasonlen > 0) {
        tbi_text(text, size, "%s (%.*s)", transport_text(e->error_code), (int)e->reasonlen,
                 (const char *)e->reason);
    } else {
        tbi_text(text, size, "%s, by %s", transport_text(e->error_code), by);
    }
    return e->error_code == NGTCP2_CONNECTION_REFUSED ? TBQ_ERR_LIMIT
           : e->error_code == NGTCP2_NO_ERROR         ? TBQ_ERR_LOST
                                                      : TBQ_ERR_PROTOCOL;
}
