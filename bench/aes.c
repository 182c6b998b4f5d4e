/* bench/aes.c - how fast AES-128-GCM alone is: what GnuTLS encrypts on one core, packet by packet.
 *
 * usage: aes SECONDS
 *
 * Pieces of 1,400 bytes, each with a nonce of its own and the head of a packet as associated data,
 * go round in a buffer of 64 KiB, as much as one write of packets has. Prints one JSON object. */
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "side.h"

#define PIECE 1400
#define TAG 16
#define SEALED ((size_t)PIECE + TAG)
#define HEAD 20
#define BUFFER ((size_t)64 * 1024)
#define BATCH 1000 /* pieces between two looks at the clock */

int main(int argc, char **argv)
{
    static uint8_t plain[BUFFER], out[BUFFER];
    static uint8_t secret[16], nonce[12], head[HEAD];
    gnutls_datum_t key = {secret, sizeof secret};
    gnutls_aead_cipher_hd_t aead;
    double seconds = argc == 2 ? strtod(argv[1], NULL) : 0;
    if (seconds <= 0 || seconds > 3600) {
        side_cannot("usage: aes SECONDS");
    }
    if (gnutls_aead_cipher_init(&aead, GNUTLS_CIPHER_AES_128_GCM, &key) != 0) {
        side_die("GnuTLS has no AES-128-GCM");
    }
    side_fill(plain, sizeof plain, 0, 0);
    uint64_t pieces = 0, at = 0, began = side_now_ns(), cpu = side_cpu_ns();
    do {
        for (int i = 0; i < BATCH; i++, pieces++) {
            size_t len = SEALED;
            memcpy(nonce, &pieces, sizeof pieces);
            at = at + 2 * SEALED > BUFFER ? 0 : at + SEALED;
            if (gnutls_aead_cipher_encrypt(aead, nonce, sizeof nonce, head, HEAD, TAG, plain + at,
                                           PIECE, out + at, &len) != 0) {
                side_die("it does not encrypt");
            }
        }
    } while ((double)(side_now_ns() - began) < seconds * (double)SIDE_SECOND);
    printf("{\"event\":\"result\",\"mode\":\"aes\",\"size\":%d,\"bytes\":%" PRIu64
           ",\"ns\":%" PRIu64 ",\"cpu_ns\":%" PRIu64 "}\n",
           PIECE, pieces * PIECE, side_now_ns() - began, side_cpu_ns() - cpu);
    gnutls_aead_cipher_deinit(aead);
    return 0;
}
