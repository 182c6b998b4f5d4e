# The link layer: its .c and .h files.
noinst_LTLIBRARIES += lib/link/libtbi_link.la
lib_link_libtbi_link_la_SOURCES = \
	lib/link/control.c \
	lib/link/inbox.c \
	lib/link/link.c lib/link/link.h \
	lib/link/outbox.c \
	lib/link/parts.h \
	lib/link/path.c \
	lib/link/send.c \
	lib/link/taken.c
