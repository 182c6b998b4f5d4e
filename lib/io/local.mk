# The io layer: its .c and .h files.
noinst_LTLIBRARIES += lib/io/libtbi_io.la
lib_io_libtbi_io_la_SOURCES =
