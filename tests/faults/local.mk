# One-line breakages that the tests must notice; .ci/run runs them, `make check` does not. They
# are of use in a git checkout only and do not go into the tarball.
