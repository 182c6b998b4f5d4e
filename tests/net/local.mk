# Real sockets and real processes: net_tests (programs), net_scripts (scripts that print TAP).
if HAVE_CHECK
net_io = tests/net/test_io_file tests/net/test_io_names tests/net/test_io_udp tests/net/test_io_wake
net_tests += $(net_io)
tests_net_test_io_file_LDADD = $(UNIT_LDADD) $(UP_TO_IO)
tests_net_test_io_names_LDADD = $(UNIT_LDADD) $(UP_TO_IO)
tests_net_test_io_udp_LDADD = $(UNIT_LDADD) $(UP_TO_IO)
tests_net_test_io_wake_LDADD = $(UNIT_LDADD) $(UP_TO_IO)
net_tests += tests/net/test_io_netwatch tests/net/test_netchange
tests_net_test_io_netwatch_LDADD = $(UNIT_LDADD) $(UP_TO_IO)
tests_net_test_netchange_SOURCES = tests/net/test_netchange.c tests/net/couple.h
tests_net_test_netchange_LDADD = $(UNIT_LDADD) $(UP_TO_SERVER)
net_tests += tests/net/test_storm
tests_net_test_storm_SOURCES = tests/net/test_storm.c tests/net/couple.h
tests_net_test_storm_LDADD = $(UNIT_LDADD) $(UP_TO_SERVER)
net_tests += tests/net/test_api
tests_net_test_api_SOURCES = tests/net/test_api.c tests/net/couple.h
tests_net_test_api_LDADD = $(UNIT_LDADD) $(UP_TO_SERVER) -lpthread
net_tests += tests/net/test_api_edges
tests_net_test_api_edges_SOURCES = tests/net/test_api_edges.c tests/net/couple.h
tests_net_test_api_edges_LDADD = $(UNIT_LDADD) $(UP_TO_SERVER)
if ENABLE_EV
net_tests += tests/net/test_ev
tests_net_test_ev_LDADD = tests/unit/libharness.la lib/libtbquic-ev.la lib/libtbquic.la \
	lib/base/libtbi_base.la $(NETTLE_LIBS) $(CHECK_LIBS) $(EV_LIBS)
endif
endif
net_scripts += tests/net/test_cli_options.py tests/net/test_cli_keys.py tests/net/test_cli_server.py \
	tests/net/test_cli_client.py tests/net/test_cli_mesh.py tests/net/test_cli_restart.py tests/net/test_demo.py \
	tests/net/test_cli_memory.py tests/net/test_cli_bodies.py tests/net/test_netns.py tests/net/test_lab.py
EXTRA_DIST += tests/net/cli_help.py tests/net/lab.py
dist_check_SCRIPTS += $(net_scripts)
# The emulated links of tests/net/lab.py.
check_PROGRAMS += tests/net/wire
tests_net_wire_SOURCES = tests/net/wire.c tests/net/program.h tests/net/way.c tests/net/way.h
tests_net_wire_LDADD =
check-net check-tools check-named: tests/net/wire
check_PROGRAMS += $(net_tests)
