# What may call what: from the compiler's include graph and the symbols that archives lack.
layer_scripts += tests/layers/layers.py
dist_check_SCRIPTS += tests/layers/layers.py
