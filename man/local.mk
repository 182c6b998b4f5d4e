# Manual pages: dist_man_MANS += man/tbq.1 and so on. The tests lint every one of them.
