# Real sockets and real processes: net_tests (programs), net_scripts (scripts that print TAP).
dist_check_SCRIPTS += $(net_scripts)
check_PROGRAMS += $(net_tests)
