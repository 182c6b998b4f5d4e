# Benchmarks: EXTRA_PROGRAMS, built and run by `make bench-...`, never by `make check`.
EXTRA_PROGRAMS += bench/links_peer
bench_links_peer_SOURCES = bench/links_peer.c tests/net/program.h
bench_links_peer_LDADD = lib/libtbquic.la
CLEANFILES += bench/links_peer
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
.PHONY: bench-links
