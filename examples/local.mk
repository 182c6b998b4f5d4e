# Example programs: built by `make`, not installed, run by the tests (see tests/local.mk on
# how to name a test). They use the public headers and lib/libtbquic.la only.
noinst_PROGRAMS += examples/poll
examples_poll_LDADD = lib/libtbquic.la
if ENABLE_EV
noinst_PROGRAMS += examples/server_ev
examples_server_ev_LDADD = lib/libtbquic-ev.la lib/libtbquic.la $(EV_LIBS)
endif
