# The example programs, and the programs that the documents show, compiled and run.
example_scripts += tests/examples/run.py
dist_check_SCRIPTS += tests/examples/run.py
