/* wire/kind_name.c - the names of the kinds and the shorthands of tbquic/message.h. */
#include <tbquic/message.h>

const char *tbq_kind_name(int kind)
{
    static const char *const names[] = {
        [TBQ_PING] = "ping",
        [TBQ_PONG] = "pong",
        [TBQ_DISCOVER] = "discover",
        [TBQ_ANNOUNCE] = "announce",
        [TBQ_PEER_LIST] = "peer_list",
        [TBQ_TRANSITION] = "transition",
        [TBQ_RESOURCE_REQUEST] = "resource_request",
        [TBQ_RESOURCE_RESPONSE] = "resource_response",
        [TBQ_ERROR] = "error",
        [TBQ_BODY] = "body",
    };

    if (kind < TBQ_PING || kind > TBQ_BODY) {
        return "unknown";
    }
    return names[kind];
}

tbq_message tbq_ping(void)
{
    return (tbq_message){.kind = TBQ_PING};
}

tbq_message tbq_transition(const void *data, size_t size)
{
    return (tbq_message){.kind = TBQ_TRANSITION, .u.transition = {.data = data, .size = size}};
}
