# The manual pages' lint.
man_scripts += tests/man/lint.sh tests/man/keys.py
dist_check_SCRIPTS += tests/man/lint.sh tests/man/keys.py
