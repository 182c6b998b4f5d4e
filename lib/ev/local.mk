# The adapter for libev: a library of its own, over the public headers only.
if ENABLE_EV
lib_LTLIBRARIES += lib/libtbquic-ev.la
lib_libtbquic_ev_la_SOURCES = lib/ev/ev.c
lib_libtbquic_ev_la_LIBADD = lib/libtbquic.la $(EV_LIBS)
lib_libtbquic_ev_la_LDFLAGS = $(TBQ_LDFLAGS) $(LTO_LDFLAGS) -no-undefined -version-info $(TBQ_EV_VERSION_INFO)
endif
