#!/bin/sh
# tools/profiled refuses a folder that is not its own, and leaves it as it was. (Nothing is built here:
# a stage of .ci/run does that.)
n=0
failed=0

# refuses WHAT FOLDER WORDS: with exit 2 and a message that has WORDS in it. (Where it does not,
# configure ends it soon.)
refuses() {
    n=$((n + 1))
    said=$("$srcdir/tools/profiled" "$2" --unknown 2>&1)
    status=$?
    case $status:$said in
    2:*"$3"*) echo "ok $n - $1" ;;
    *)
        failed=1
        echo "not ok $n - $1"
        echo "# exit $status: $said"
        ;;
    esac
}
# is_there WHAT PATH
is_there() {
    n=$((n + 1))
    if [ -e "$2" ]; then
        echo "ok $n - $1"
    else
        failed=1
        echo "not ok $n - $1"
    fi
}

mkdir -p other/profile
touch other/profile/mine
refuses "a folder that is not empty" other "neither empty nor made by tools/profiled"
is_there "and leaves what is in it" other/profile/mine
refuses "a path with a space" "a b" "has a space"
refuses "the folder of the sources" "$srcdir" "where the sources are"
echo "1..$n"
exit $failed
