# The program tbq: public headers only.
bin_PROGRAMS += cli/tbq
cli_tbq_SOURCES = cli/bodies.c cli/broadcast.c cli/client.c cli/files.c cli/input.c cli/keys.c cli/loop.c cli/main.c cli/memory.c cli/options.c \
	cli/output.c cli/serve.c cli/server.c cli/tbq.h
cli_tbq_LDADD = lib/libtbquic.la $(JANSSON_LIBS) $(GNUTLS_LIBS)
dist_noinst_SCRIPTS += cli/demo.sh

# Where bash looks for it.
bashcompletiondir = $(datadir)/bash-completion/completions
dist_bashcompletion_DATA = cli/completion/tbq
