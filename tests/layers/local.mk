# What may call what: from the compiler's include graph and the symbols that archives lack.
