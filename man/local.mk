# Manual pages. The tests lint every one of them.
dist_man_MANS += man/libtbquic.3 man/tbq-wire.7 man/tbq.1
