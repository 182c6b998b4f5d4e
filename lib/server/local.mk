# The server layer: its .c and .h files.
noinst_LTLIBRARIES += lib/server/libtbi_server.la
lib_server_libtbi_server_la_SOURCES =
