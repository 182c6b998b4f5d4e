# The base layer: its .c and .h files.
noinst_LTLIBRARIES += lib/base/libtbi_base.la
lib_base_libtbi_base_la_SOURCES =
