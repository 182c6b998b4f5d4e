# Linters and the formatter over the sources of a git checkout; .ci/run calls them.
lint_sources = $$(cd '$(srcdir)' && git ls-files 'lib/*.c' 'cli/*.c' 'examples/*.c' 'bench/*.c')
format_sources = $$(cd '$(srcdir)' && git ls-files '*.c' '*.h')
lint_flags = $(DEFS) $(AM_CPPFLAGS) $(JANSSON_CFLAGS) $(CPPFLAGS)
CLANG_FORMAT = clang-format
CLANG_TIDY = clang-tidy
CPPCHECK = cppcheck

format:
	cd '$(srcdir)' && $(CLANG_FORMAT) -i $(format_sources)
format-check:
	@cd '$(srcdir)' && $(CLANG_FORMAT) --dry-run -Werror $(format_sources)

# .clang-tidy has the checks and, with its reason, each exception.
tidy:
	@echo $(lint_sources) | tr ' ' '\n' | sed 's|^|$(srcdir)/|' | \
	    xargs -P 2 -n 4 sh -c '$(CLANG_TIDY) --quiet "$$@" -- -std=gnu11 $(lint_flags) 2>&1 | \
	        { ! grep -E "(warning|error):" -A 4; }' tidy

# Exceptions: missingIncludeSystem says that
# headers of the machine are not read, by which it would only become slow; nullPointerArithmetic
# does not see that the cursor adds to no pointer when the size is 0.
cppcheck:
	$(CPPCHECK) -q -j 2 --std=c11 --enable=warning,performance,portability --inline-suppr \
	    --error-exitcode=1 --suppress=missingIncludeSystem --suppress=checkersReport \
	    --suppress=nullPointerArithmetic:'*/lib/base/cursor.c' \
	    -I '$(srcdir)/include' -I '$(srcdir)/lib' '$(srcdir)/lib' '$(srcdir)/include'

EXTRA_DIST += tools/coverage
# After a `make check` in a build with --enable-coverage: lines per layer, and of lib/ in all.
coverage-report:
	@$(PYTHON3) '$(srcdir)/tools/coverage' '$(abs_srcdir)' '$(abs_builddir)'

.PHONY: format format-check tidy cppcheck coverage-report
