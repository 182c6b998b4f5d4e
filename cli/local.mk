# The program tbq: public headers only. Add bin_PROGRAMS += cli/tbq with its sources here; it
# links lib/libtbquic.la $(JANSSON_LIBS).
