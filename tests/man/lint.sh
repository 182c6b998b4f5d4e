#!/bin/sh
# Every manual page is clean to mandoc's lint.
n=0
failed=0
for page in "$srcdir"/man/*.[1-9]; do
    [ -e "$page" ] || continue
    n=$((n + 1))
    name=${page##*/}
    if ! command -v mandoc >/dev/null 2>&1; then
        echo "ok $n - $name # SKIP no mandoc"
        continue
    fi
    # Whether a page that it refers to is installed says nothing about the page; and lines of
    # source may have 100 columns here, as everywhere in the project.
    wrong=$(mandoc -T lint -W style "$page" 2>&1 |
        grep -v -e 'referenced manual not found' -e 'text line longer than 80 bytes')
    if [ -z "$wrong" ]; then
        echo "ok $n - $name"
    else
        failed=1
        echo "not ok $n - $name"
        printf '%s\n' "$wrong" | sed 's/^/# /'
    fi
done
echo "1..$n"
exit $failed
