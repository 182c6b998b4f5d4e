# The server layer: its .c and .h files.
noinst_LTLIBRARIES += lib/server/libtbi_server.la
lib_server_libtbi_server_la_SOURCES = \
	lib/server/body.c \
	lib/server/book.c \
	lib/server/config.c lib/server/config.h \
	lib/server/drive.c \
	lib/server/identity.c \
	lib/server/network.c \
	lib/server/p2p.c \
	lib/server/parts.h \
	lib/server/peer.c \
	lib/server/select.c \
	lib/server/server.c \
	lib/server/tickets.c \
	lib/server/trust.c
