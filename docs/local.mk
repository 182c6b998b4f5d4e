# Texts that go into the tarball; nothing here is built.
EXTRA_DIST += docs/architecture.md docs/performance.md docs/protocol.md
