# Benchmarks: EXTRA_PROGRAMS, built and run by `make bench` and `make bench-...`, never by
# `make check`.
EXTRA_PROGRAMS += bench/links_peer
bench_links_peer_SOURCES = bench/links_peer.c tests/net/program.h
bench_links_peer_LDADD = lib/libtbquic.la
EXTRA_DIST += bench/links.py

# What ngtcp2 and GnuTLS can do here by themselves: nothing of lib/ is in it.
EXTRA_PROGRAMS += bench/floor
bench_floor_SOURCES = bench/floor.c bench/floor_quic.c bench/floor_tls.c bench/floor_udp.c \
	bench/floor_flow.c bench/floor.h
bench_floor_LDADD = $(NGTCP2_LIBS) $(GNUTLS_LIBS)
CLEANFILES += bench/floor

# Over emulated links, as root: `make bench-links RUNS=3 ONLY='acks crowd' JSON=out.json`.
bench-links: all bench/links_peer tests/net/wire
	@builddir='$(abs_builddir)' TBQ='$(abs_builddir)/cli/tbq' $(PYTHON3) '$(srcdir)/bench/links.py' \
	    $(if $(RUNS),--runs '$(RUNS)') $(if $(JSON),--json '$(abspath $(JSON))') $(ONLY)

# Programs that bench/run.py compares: both sides of the same work, each over something else.
# bench/side.h has what they agree on.
bench_side = bench/side.c bench/side.h
bench_compared = bench/aes bench/floor bench/speed bench/tls bench/zmq

EXTRA_PROGRAMS += bench/aes
bench_aes_SOURCES = bench/aes.c $(bench_side)
bench_aes_LDADD = $(GNUTLS_LIBS)

EXTRA_PROGRAMS += bench/tls
bench_tls_SOURCES = bench/tls.c bench/tls_conn.c bench/tls_conn.h $(bench_side)
bench_tls_LDADD = $(GNUTLS_LIBS)

EXTRA_PROGRAMS += bench/speed
bench_speed_SOURCES = bench/speed.c bench/speed.h bench/speed_dials.c bench/speed_load.c \
	bench/speed_loop.c bench/speed_parts.c bench/speed_server.c bench/speed_share.c $(bench_side)
bench_speed_CPPFLAGS = $(AM_CPPFLAGS)
bench_speed_LDADD = lib/libtbquic.la
if ENABLE_EV
bench_speed_CPPFLAGS += -DSPEED_EV
bench_speed_LDADD += lib/libtbquic-ev.la $(EV_LIBS)
endif

# Only where there is a libzmq: nothing else wants one.
if HAVE_ZMQ
EXTRA_PROGRAMS += bench/zmq
bench_zmq_SOURCES = bench/zmq.c $(bench_side)
bench_zmq_CPPFLAGS = $(AM_CPPFLAGS) $(ZMQ_CFLAGS)
bench_zmq_LDADD = $(ZMQ_LIBS)
endif

# Instructions, counted by valgrind. It needs the simulator, and a clock of its own in place of
# lib/io's, so it is linked with the layers.
EXTRA_PROGRAMS += bench/count
bench_count_SOURCES = bench/count.c bench/count.h bench/count_engine.c bench/count_sockets.c \
	tests/sim/sim.c tests/sim/sim.h
bench_count_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)
bench_count_LDADD = $(UP_TO_SERVER)
bench_count_LDFLAGS = $(TBQ_LDFLAGS) $(LTO_LDFLAGS)

CLEANFILES += $(EXTRA_PROGRAMS)
EXTRA_DIST += bench/run.py bench/parts.py bench/lossy.py bench/start.py bench/plots.py bench/count.py \
	bench/instructions.json

# Fails where something takes 5 % more instructions than it did: `make bench-check RUNS=3
# ONLY=engine JSON=out.json`; UPDATE=1 writes the figures anew.
bench-check: bench/count
	@builddir='$(abs_builddir)' CFLAGS='$(CFLAGS)' $(PYTHON3) '$(srcdir)/bench/count.py' \
	    $(if $(UPDATE),--update) $(if $(RUNS),--runs '$(RUNS)') $(if $(JOBS),--jobs '$(JOBS)') \
	    $(if $(JSON),--json '$(abspath $(JSON))') $(ONLY) || [ $$? = 77 ]

# On this machine alone: `make bench RUNS=5 SECONDS=2 ONLY='bulk rate' WITH=libtbquic,floor
# JSON=out.json`; without JSON, in bench/results.json of the build folder. tools/setup bench brings
# what it is compared with; as root it measures over links that lose packets, too. Pictures of it all
# go to bench/plots.
bench: all tests/net/wire $(filter $(addsuffix $(EXEEXT),$(bench_compared)),$(EXTRA_PROGRAMS))
	@json='$(abspath $(or $(JSON),bench/results.json))'; \
	builddir='$(abs_builddir)' $(PYTHON3) '$(srcdir)/bench/run.py' \
	    $(if $(RUNS),--runs '$(RUNS)') $(if $(SECONDS),--seconds '$(SECONDS)') \
	    $(if $(WITH),--programs '$(WITH)') --json "$$json" $(ONLY); status=$$?; \
	[ $$status = 2 ] || $(PYTHON3) '$(srcdir)/bench/plots.py' "$$json" bench/plots || \
	    [ $$? = 2 ] || status=1; \
	exit $$status

# The pictures in docs/: `make bench-plots JSON=out.json`.
bench-plots:
	@$(PYTHON3) '$(srcdir)/bench/plots.py' '$(abspath $(JSON))' '$(srcdir)/docs/plots'
.PHONY: bench bench-check bench-links bench-plots
