# Other programs and languages that speak with tbq: scripts that print TAP, each skipped by name
# where what it needs is not on the machine (.ci/run installs it).
interop_scripts += tests/interop/haskell.py tests/interop/aioquic_client.py \
	tests/interop/aioquic_server.py tests/interop/aioquic_errors.py \
	tests/interop/aioquic_hostile.py tests/interop/ngtcp2.py
dist_check_SCRIPTS += $(interop_scripts)
EXTRA_DIST += tests/interop/aioquic_here.py tests/interop/over_aioquic.py tests/interop/tbq1.py \
	tests/interop/against.py tests/interop/ngtcp2_alpn.c
