# The identity layer: its .c and .h files.
noinst_LTLIBRARIES += lib/identity/libtbi_identity.la
lib_identity_libtbi_identity_la_SOURCES = \
	lib/identity/crypto.c \
	lib/identity/identity.c lib/identity/identity.h \
	lib/identity/parts.h \
	lib/identity/peer_key.c \
	lib/identity/pem.c \
	lib/identity/trust_ca.c \
	lib/identity/trust_known.c \
	lib/identity/trust_parts.h \
	lib/identity/trust.c lib/identity/trust.h \
	lib/identity/verdict.h
