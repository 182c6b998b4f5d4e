# The node layer: its .c and .h files.
noinst_LTLIBRARIES += lib/node/libtbi_node.la
lib_node_libtbi_node_la_SOURCES =
