# Other programs and languages that speak with tbq: scripts that print TAP, each skipped by name
# where what it needs is not on the machine (.ci/run installs it).
interop_scripts += tests/interop/haskell.py
dist_check_SCRIPTS += tests/interop/haskell.py
