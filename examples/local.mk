# Example programs: built by `make`, not installed, run by tests/examples/run.py. They use the public
# headers and lib/libtbquic.la only.
noinst_PROGRAMS += examples/client examples/poll examples/request
examples_client_LDADD = lib/libtbquic.la
examples_poll_LDADD = lib/libtbquic.la
examples_request_LDADD = lib/libtbquic.la
if ENABLE_EV
noinst_PROGRAMS += examples/server_ev
examples_server_ev_LDADD = lib/libtbquic-ev.la lib/libtbquic.la $(EV_LIBS)
endif
