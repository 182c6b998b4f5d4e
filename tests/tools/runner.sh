#!/bin/sh
# The runner itself: what counts, and that half a test is a failure.
n=0
failed=0
mkdir -p fake/src/tests
runner=$srcdir/tools/run-tests
more=--jobs=1
srcdir=$PWD/fake/src
builddir=$PWD/fake/build
export srcdir builddir

# says WHAT LAST-LINE STATUS SCRIPT
says() {
    n=$((n + 1))
    printf '#!/bin/sh\n%s\n' "$4" >fake/src/tests/t
    chmod +x fake/src/tests/t
    got=$("${PYTHON3:-python3}" "$runner" "$more" unit:tests/t)
    status=$?
    if [ "$(printf '%s\n' "$got" | tail -n 1)" = "$2" ] && [ $status = "$3" ]; then
        echo "ok $n - $1"
    else
        failed=1
        echo "not ok $n - $1"
        printf 'status %s\n%s\n' $status "$got" | sed 's/^/# /'
    fi
}

says "all pass" "2 passed, 0 failed" 0 'echo ok 1 - a; echo ok 2; echo 1..2'
says "one fails" "1 passed, 1 failed" 1 'echo 1..2; echo ok 1 - a; echo not ok 2 - b; exit 1'
says "fails, and yet exit 0" "0 passed, 1 failed" 1 'echo 1..1; echo not ok 1'
says "a skip is named" "1 passed, 0 failed, 1 skipped" 0 \
    'echo 1..2; echo ok 1; echo "ok 2 - b # SKIP no root"'
says "all skipped" "0 passed, 0 failed, 1 skipped" 0 'echo "1..0 # SKIP no root"'
says "dies before its plan" "1 passed, 1 failed" 1 'echo ok 1'
says "dies of a signal" "1 passed, 1 failed" 1 'echo ok 1; echo 1..1; kill -SEGV $$'
says "stops short of its plan" "1 passed, 1 failed" 1 'echo 1..2; echo ok 1'
says "exit status against all that it said" "1 passed, 1 failed" 1 'echo 1..1; echo ok 1; exit 3'
says "says nothing" "0 passed, 1 failed" 1 ':'
more=--first
says "the first failure is enough" "1 passed, 1 failed" 1 \
    'echo ok 1; echo not ok 2 - b; exec sleep 1000'
says "where there is none, all of it runs" "2 passed, 0 failed" 0 \
    'echo 1..2; echo ok 1; sleep 0.3; echo ok 2'
more=--jobs=1
TIME_FACTOR=0.01
export TIME_FACTOR
says "too slow" "1 passed, 1 failed" 1 'echo 1..2; echo ok 1; while :; do :; done'
echo "1..$n"
exit $failed
