# Bindings are built by their own language's means, from an installed libtbquic; nothing here is
# built by make. tests/interop builds and runs them.
EXTRA_DIST += bindings/haskell/README.md bindings/haskell/tbquic.cabal bindings/haskell/Setup.hs \
	bindings/haskell/src/Network/TBQuic.hs bindings/haskell/src/Network/TBQuic/C.hsc \
	bindings/haskell/examples/snippets.hs bindings/haskell/tests/api.hs
dist_noinst_SCRIPTS += bindings/haskell/scripts/test-quic.hs
