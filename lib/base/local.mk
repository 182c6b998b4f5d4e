# The base layer: its .c and .h files.
noinst_LTLIBRARIES += lib/base/libtbi_base.la
lib_base_libtbi_base_la_SOURCES = \
	lib/base/addr.c lib/base/addr.h \
	lib/base/alloc.c lib/base/alloc.h \
	lib/base/block.c lib/base/block.h \
	lib/base/crypto.h \
	lib/base/cursor.c lib/base/cursor.h \
	lib/base/datagram.h \
	lib/base/error.c \
	lib/base/heap.c lib/base/heap.h \
	lib/base/list.h \
	lib/base/log.c lib/base/log.h \
	lib/base/map.c lib/base/map.h \
	lib/base/now.h \
	lib/base/peer_id.c \
	lib/base/pool.c lib/base/pool.h \
	lib/base/ranges.c lib/base/ranges.h \
	lib/base/rng.c lib/base/rng.h \
	lib/base/target.c
