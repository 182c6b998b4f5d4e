# Benchmarks: EXTRA_PROGRAMS, built and run by `make bench-...`, never by `make check`.
EXTRA_PROGRAMS += bench/links_peer
bench_links_peer_SOURCES = bench/links_peer.c tests/net/program.h
bench_links_peer_LDADD = lib/libtbquic.la

# The library measured through its public calls: see bench/side.h and bench/speed.c.
EXTRA_PROGRAMS += bench/speed
bench_speed_SOURCES = bench/speed.c bench/speed.h bench/speed_dials.c bench/speed_load.c \
	bench/speed_loop.c bench/speed_server.c bench/side.c bench/side.h
bench_speed_CPPFLAGS = $(AM_CPPFLAGS)
bench_speed_LDADD = lib/libtbquic.la
if ENABLE_EV
bench_speed_CPPFLAGS += -DSPEED_EV
bench_speed_LDADD += lib/libtbquic-ev.la $(EV_LIBS)
endif

# Instructions, counted by valgrind. It needs the simulator, and a clock of its own in place of
# lib/io's, so it is linked with the layers.
EXTRA_PROGRAMS += bench/count
bench_count_SOURCES = bench/count.c bench/count.h bench/count_engine.c bench/count_sockets.c \
	tests/sim/sim.c tests/sim/sim.h
bench_count_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)
bench_count_LDADD = $(UP_TO_SERVER)

CLEANFILES += bench/links_peer bench/speed bench/count
EXTRA_DIST += bench/links.py bench/count.py bench/instructions.json

# Fails where something takes 5 % more instructions than it did: `make bench-check RUNS=3
# ONLY=engine JSON=out.json`; UPDATE=1 writes the figures anew.
bench-check: bench/count
	@builddir='$(abs_builddir)' CFLAGS='$(CFLAGS)' $(PYTHON3) '$(srcdir)/bench/count.py' \
	    $(if $(UPDATE),--update) $(if $(RUNS),--runs '$(RUNS)') $(if $(JOBS),--jobs '$(JOBS)') \
	    $(if $(JSON),--json '$(abspath $(JSON))') $(ONLY) || [ $$? = 77 ]
.PHONY: bench-check

# Over emulated links, as root: `make bench-links RUNS=3 ONLY='acks crowd' JSON=out.json`.
bench-links: all bench/links_peer tests/net/wire
	@builddir='$(abs_builddir)' TBQ='$(abs_builddir)/cli/tbq' $(PYTHON3) '$(srcdir)/bench/links.py' \
	    $(if $(RUNS),--runs '$(RUNS)') $(if $(JSON),--json '$(abspath $(JSON))') $(ONLY)
.PHONY: bench-links
