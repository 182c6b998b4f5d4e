# The identity layer: its .c and .h files.
noinst_LTLIBRARIES += lib/identity/libtbi_identity.la
lib_identity_libtbi_identity_la_SOURCES = \
	lib/identity/identity.h \
	lib/identity/trust.h \
	lib/identity/verdict.h
