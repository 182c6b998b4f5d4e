# Tests. A fragment names its programs and scripts; tools/run-tests runs them all, each in a
# fresh folder, and counts their TAP lines. How to name one:
#
#   check_PROGRAMS += tests/unit/test_x        built for the tests (source: tests/unit/test_x.c)
#   tests_unit_test_x_LDADD = $(UNIT_LDADD) $(UP_TO_WIRE)
#   unit_tests += tests/unit/test_x            what `make check` and `make check-unit` run
#
# Scripts are named in *_scripts and in dist_check_SCRIPTS (so that they are in the tarball) and
# need no more than to print TAP: `ok 1 - what`, `not ok 2 - what`, `ok 3 - what # SKIP why`,
# and the plan `1..3`, first or last. Both find in the environment: srcdir and builddir (absolute),
# TBQ (the program), CC, NM, SANITIZERS (yes or no), and run in an empty folder of their own.

unit_tests =
sim_tests =
net_tests =
vector_tests =
example_tests =
net_scripts =
interop_scripts =
vector_scripts =
example_scripts =
layer_scripts =
man_scripts =
tool_scripts =
fuzz_targets =
dist_check_SCRIPTS =

# TAP out of Check, and memory that runs out: for every test program in C.
check_LTLIBRARIES += tests/unit/libharness.la
tests_unit_libharness_la_SOURCES = tests/unit/harness.c tests/unit/harness.h
UNIT_LDADD = tests/unit/libharness.la $(CHECK_LIBS)
TESTS_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)/tests $(CHECK_CFLAGS)
# Without an LDADD of its own a program is linked with every layer.
LDADD = $(UNIT_LDADD) $(UP_TO_SERVER)

include tests/unit/local.mk
include tests/sim/local.mk
include tests/net/local.mk
include tests/fuzz/local.mk
include tests/faults/local.mk
include tests/vectors/local.mk
include tests/layers/local.mk
include tests/man/local.mk
include tests/examples/local.mk
include tests/tools/local.mk
include tests/interop/local.mk

# A test's kind tells the runner how to start it; `make check ONLY='unit sim/loss'` runs those
# whose kind:path has one of the words in it.
all_tests = \
	$(addprefix layers:,$(layer_scripts)) \
	$(addprefix tools:,$(tool_scripts)) \
	$(addprefix man:,$(man_scripts)) \
	$(addprefix unit:,$(unit_tests)) \
	$(addprefix vectors:,$(vector_tests) $(vector_scripts)) \
	$(addprefix fuzz:,$(fuzz_targets)) \
	$(addprefix sim:,$(sim_tests)) \
	$(addprefix examples:,$(example_tests) $(example_scripts)) \
	$(addprefix net:,$(net_tests) $(net_scripts)) \
	$(addprefix interop:,$(interop_scripts))

# What a test finds in its environment.
run_tests = \
	CPPFLAGS_USED='$(DEFS) $(AM_CPPFLAGS) $(JANSSON_CFLAGS) $(CPPFLAGS)' \
	EV='$(if $(EV_LIBS),yes,no)' \
	srcdir='$(abs_srcdir)' builddir='$(abs_builddir)' EXEEXT='$(EXEEXT)' \
	TBQ='$(abs_builddir)/cli/tbq' CC='$(CC)' NM='$(NM)' MAKE='$(MAKE)' PYTHON3='$(PYTHON3)' \
	FUZZERS='$(if $(FUZZ_LDFLAGS),yes,no)' \
	SANITIZERS='$(if $(findstring -fsanitize=address,$(TBQ_CFLAGS)),yes,no)' \
	$(PYTHON3) '$(srcdir)/tools/run-tests' $(RUN_TESTS_FLAGS)

check-local:
	+@$(run_tests) $(if $(ONLY),$(foreach w,$(ONLY),--only='$(w)')) $(all_tests)

# One kind alone, without building the rest: `make check-unit`.
check-unit: $(unit_tests)
	@$(run_tests) $(addprefix unit:,$(unit_tests))
check-vectors: $(vector_tests)
	@$(run_tests) $(addprefix vectors:,$(vector_tests) $(vector_scripts))
check-fuzz: $(fuzz_targets)
	@$(run_tests) $(addprefix fuzz:,$(fuzz_targets))
check-sim: $(sim_tests)
	@$(run_tests) $(addprefix sim:,$(sim_tests))
check-net: all $(net_tests)
	@$(run_tests) $(addprefix net:,$(net_tests) $(net_scripts))
check-interop: all
	@$(run_tests) $(addprefix interop:,$(interop_scripts))
check-layers: all
	@$(run_tests) $(addprefix layers:,$(layer_scripts))
check-tools:
	@$(run_tests) $(addprefix tools:,$(tool_scripts)) $(addprefix man:,$(man_scripts))
# Tests by their path, already built: for tests/faults/run.
check-named:
	@$(run_tests) $(foreach t,$(NAMED),$(filter %:$(t),$(all_tests)))
.PHONY: check-interop check-named check-tools check-unit check-vectors check-fuzz check-sim check-net check-layers

# The runner keeps what the tests printed.
clean-local:
	rm -rf tests/logs
