# Unit tests (Check): one module each, linked with the layers up to the one that it is about.

if HAVE_CHECK
unit_base = tests/unit/test_base_bytes tests/unit/test_base_pool tests/unit/test_base_sets \
	tests/unit/test_base_text
unit_tests += $(unit_base)
tests_unit_test_base_bytes_LDADD = $(UNIT_LDADD) $(UP_TO_BASE)
tests_unit_test_base_pool_LDADD = $(UNIT_LDADD) $(UP_TO_BASE)
tests_unit_test_base_sets_LDADD = $(UNIT_LDADD) $(UP_TO_BASE)
tests_unit_test_base_text_LDADD = $(UNIT_LDADD) $(UP_TO_BASE)

unit_wire = tests/unit/test_wire_frame tests/unit/test_wire_kind tests/unit/test_wire_reader \
	tests/unit/test_wire_record
unit_tests += $(unit_wire)
tests_unit_test_wire_frame_LDADD = $(UNIT_LDADD) $(UP_TO_WIRE)
tests_unit_test_wire_kind_LDADD = $(UNIT_LDADD) $(UP_TO_WIRE)
tests_unit_test_wire_reader_LDADD = $(UNIT_LDADD) $(UP_TO_WIRE)
tests_unit_test_wire_record_LDADD = $(UNIT_LDADD) $(UP_TO_WIRE)

unit_identity = tests/unit/test_identity_admit tests/unit/test_identity_key tests/unit/test_identity_peer \
	tests/unit/test_identity_trust
unit_tests += $(unit_identity)
tests_unit_test_identity_admit_LDADD = $(UNIT_LDADD) $(UP_TO_IDENTITY)
tests_unit_test_identity_key_LDADD = $(UNIT_LDADD) $(UP_TO_IDENTITY)
tests_unit_test_identity_peer_LDADD = $(UNIT_LDADD) $(UP_TO_IDENTITY)
tests_unit_test_identity_trust_LDADD = $(UNIT_LDADD) $(UP_TO_IDENTITY)

link_world = tests/unit/link_world.c tests/unit/link_world.h
unit_link = tests/unit/test_link tests/unit/test_link_ahead tests/unit/test_link_hostile tests/unit/test_link_paths \
	tests/unit/test_link_random
unit_tests += $(unit_link)
tests_unit_test_link_SOURCES = tests/unit/test_link.c $(link_world)
tests_unit_test_link_LDADD = $(UNIT_LDADD) $(UP_TO_LINK)
tests_unit_test_link_ahead_SOURCES = tests/unit/test_link_ahead.c $(link_world)
tests_unit_test_link_ahead_LDADD = $(UNIT_LDADD) $(UP_TO_LINK)
tests_unit_test_link_paths_SOURCES = tests/unit/test_link_paths.c $(link_world)
tests_unit_test_link_paths_LDADD = $(UNIT_LDADD) $(UP_TO_LINK)
tests_unit_test_link_hostile_SOURCES = tests/unit/test_link_hostile.c $(link_world)
tests_unit_test_link_hostile_LDADD = $(UNIT_LDADD) $(UP_TO_LINK)
tests_unit_test_link_random_SOURCES = tests/unit/test_link_random.c tests/unit/shrink.c \
	tests/unit/shrink.h $(link_world)
tests_unit_test_link_random_LDADD = $(UNIT_LDADD) $(UP_TO_LINK)

unit_mesh = tests/unit/test_mesh_book tests/unit/test_mesh_scope tests/unit/test_mesh_select \
	tests/unit/test_mesh_tickets
unit_tests += $(unit_mesh)
tests_unit_test_mesh_book_LDADD = $(UNIT_LDADD) $(UP_TO_MESH)
tests_unit_test_mesh_scope_LDADD = $(UNIT_LDADD) $(UP_TO_MESH)
tests_unit_test_mesh_tickets_LDADD = $(UNIT_LDADD) $(UP_TO_MESH)
tests_unit_test_mesh_select_LDADD = $(UNIT_LDADD) $(UP_TO_MESH)

unit_engine = tests/unit/test_node_peers tests/unit/test_server_p2p
unit_tests += $(unit_engine)
quic_pair = tests/unit/quic_pair.c tests/unit/quic_pair.h
unit_tests += tests/unit/test_quic tests/unit/test_quic_datagram tests/unit/test_quic_early \
	tests/unit/test_quic_memory tests/unit/test_quic_parts tests/unit/test_quic_shed
tests_unit_test_quic_shed_SOURCES = tests/unit/test_quic_shed.c $(quic_pair)
tests_unit_test_quic_shed_LDADD = $(UNIT_LDADD) $(UP_TO_QUIC)
tests_unit_test_quic_parts_LDADD = $(UNIT_LDADD) $(UP_TO_QUIC)
tests_unit_test_quic_SOURCES = tests/unit/test_quic.c $(quic_pair)
tests_unit_test_quic_LDADD = $(UNIT_LDADD) $(UP_TO_QUIC)
tests_unit_test_quic_datagram_SOURCES = tests/unit/test_quic_datagram.c $(quic_pair)
tests_unit_test_quic_datagram_LDADD = $(UNIT_LDADD) $(UP_TO_QUIC)
tests_unit_test_quic_early_SOURCES = tests/unit/test_quic_early.c $(quic_pair)
tests_unit_test_quic_early_LDADD = $(UNIT_LDADD) $(UP_TO_QUIC)
tests_unit_test_quic_memory_SOURCES = tests/unit/test_quic_memory.c $(quic_pair)
tests_unit_test_quic_memory_LDADD = $(UNIT_LDADD) $(UP_TO_QUIC)
unit_tests += tests/unit/test_quic_migrate
tests_unit_test_quic_migrate_SOURCES = tests/unit/test_quic_migrate.c $(quic_pair)
tests_unit_test_quic_migrate_LDADD = $(UNIT_LDADD) $(UP_TO_QUIC)

# Linked up to the server for the defaults of tbq_config.
node_pair = tests/unit/node_pair.c tests/unit/node_pair.h
unit_tests += tests/unit/test_node tests/unit/test_node_memory tests/unit/test_node_bodies \
	tests/unit/test_node_loans tests/unit/test_node_outbox
tests_unit_test_node_outbox_SOURCES = tests/unit/test_node_outbox.c $(node_pair)
tests_unit_test_node_outbox_LDADD = $(UNIT_LDADD) $(UP_TO_SERVER)
tests_unit_test_node_loans_SOURCES = tests/unit/test_node_loans.c $(node_pair)
tests_unit_test_node_loans_LDADD = $(UNIT_LDADD) $(UP_TO_SERVER)
tests_unit_test_node_bodies_SOURCES = tests/unit/test_node_bodies.c $(node_pair)
tests_unit_test_node_bodies_LDADD = $(UNIT_LDADD) $(UP_TO_SERVER)
tests_unit_test_node_SOURCES = tests/unit/test_node.c $(node_pair)
tests_unit_test_node_LDADD = $(UNIT_LDADD) $(UP_TO_SERVER)
tests_unit_test_node_memory_SOURCES = tests/unit/test_node_memory.c $(node_pair)
tests_unit_test_node_memory_LDADD = $(UNIT_LDADD) $(UP_TO_SERVER)

unit_tests += tests/unit/test_node_hostile
tests_unit_test_node_hostile_SOURCES = tests/unit/test_node_hostile.c $(quic_pair)
tests_unit_test_node_hostile_LDADD = $(UNIT_LDADD) $(UP_TO_SERVER)

unit_tests += tests/unit/test_server_config tests/unit/test_server_start
unit_tests += tests/unit/test_server_misuse
tests_unit_test_server_misuse_LDADD = $(UNIT_LDADD) $(UP_TO_SERVER)
tests_unit_test_server_start_LDADD = $(UNIT_LDADD) $(UP_TO_SERVER)
tests_unit_test_server_config_LDADD = $(UNIT_LDADD) $(UP_TO_SERVER)
unit_tests += tests/unit/test_way
tests_unit_test_way_SOURCES = tests/unit/test_way.c tests/net/way.c tests/net/way.h
tests_unit_test_way_LDADD = $(UNIT_LDADD) $(UP_TO_BASE)
endif
check_PROGRAMS += $(unit_tests)
EXTRA_DIST += tests/unit/heavy_key.h tests/unit/identity_help.h
