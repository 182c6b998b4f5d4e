# The public headers. ev.h is the only one that names libev; it goes with libtbquic-ev.
tbquicincludedir = $(includedir)/tbquic
tbquicinclude_HEADERS = \
	include/tbquic/error.h \
	include/tbquic/export.h \
	include/tbquic/message.h \
	include/tbquic/types.h
if ENABLE_EV
tbquicinclude_HEADERS +=
endif
