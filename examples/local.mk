# Example programs: built by `make`, not installed, run by the tests (see tests/local.mk on
# how to name a test). They use the public headers and lib/libtbquic.la only.
