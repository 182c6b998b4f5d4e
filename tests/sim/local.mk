# Stories over virtual time: sim_tests, programs that print TAP (or use Check).
check_PROGRAMS += $(sim_tests)
