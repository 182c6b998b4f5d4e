# The link layer: its .c and .h files.
noinst_LTLIBRARIES += lib/link/libtbi_link.la
lib_link_libtbi_link_la_SOURCES =
