#!/usr/bin/env bash
# The completion of bash offers each command exactly the options that its --help shows.
n=0
failed=0
# shellcheck source=/dev/null
. "${srcdir:?}/cli/completion/tbq"

# is WHAT EXPECTED WORD...: what is offered for the last word, sorted
is() {
    local what=$1 expected=$2 got
    shift 2
    COMP_WORDS=(tbq "$@")
    COMP_CWORD=$#
    _tbq
    got=$(printf '%s\n' "${COMPREPLY[@]}" | sort | xargs)
    n=$((n + 1))
    if [ "$got" = "$expected" ]; then
        echo "ok $n - $what"
    else
        failed=1
        echo "not ok $n - $what"
        printf '# expected: %s\n# got:      %s\n' "$expected" "$got"
    fi
}

is "the commands" "--help --version broadcast client help id keygen server" ""
is "of the beginning of one" "server" s
for command in server client broadcast keygen id; do
    options=$("${TBQ:?}" "$command" --help | grep -o -e '--[a-z-]*' | cat - <(echo --help) | sort -u | xargs)
    is "$command: the options of its --help" "$options" "$command" --
done
is "values of --mode" "client hybrid server" server --mode ""
is "values of --log-level" "debug error info warning" client --log-level ""
is "values of --congestion" "bbr" client --congestion b
is "values of --trust" "open" server --trust o
: >afile
mkdir afolder
is "files" "afile afolder" client --send a
is "folders" "afolder" server --store a
echo "1..$n"
exit $failed
