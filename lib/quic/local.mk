# The quic layer: its .c and .h files.
noinst_LTLIBRARIES += lib/quic/libtbi_quic.la
lib_quic_libtbi_quic_la_SOURCES = \
	lib/quic/account.c \
	lib/quic/callbacks.c \
	lib/quic/cert.c \
	lib/quic/conn.c \
	lib/quic/crowd.c \
	lib/quic/datagram.c \
	lib/quic/early.c \
	lib/quic/endpoint.c \
	lib/quic/error.c \
	lib/quic/migrate.c \
	lib/quic/parts.h \
	lib/quic/quic.h \
	lib/quic/replay.c \
	lib/quic/route.c \
	lib/quic/loss.c \
	lib/quic/shed.c \
	lib/quic/silence.c \
	lib/quic/stateless.c \
	lib/quic/stream.c \
	lib/quic/streams.c \
	lib/quic/tls.c \
	lib/quic/token.c \
	lib/quic/window.c
