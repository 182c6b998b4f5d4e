# The io layer: its .c and .h files.
noinst_LTLIBRARIES += lib/io/libtbi_io.la
lib_io_libtbi_io_la_SOURCES = \
	lib/io/clock.c lib/io/clock.h \
	lib/io/file.c lib/io/file.h \
	lib/io/interfaces.c lib/io/interfaces.h \
	lib/io/names.c lib/io/names.h \
	lib/io/netwatch.c lib/io/netwatch.h \
	lib/io/onefd.c lib/io/onefd.h \
	lib/io/random.c lib/io/random.h \
	lib/io/udp.c lib/io/udp.h \
	lib/io/udp_parts.h \
	lib/io/udp_send.c \
	lib/io/wake.c lib/io/wake.h
