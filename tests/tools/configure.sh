#!/bin/sh
# What configure says and does, as somebody meets it who builds the project: where it may not run,
# what it refuses with which words, and what its options change. Compiles nothing of the project.
#
# shellcheck disable=SC2317 # functions that ok() calls
n=0
failed=0
configure=$srcdir/configure
if [ ! -x "$configure" ]; then
    echo "1..0 # SKIP there is no configure"
    exit 0
fi
srcdir=$(cd "$srcdir" && pwd)
here=$PWD

ok() { # ok WHAT COMMAND...: the command succeeds
    n=$((n + 1))
    what=$1
    shift
    if "$@" >/dev/null 2>&1; then
        echo "ok $n - $what"
    else
        failed=1
        echo "not ok $n - $what"
        tail -n 20 "$here/out" | sed 's/^/# /'
    fi
}
has() { grep -q -e "$1" "${2:-$here/out}"; }
lacks() { ! has "$@"; }
# Runs configure in a new folder, remembering in a cache what does not depend on its options; nothing
# of the project is compiled, so no folders for dependencies either, which would be half of the time.
run() {
    rm -rf "$here/b"
    mkdir "$here/b"
    cd "$here/b" || exit 1
    "$configure" -q --disable-dependency-tracking --cache-file="$here/cache" "$@" >"$here/out" 2>&1
    status=$?
    cd "$here" || exit 1
}

# A folder that looks like a git checkout, its front door included.
mkdir -p checkout/include/tbquic
cp -R "$srcdir/build-aux" checkout/
cp "$configure" checkout/
cp "$srcdir/include/tbquic/error.h" checkout/include/tbquic/
chmod -R u+w checkout # a tarball under test is read-only
echo '# The front door of libtbquic' >checkout/Makefile
(cd checkout && ./configure -q) >out 2>&1
status=$?
ok "in a checkout's own folder it refuses to run" test $status -ne 0
ok "it says what to do instead" has 'mkdir build && cd build && ../configure'
ok "and leaves the front door alone" has 'front door' checkout/Makefile

run
ok "it runs elsewhere" test $status -eq 0
ok "both libraries get a .pc" test -e b/pkgconfig/libtbquic.pc -a -e b/pkgconfig/libtbquic-ev.pc
ok "no sanitizers, no coverage unless asked for" \
    lacks '^TBQ_CFLAGS = .*\(fsanitize\|coverage\)' b/Makefile

run --disable-ev
ok "--disable-ev: it runs" test $status -eq 0
ok "--disable-ev: no libtbquic-ev" test -e b/pkgconfig/libtbquic.pc -a ! -e b/pkgconfig/libtbquic-ev.pc
ok "--disable-ev: and nothing links with libev" lacks '^EV_LIBS = -lev' b/Makefile

run --disable-http3
ok "--disable-http3 is taken, and changes nothing" test $status -eq 0
run --enable-sanitizers
ok "--enable-sanitizers" has '^TBQ_CFLAGS = .*-fsanitize=address,undefined' b/Makefile
ok "--enable-sanitizers: when linking too" has '^TBQ_LDFLAGS = .*-fsanitize=address' b/Makefile
run --enable-coverage
ok "--enable-coverage" has '^TBQ_CFLAGS = .*--coverage' b/Makefile

if command -v clang >/dev/null 2>&1; then
    rm -f cache
    run --enable-fuzzers CC=clang
    ok "--enable-fuzzers with clang" has '^FUZZ_LDFLAGS = -fsanitize=fuzzer' b/Makefile
else
    n=$((n + 1))
    echo "ok $n - --enable-fuzzers with clang # SKIP no clang"
fi
if command -v gcc >/dev/null 2>&1; then
    rm -f cache
    run --enable-fuzzers CC=gcc
    ok "--enable-fuzzers with gcc: refused" test $status -ne 0
    ok "with the words that help" has 'needs clang'
else
    n=$((n + 2))
    echo "ok $((n - 1)) - --enable-fuzzers with gcc: refused # SKIP no gcc"
    echo "ok $n - with the words that help # SKIP no gcc"
fi

# A machine with an ngtcp2 that is too old, and one with none.
mkdir bin
real=$(command -v pkg-config)
cat >bin/pkg-config <<E
#!/bin/sh
case "\$*" in
*libngtcp2*'>='*) exit 1 ;;
*--modversion*libngtcp2*) echo 0.12.1; exit 0 ;;
*--exists*libngtcp2*) exit "\${NO_NGTCP2:-0}" ;;
esac
exec '$real' "\$@"
E
chmod +x bin/pkg-config
rm -f cache
PKG_CONFIG=$here/bin/pkg-config
export PKG_CONFIG
run
ok "an old ngtcp2 is refused" test $status -ne 0
ok "naming what is here" has 'this machine has 0.12.1, which is too old'
ok "what is needed" has 'ngtcp2 1.11.0 or newer'
ok "and what to do" has 'tools/setup installs it'
rm -f cache
NO_NGTCP2=1
export NO_NGTCP2
run
ok "none at all: the same" has 'this machine has none'
echo "1..$n"
exit $failed
