# Texts that go into the tarball; nothing here is built.
EXTRA_DIST += docs/protocol.md docs/performance.md
