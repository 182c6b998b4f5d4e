# Stories over virtual time: real engines with real TLS on a pretended network.
if HAVE_CHECK
sim_tests += tests/sim/test_sim_two tests/sim/test_sim_refused \
	tests/sim/test_sim_strangers tests/sim/test_sim_handshake
tests_sim_test_sim_two_SOURCES = tests/sim/test_sim_two.c tests/sim/sim.c tests/sim/sim.h
tests_sim_test_sim_two_LDADD = $(UNIT_LDADD) $(UP_TO_SERVER)
tests_sim_test_sim_refused_SOURCES = tests/sim/test_sim_refused.c tests/sim/sim.c tests/sim/sim.h
tests_sim_test_sim_refused_LDADD = $(UNIT_LDADD) $(UP_TO_SERVER)

sim_tests += tests/sim/test_sim_links
tests_sim_test_sim_links_SOURCES = tests/sim/test_sim_links.c tests/sim/sim.c tests/sim/sim.h \
	tests/sim/ledger.c tests/sim/ledger.h
tests_sim_test_sim_links_LDADD = $(UNIT_LDADD) $(UP_TO_SERVER)
sim_tests += tests/sim/test_sim_peers
tests_sim_test_sim_peers_SOURCES = tests/sim/test_sim_peers.c tests/sim/sim.c tests/sim/sim.h
tests_sim_test_sim_peers_LDADD = $(UNIT_LDADD) $(UP_TO_SERVER)
sim_tests += tests/sim/test_sim_broadcast tests/sim/test_sim_discover
tests_sim_test_sim_broadcast_SOURCES = tests/sim/test_sim_broadcast.c tests/sim/sim.c tests/sim/sim.h
tests_sim_test_sim_broadcast_LDADD = $(UNIT_LDADD) $(UP_TO_SERVER)
tests_sim_test_sim_discover_SOURCES = tests/sim/test_sim_discover.c tests/sim/sim.c tests/sim/sim.h
tests_sim_test_sim_discover_LDADD = $(UNIT_LDADD) $(UP_TO_SERVER)
tests_sim_test_sim_strangers_SOURCES = tests/sim/test_sim_strangers.c tests/sim/sim.c \
	tests/sim/sim.h tests/sim/stranger.c tests/sim/stranger.h
tests_sim_test_sim_strangers_LDADD = $(UNIT_LDADD) $(UP_TO_SERVER)
tests_sim_test_sim_handshake_SOURCES = tests/sim/test_sim_handshake.c tests/sim/sim.c \
	tests/sim/sim.h tests/sim/stranger.c tests/sim/stranger.h
tests_sim_test_sim_handshake_LDADD = $(UNIT_LDADD) $(UP_TO_SERVER)
sim_tests += tests/sim/test_sim_busy
tests_sim_test_sim_busy_SOURCES = tests/sim/test_sim_busy.c tests/sim/sim.c tests/sim/sim.h
tests_sim_test_sim_busy_LDADD = $(UNIT_LDADD) $(UP_TO_SERVER)
sim_tests += tests/sim/test_sim_floods tests/sim/test_sim_frames
tests_sim_test_sim_frames_SOURCES = tests/sim/test_sim_frames.c tests/sim/sim.c tests/sim/sim.h \
	tests/sim/stranger.c tests/sim/stranger.h
tests_sim_test_sim_frames_LDADD = $(UNIT_LDADD) $(UP_TO_SERVER)
tests_sim_test_sim_floods_SOURCES = tests/sim/test_sim_floods.c tests/sim/sim.c tests/sim/sim.h \
	tests/sim/stranger.c tests/sim/stranger.h
tests_sim_test_sim_floods_LDADD = $(UNIT_LDADD) $(UP_TO_SERVER)
sim_tests += tests/sim/test_sim_select
tests_sim_test_sim_select_SOURCES = tests/sim/test_sim_select.c tests/sim/sim.c tests/sim/sim.h
tests_sim_test_sim_select_LDADD = $(UNIT_LDADD) $(UP_TO_SERVER)
sim_tests += tests/sim/test_sim_dials
tests_sim_test_sim_dials_SOURCES = tests/sim/test_sim_dials.c tests/sim/sim.c tests/sim/sim.h
tests_sim_test_sim_dials_LDADD = $(UNIT_LDADD) $(UP_TO_SERVER)
endif
check_PROGRAMS += $(sim_tests)
