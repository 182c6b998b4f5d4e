/* server/config.h - the public configuration, checked and copied. */
#ifndef TBI_SERVER_CONFIG_H
#define TBI_SERVER_CONFIG_H

#include <tbquic/config.h>

#include "base/addr.h"
#include "base/alloc.h"

#define TBI_BOOTSTRAP_MAX 64
#define TBI_ADVERTISE_MAX 16

/* A whole tbq_config with the defaults filled in, however old the caller's struct is. */
struct tbi_settings {
    tbq_config c; /* its pointers are the caller's until tbi_settings_keep() */
    bool kept;
    struct tbi_addr bind;
    struct tbi_target bootstrap[TBI_BOOTSTRAP_MAX];
    size_t bootstrap_len;
    struct tbi_target advertise[TBI_ADVERTISE_MAX];
    size_t advertise_len;
    bool buffer_wished; /* socket_buffer was given */
};

/* Once the server is started: what it goes on using is copied, the rest of the caller's pointers is
 * forgotten. 0 or TBQ_ERR_NOMEM. */
int tbi_settings_keep(struct tbi_settings *s, const struct tbi_alloc *a);
void tbi_settings_free(struct tbi_settings *s, const struct tbi_alloc *a); /* what was kept */

/* 0 or TBQ_ERR_INVALID; then config->error_text names the field, its value and what is allowed. */
int tbi_settings_read(struct tbi_settings *s, const tbq_config *config);

/* What peers are told, role and capabilities; again when an actor has changed them. The same. */
int tbi_settings_told(const struct tbi_settings *s);

#endif
