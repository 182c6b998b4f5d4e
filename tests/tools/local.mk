# The project's own tools.
tool_scripts += tests/tools/runner.sh tests/tools/setup.sh tests/tools/profiled.sh tests/tools/completion.sh tests/tools/configure.sh tests/tools/bench.py tests/tools/count.py
dist_check_SCRIPTS += tests/tools/runner.sh tests/tools/setup.sh tests/tools/profiled.sh tests/tools/completion.sh tests/tools/configure.sh tests/tools/bench.py tests/tools/count.py
EXTRA_DIST += tests/tools/tap.py
