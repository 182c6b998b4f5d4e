# The node layer: its .c and .h files.
noinst_LTLIBRARIES += lib/node/libtbi_node.la
lib_node_libtbi_node_la_SOURCES = \
	lib/node/body_in.c \
	lib/node/body_out.c \
	lib/node/bond.c \
	lib/node/broadcast.c \
	lib/node/busy.c \
	lib/node/close.c \
	lib/node/contact.c \
	lib/node/datagram.c \
	lib/node/discover.c \
	lib/node/dispatch.c \
	lib/node/early.c \
	lib/node/event.c lib/node/event.h \
	lib/node/network.c \
	lib/node/node.c lib/node/node.h \
	lib/node/parts.h \
	lib/node/peers.c \
	lib/node/race.c \
	lib/node/request.c \
	lib/node/rest.c \
	lib/node/room.c \
	lib/node/resume.c \
	lib/node/further.c \
	lib/node/instream.c \
	lib/node/loan.c \
	lib/node/select.c \
	lib/node/session.c \
	lib/node/trust.c
