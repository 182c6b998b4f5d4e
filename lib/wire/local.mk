# The wire layer: its .c and .h files.
noinst_LTLIBRARIES += lib/wire/libtbi_wire.la
lib_wire_libtbi_wire_la_SOURCES = \
	lib/wire/fields.c lib/wire/fields.h \
	lib/wire/frame.c lib/wire/frame.h \
	lib/wire/kind.c lib/wire/kind.h \
	lib/wire/kind_name.c \
	lib/wire/names.c \
	lib/wire/reader.c \
	lib/wire/record.c lib/wire/record.h \
	lib/wire/wire.h
