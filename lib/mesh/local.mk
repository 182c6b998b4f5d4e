# The mesh layer: its .c and .h files.
noinst_LTLIBRARIES += lib/mesh/libtbi_mesh.la
lib_mesh_libtbi_mesh_la_SOURCES = \
	lib/mesh/book.c lib/mesh/book.h \
	lib/mesh/book_file.c \
	lib/mesh/budget.c lib/mesh/budget.h \
	lib/mesh/observed.c lib/mesh/observed.h \
	lib/mesh/scope.c lib/mesh/scope.h \
	lib/mesh/select.c lib/mesh/select.h \
	lib/mesh/tickets.c lib/mesh/tickets.h \
	lib/mesh/tries.c lib/mesh/tries.h
