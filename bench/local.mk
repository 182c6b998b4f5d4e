# Benchmarks: EXTRA_PROGRAMS, built and run by `make bench`, never by `make check`.
