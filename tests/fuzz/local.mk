# Fuzz targets: tests/fuzz/fuzz_NAME.c, with its corpus in tests/fuzz/corpus/NAME/.
#
# With --enable-fuzzers each is a libFuzzer program (clang). Without, standalone.c gives it a
# main() that runs it over its corpus and a bounded number of mutations of it, in `make check`.
fuzz_targets += tests/fuzz/fuzz_lists tests/fuzz/fuzz_pem
fuzz_targets += tests/fuzz/fuzz_link
fuzz_targets += tests/fuzz/fuzz_book
fuzz_targets += tests/fuzz/fuzz_netwatch
tests_fuzz_fuzz_netwatch_LDFLAGS = $(AM_LDFLAGS) $(FUZZ_LDFLAGS)
tests_fuzz_fuzz_netwatch_LDADD = $(fuzz_main) $(UP_TO_IO)
fuzz_targets += tests/fuzz/fuzz_cursor tests/fuzz/fuzz_target
fuzz_targets += tests/fuzz/fuzz_frames tests/fuzz/fuzz_kinds tests/fuzz/fuzz_record
if ENABLE_FUZZERS
fuzz_main =
else
fuzz_main = tests/fuzz/libstandalone.la
check_LTLIBRARIES += $(fuzz_main)
tests_fuzz_libstandalone_la_SOURCES = tests/fuzz/standalone.c
endif
fuzz_world = tests/fuzz/world.c tests/fuzz/world.h
fuzz_targets += tests/fuzz/fuzz_datagram tests/fuzz/fuzz_session
tests_fuzz_fuzz_datagram_SOURCES = tests/fuzz/fuzz_datagram.c $(fuzz_world)
tests_fuzz_fuzz_datagram_LDFLAGS = $(AM_LDFLAGS) $(FUZZ_LDFLAGS)
tests_fuzz_fuzz_datagram_LDADD = $(fuzz_main) $(UP_TO_SERVER)
tests_fuzz_fuzz_session_SOURCES = tests/fuzz/fuzz_session.c $(fuzz_world)
tests_fuzz_fuzz_session_LDFLAGS = $(AM_LDFLAGS) $(FUZZ_LDFLAGS)
tests_fuzz_fuzz_session_LDADD = $(fuzz_main) $(UP_TO_SERVER)


EXTRA_DIST += tests/fuzz/corpus tests/fuzz/long tests/fuzz/seeds.py tests/fuzz/standalone.c

tests_fuzz_fuzz_cursor_LDFLAGS = $(AM_LDFLAGS) $(FUZZ_LDFLAGS)
tests_fuzz_fuzz_cursor_LDADD = $(fuzz_main) $(UP_TO_BASE)
tests_fuzz_fuzz_target_LDFLAGS = $(AM_LDFLAGS) $(FUZZ_LDFLAGS)
tests_fuzz_fuzz_target_LDADD = $(fuzz_main) $(UP_TO_BASE)
# The configuration of a server, and the command line of tbq, which leaves by another exit().
fuzz_targets += tests/fuzz/fuzz_config tests/fuzz/fuzz_options
tests_fuzz_fuzz_config_LDFLAGS = $(AM_LDFLAGS) $(FUZZ_LDFLAGS)
tests_fuzz_fuzz_config_LDADD = $(fuzz_main) $(UP_TO_SERVER)
tests_fuzz_fuzz_options_SOURCES = tests/fuzz/fuzz_options.c cli/options.c cli/tbq.h
tests_fuzz_fuzz_options_CPPFLAGS = $(AM_CPPFLAGS) -Dexit=left
tests_fuzz_fuzz_options_LDFLAGS = $(AM_LDFLAGS) $(FUZZ_LDFLAGS)
tests_fuzz_fuzz_options_LDADD = $(fuzz_main) $(UP_TO_BASE)
tests_fuzz_fuzz_frames_LDFLAGS = $(AM_LDFLAGS) $(FUZZ_LDFLAGS)
tests_fuzz_fuzz_frames_LDADD = $(fuzz_main) $(UP_TO_WIRE)
tests_fuzz_fuzz_kinds_LDFLAGS = $(AM_LDFLAGS) $(FUZZ_LDFLAGS)
tests_fuzz_fuzz_kinds_LDADD = $(fuzz_main) $(UP_TO_WIRE)
tests_fuzz_fuzz_link_LDFLAGS = $(AM_LDFLAGS) $(FUZZ_LDFLAGS)
tests_fuzz_fuzz_link_LDADD = $(fuzz_main) $(UP_TO_LINK)
tests_fuzz_fuzz_book_LDFLAGS = $(AM_LDFLAGS) $(FUZZ_LDFLAGS)
tests_fuzz_fuzz_book_LDADD = $(fuzz_main) $(UP_TO_MESH)
tests_fuzz_fuzz_record_LDFLAGS = $(AM_LDFLAGS) $(FUZZ_LDFLAGS)
tests_fuzz_fuzz_record_LDADD = $(fuzz_main) $(UP_TO_WIRE)
tests_fuzz_fuzz_lists_LDFLAGS = $(AM_LDFLAGS) $(FUZZ_LDFLAGS)
tests_fuzz_fuzz_lists_LDADD = $(fuzz_main) $(UP_TO_IDENTITY)
tests_fuzz_fuzz_pem_LDFLAGS = $(AM_LDFLAGS) $(FUZZ_LDFLAGS)
tests_fuzz_fuzz_pem_LDADD = $(fuzz_main) $(UP_TO_IDENTITY)

check_PROGRAMS += $(fuzz_targets)

.PHONY: fuzzers
fuzzers: $(fuzz_targets)
