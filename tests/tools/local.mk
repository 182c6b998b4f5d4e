# The project's own tools.
tool_scripts += tests/tools/runner.sh tests/tools/setup.sh tests/tools/completion.sh tests/tools/configure.sh
dist_check_SCRIPTS += tests/tools/runner.sh tests/tools/setup.sh tests/tools/completion.sh tests/tools/configure.sh
