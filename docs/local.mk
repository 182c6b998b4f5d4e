# Texts that go into the tarball; nothing here is built.
EXTRA_DIST += docs/architecture.md docs/performance.md docs/protocol.md \
	docs/plots/bulk.svg docs/plots/growth.svg docs/plots/handshakes.svg docs/plots/idle.svg \
	docs/plots/loss-20ms.svg docs/plots/loss-100ms.svg docs/plots/oneway.svg \
	docs/plots/start.svg docs/plots/trips.svg
