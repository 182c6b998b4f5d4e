/* tbquic/identity.h - keys and peer ids without a running server (tbq keygen, tbq id). */
#ifndef TBQUIC_IDENTITY_H
#define TBQUIC_IDENTITY_H

#include <tbquic/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Makes `dir` (0700) where it is missing, and in it a new node.key (0600) and node.crt. Never
 * overwrites: TBQ_ERR_EXISTS. On failure `text` says what and where. */
TBQ_API int tbq_identity_create(const char *dir, tbq_peer_id *id, char *text, size_t text_size);

/* Reads a key file (PEM). TBQ_ERR_FILE or TBQ_ERR_IDENTITY, and `text` says why. */
TBQ_API int tbq_identity_read(const char *key_path, tbq_peer_id *id, char *text, size_t text_size);

/* $STATE_DIRECTORY, $XDG_STATE_HOME/tbquic or ~/.local/state/tbquic, into `path`.
 * TBQ_ERR_FILE when none is set, TBQ_ERR_TOO_LARGE. */
TBQ_API int tbq_state_dir(char *path, size_t size);

#ifdef __cplusplus
}
#endif
#endif
