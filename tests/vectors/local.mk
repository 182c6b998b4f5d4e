# Golden bytes of docs/protocol.md, read by libtbquic and by a second implementation.
vector_tests += tests/vectors/test_vectors
tests_vectors_test_vectors_SOURCES = \
	tests/vectors/render.c tests/vectors/render.h \
	tests/vectors/test_vectors.c \
	tests/vectors/vectors.c tests/vectors/vectors.h
tests_vectors_test_vectors_LDADD = lib/mesh/libtbi_mesh.la $(UP_TO_IDENTITY)
check_PROGRAMS += $(vector_tests)

vector_scripts += tests/vectors/check_vectors.py
dist_check_SCRIPTS += $(vector_scripts)
EXTRA_DIST += \
	tests/vectors/README.md \
	tests/vectors/codes.txt \
	tests/vectors/distances.txt \
	tests/vectors/exchange.txt \
	tests/vectors/frames.txt \
	tests/vectors/ids.txt \
	tests/vectors/kinds.txt \
	tests/vectors/orders.txt \
	tests/vectors/prologues.txt \
	tests/vectors/records.txt \
	tests/vectors/scores.txt \
	tests/vectors/varints.txt
