# Stories over virtual time: real engines with real TLS on a pretended network.
if HAVE_CHECK
sim_tests += tests/sim/test_sim_two tests/sim/test_sim_refused \
	tests/sim/test_sim_strangers tests/sim/test_sim_handshake
tests_sim_test_sim_two_SOURCES = tests/sim/test_sim_two.c tests/sim/sim.c tests/sim/sim.h
tests_sim_test_sim_two_LDADD = $(UNIT_LDADD) $(UP_TO_SERVER)
tests_sim_test_sim_refused_SOURCES = tests/sim/test_sim_refused.c tests/sim/sim.c tests/sim/sim.h
tests_sim_test_sim_refused_LDADD = $(UNIT_LDADD) $(UP_TO_SERVER)

sim_tests += tests/sim/test_sim_first
tests_sim_test_sim_first_SOURCES = tests/sim/test_sim_first.c tests/sim/sim.c tests/sim/sim.h
tests_sim_test_sim_first_LDADD = $(UNIT_LDADD) $(UP_TO_SERVER)
sim_tests += tests/sim/test_sim_links
tests_sim_test_sim_links_SOURCES = tests/sim/test_sim_links.c tests/sim/sim.c tests/sim/sim.h \
	tests/sim/ledger.c tests/sim/ledger.h
tests_sim_test_sim_links_LDADD = $(UNIT_LDADD) $(UP_TO_SERVER)
sim_tests += tests/sim/test_sim_flow
tests_sim_test_sim_flow_SOURCES = tests/sim/test_sim_flow.c tests/sim/sim.c tests/sim/sim.h
tests_sim_test_sim_flow_LDADD = $(UNIT_LDADD) $(UP_TO_SERVER)
sim_tests += tests/sim/test_sim_day
tests_sim_test_sim_day_SOURCES = tests/sim/test_sim_day.c tests/sim/sim.c tests/sim/sim.h \
	tests/sim/ledger.c tests/sim/ledger.h
tests_sim_test_sim_day_LDADD = $(UNIT_LDADD) $(UP_TO_SERVER)
sim_tests += tests/sim/test_sim_rest
tests_sim_test_sim_rest_SOURCES = tests/sim/test_sim_rest.c tests/sim/sim.c tests/sim/sim.h \
	tests/sim/ledger.c tests/sim/ledger.h
tests_sim_test_sim_rest_LDADD = $(UNIT_LDADD) $(UP_TO_SERVER)
sim_tests += tests/sim/test_sim_room
tests_sim_test_sim_room_SOURCES = tests/sim/test_sim_room.c tests/sim/sim.c tests/sim/sim.h
tests_sim_test_sim_room_LDADD = $(UNIT_LDADD) $(UP_TO_SERVER)
sim_tests += tests/sim/test_sim_datagrams
tests_sim_test_sim_datagrams_SOURCES = tests/sim/test_sim_datagrams.c tests/sim/sim.c \
	tests/sim/sim.h
tests_sim_test_sim_datagrams_LDADD = $(UNIT_LDADD) $(UP_TO_SERVER)
sim_tests += tests/sim/test_sim_peers
tests_sim_test_sim_peers_SOURCES = tests/sim/test_sim_peers.c tests/sim/sim.c tests/sim/sim.h
tests_sim_test_sim_peers_LDADD = $(UNIT_LDADD) $(UP_TO_SERVER)
sim_tests += tests/sim/test_sim_broadcast tests/sim/test_sim_discover
tests_sim_test_sim_broadcast_SOURCES = tests/sim/test_sim_broadcast.c tests/sim/sim.c tests/sim/sim.h
tests_sim_test_sim_broadcast_LDADD = $(UNIT_LDADD) $(UP_TO_SERVER)
tests_sim_test_sim_discover_SOURCES = tests/sim/test_sim_discover.c tests/sim/sim.c tests/sim/sim.h \
	tests/sim/village.c tests/sim/village.h
tests_sim_test_sim_discover_LDADD = $(UNIT_LDADD) $(UP_TO_SERVER)
tests_sim_test_sim_strangers_SOURCES = tests/sim/test_sim_strangers.c tests/sim/sim.c \
	tests/sim/sim.h tests/sim/stranger.c tests/sim/stranger.h
tests_sim_test_sim_strangers_LDADD = $(UNIT_LDADD) $(UP_TO_SERVER)
tests_sim_test_sim_handshake_SOURCES = tests/sim/test_sim_handshake.c tests/sim/sim.c \
	tests/sim/sim.h tests/sim/stranger.c tests/sim/stranger.h
tests_sim_test_sim_handshake_LDADD = $(UNIT_LDADD) $(UP_TO_SERVER)
sim_tests += tests/sim/test_sim_migrate
tests_sim_test_sim_migrate_SOURCES = tests/sim/test_sim_migrate.c tests/sim/sim.c tests/sim/sim.h \
	tests/sim/ledger.c tests/sim/ledger.h
tests_sim_test_sim_migrate_LDADD = $(UNIT_LDADD) $(UP_TO_SERVER)
sim_tests += tests/sim/test_sim_village tests/sim/test_sim_records
tests_sim_test_sim_village_SOURCES = tests/sim/test_sim_village.c tests/sim/sim.c tests/sim/sim.h \
	tests/sim/ledger.c tests/sim/ledger.h tests/sim/village.c tests/sim/village.h
tests_sim_test_sim_village_LDADD = $(UNIT_LDADD) $(UP_TO_SERVER)
tests_sim_test_sim_records_SOURCES = tests/sim/test_sim_records.c tests/sim/sim.c tests/sim/sim.h
tests_sim_test_sim_records_LDADD = $(UNIT_LDADD) $(UP_TO_SERVER)
sim_tests += tests/sim/test_sim_busy
tests_sim_test_sim_busy_SOURCES = tests/sim/test_sim_busy.c tests/sim/sim.c tests/sim/sim.h
tests_sim_test_sim_busy_LDADD = $(UNIT_LDADD) $(UP_TO_SERVER)
sim_tests += tests/sim/test_sim_floods tests/sim/test_sim_frames
tests_sim_test_sim_frames_SOURCES = tests/sim/test_sim_frames.c tests/sim/sim.c tests/sim/sim.h \
	tests/sim/stranger.c tests/sim/stranger.h
tests_sim_test_sim_frames_LDADD = $(UNIT_LDADD) $(UP_TO_SERVER)
tests_sim_test_sim_floods_SOURCES = tests/sim/test_sim_floods.c tests/sim/sim.c tests/sim/sim.h \
	tests/sim/stranger.c tests/sim/stranger.h tests/sim/scales.c tests/sim/scales.h
tests_sim_test_sim_floods_LDADD = $(UNIT_LDADD) $(UP_TO_SERVER)
sim_tests += tests/sim/test_sim_bodies
tests_sim_test_sim_bodies_SOURCES = tests/sim/test_sim_bodies.c tests/sim/sim.c tests/sim/sim.h
tests_sim_test_sim_bodies_LDADD = $(UNIT_LDADD) $(UP_TO_SERVER)
sim_tests += tests/sim/test_sim_fair
tests_sim_test_sim_fair_SOURCES = tests/sim/test_sim_fair.c tests/sim/sim.c tests/sim/sim.h
tests_sim_test_sim_fair_LDADD = $(UNIT_LDADD) $(UP_TO_SERVER)
sim_tests += tests/sim/test_sim_select
tests_sim_test_sim_select_SOURCES = tests/sim/test_sim_select.c tests/sim/sim.c tests/sim/sim.h
tests_sim_test_sim_select_LDADD = $(UNIT_LDADD) $(UP_TO_SERVER)
sim_tests += tests/sim/test_sim_pace
tests_sim_test_sim_pace_SOURCES = tests/sim/test_sim_pace.c tests/sim/sim.c tests/sim/sim.h
tests_sim_test_sim_pace_LDADD = $(UNIT_LDADD) $(UP_TO_SERVER)

sim_tests += tests/sim/test_sim_paths
tests_sim_test_sim_paths_SOURCES = tests/sim/test_sim_paths.c tests/sim/sim.c tests/sim/sim.h \
	tests/sim/ledger.c tests/sim/ledger.h
tests_sim_test_sim_paths_LDADD = $(UNIT_LDADD) $(UP_TO_SERVER)
sim_tests += tests/sim/test_sim_dials
tests_sim_test_sim_dials_SOURCES = tests/sim/test_sim_dials.c tests/sim/sim.c tests/sim/sim.h
tests_sim_test_sim_dials_LDADD = $(UNIT_LDADD) $(UP_TO_SERVER)
sim_tests += tests/sim/test_sim_moves
tests_sim_test_sim_moves_SOURCES = tests/sim/test_sim_moves.c tests/sim/sim.c tests/sim/sim.h \
	tests/sim/honest.c tests/sim/honest.h \
	tests/sim/stranger.c tests/sim/stranger.h tests/sim/scales.c tests/sim/scales.h
tests_sim_test_sim_moves_LDADD = $(UNIT_LDADD) $(UP_TO_SERVER)
sim_tests += tests/sim/test_sim_talk
tests_sim_test_sim_talk_SOURCES = tests/sim/test_sim_talk.c tests/sim/sim.c tests/sim/sim.h \
	tests/sim/honest.c tests/sim/honest.h \
	tests/sim/stranger.c tests/sim/stranger.h
tests_sim_test_sim_talk_LDADD = $(UNIT_LDADD) $(UP_TO_SERVER)
endif
check_PROGRAMS += $(sim_tests)
