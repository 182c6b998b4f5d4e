# The public headers. ev.h is the only one that names libev; it goes with libtbquic-ev.
tbquicincludedir = $(includedir)/tbquic
tbquicinclude_HEADERS = \
	include/tbquic/actor.h \
	include/tbquic/body.h \
	include/tbquic/config.h \
	include/tbquic/error.h \
	include/tbquic/event.h \
	include/tbquic/export.h \
	include/tbquic/identity.h \
	include/tbquic/message.h \
	include/tbquic/p2p.h \
	include/tbquic/peer.h \
	include/tbquic/select.h \
	include/tbquic/server.h \
	include/tbquic/tbquic.h \
	include/tbquic/types.h
if ENABLE_EV
tbquicinclude_HEADERS += include/tbquic/ev.h
endif
