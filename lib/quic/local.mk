# The quic layer: its .c and .h files.
noinst_LTLIBRARIES += lib/quic/libtbi_quic.la
lib_quic_libtbi_quic_la_SOURCES =
