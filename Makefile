# The front door of libtbquic, for a git checkout (a release tarball does not have it).
#
#     make            sets up what is missing, builds in build/
#     make check      the same, then every test; ends with `N passed, N failed`
#     make demo       a server and two clients talking to each other
#     make bench      how fast it is here, beside others
#     make profiled   builds in build-profiled/ with what runs have shown of its branches (gcc)
#     make TARGET...  whatever else automake offers: install, dist, distcheck, clean, ...
#
# BUILD=folder builds elsewhere, CONFIGURE='--enable-sanitizers CC=clang' configures so. An
# existing build folder keeps how it was configured: remove it (make distclean) to change that.

BUILD = build
CONFIGURE =
JOBS = 2

.DEFAULT_GOAL = all
MAKEFLAGS += --no-print-directory
# Debian's is dash; configure would look for bash, with which libtool takes half as long again.
CONFIG_SHELL ?= /bin/sh
export CONFIG_SHELL
# -j2 unless the command line said another.
jobs = $(if $(filter -j% --jobserver%,$(MAKEFLAGS)),,-j$(JOBS))
# All goals are handed on in one go, with the first; the others then have nothing left to do.
goals = $(filter-out setup configure profiled,$(or $(MAKECMDGOALS),all))
first = $(firstword $(goals))

ifneq ($(goals),)
.PHONY: $(goals)
$(first): $(BUILD)/Makefile
	+@$(MAKE) $(jobs) -C $(BUILD) $(goals)
ifneq ($(word 2,$(goals)),)
$(wordlist 2,$(words $(goals)),$(goals)): $(first)
	@:
endif
endif

$(BUILD)/Makefile: configure | setup
	@mkdir -p $(BUILD)
	cd $(BUILD) && $(CURDIR)/configure -q --enable-werror $(CONFIGURE)

# Only when there is none yet: later, automake's own rules redo what configure.ac, Makefile.am
# or a local.mk asks for.
configure: | setup
	autoreconf -i

setup:
	@tools/setup $(filter bench,$(goals))

profiled: configure | setup
	@JOBS='$(JOBS)' tools/profiled build-profiled --enable-werror $(CONFIGURE)

.PHONY: setup profiled
Makefile: ;
