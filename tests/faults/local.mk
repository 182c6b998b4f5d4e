# One-line breakages that the tests must notice; .ci/run runs them, `make check` does not.
