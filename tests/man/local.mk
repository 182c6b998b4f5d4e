# The manual pages' lint.
man_scripts += tests/man/lint.sh
dist_check_SCRIPTS += tests/man/lint.sh
