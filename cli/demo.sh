#!/bin/sh
# cli/demo.sh - a server and two clients as real processes on loopback. Each step is checked: the
# demo ends with exit status 1 at the first thing that is not as it says.
set -eu
tbq=${TBQ:-build/cli/tbq}
dir=$(mktemp -d)
server=
client=
finish() {
    status=$?
    [ -z "$client" ] || kill "$client" 2>/dev/null || :
    [ -z "$server" ] || kill "$server" 2>/dev/null || :
    rm -rf "$dir"
    [ "$status" = 0 ] || echo "demo: it did not go as it should (see above)" >&2
    exit "$status"
}
trap finish EXIT
trap 'exit 1' INT TERM

now_ms() { # of a clock that only ever goes on, as far as /proc has one
    read -r up _ </proc/uptime
    echo "${up%.*}${up#*.}0"
}
began=
took() { [ -z "$began" ] || echo "($(($(now_ms) - began)) ms)"; }
step() {
    took
    printf '\n%s\n' "$*"
    began=$(now_ms)
}
wrong() { echo "demo: $*" >&2; exit 1; }

# Waits until a file has a line with the given word: at most 10 s, asked every 20 ms.
wait_for() {
    tries=0
    until grep -q "$2" "$1" 2>/dev/null; do
        tries=$((tries + 1))
        [ "$tries" -lt 500 ] || wrong "nothing like \"$2\" came"
        sleep 0.02
    done
}

start_server() { # start_server BIND
    : >"$dir/server.log"
    "$tbq" server --bind "$1" --state "$dir/state" --store "$dir/store" --json \
        >"$dir/server.log" 2>"$dir/server.err" &
    server=$!
    wait_for "$dir/server.log" '"ready"'
}

mkdir "$dir/store"
step "1. A key for the server. Its peer id is the hash of its public key:"
"$tbq" keygen --state "$dir/state"

step "2. The server starts; this is the address that pins its key:"
start_server 127.0.0.1:0
uri=$(sed -n 's/.*"uri":"\([^"]*\)".*/\1/p' "$dir/server.log")
port=${uri##*:}
echo "$uri"

step "3. A client pings it three times, and tells the round trips:"
"$tbq" client "$uri" --count 3

step "4. Two clients at once send real files, and the server stores them under their hashes:"
program=$(dirname "$tbq")/.libs/tbq # in a build folder the other one is libtool's wrapper
[ -f "$program" ] || program=$tbq
head -c 900000 "$program" >"$dir/sent1" || wrong "no file to send"
cp "$0" "$dir/sent2"
"$tbq" client "$uri" --send "$dir/sent1" >"$dir/one.log" &
client=$!
"$tbq" client "$uri" --send "$dir/sent2" >"$dir/two.log" || wrong "the second client failed"
wait "$client" || wrong "the first client failed"
client=
for n in one two; do sed "s/^/client $n: /" "$dir/$n.log"; done
for sent in "$dir/sent1" "$dir/sent2"; do
    hash=$(sha256sum <"$sent" | cut -d' ' -f1)
    cmp "$sent" "$dir/store/$hash" || wrong "the server does not have the same"
    echo "the server has it: sha256 $hash"
    rm "$dir/store/$hash"
done

step "5. A client sends 2,000 messages of 2 kB. Under way, the server is killed, and started again:"
# Several receive windows in all: much of it is not sent yet when the server dies.
awk 'BEGIN { for (i = 1; i <= 2000; i++) printf "message %06d of a stream %1975s\n", i, "." }' \
    >"$dir/lines"
"$tbq" client "$uri" --lines --send "$dir/lines" --json --timeout 40000 \
    >"$dir/client.log" 2>"$dir/client.err" &
client=$!
wait_for "$dir/client.log" '"delivered"'
kill -9 "$server"
wait "$server" 2>/dev/null || :
before=$(grep -c '"event":"delivered"' "$dir/client.log" || :)
case $before in
0 | 2000) wrong "the kill did not fall inside the stream" ;;
esac
echo "killed after $before of 2000 were told delivered"
start_server "127.0.0.1:$port"
echo "started again on port $port"
wait "$client" && ended=0 || ended=$?
client=
delivered=$(grep -c '"event":"delivered"' "$dir/client.log" || :)
undelivered=$(grep -c '"event":"undelivered"' "$dir/client.log" || :)
unknown=$(grep -c '"event":"unknown"' "$dir/client.log" || :)
after=$((delivered - before))
[ "$after" -gt 0 ] || wrong "nothing was delivered after the kill"
grep -q '"event":"message"' "$dir/server.log" || wrong "the restarted server got nothing"
echo "delivered $delivered ($after of them after the kill), not delivered $undelivered, unknown $unknown"
[ $((delivered + undelivered + unknown)) = 2000 ] || wrong "a message has no fate, or two (client: $ended)"
# The numbers too, over all three fates: one told twice must not stand in for one that is missing.
grep -E '"event":"(delivered|undelivered|unknown)"' "$dir/client.log" |
    sed 's/.*"id":\([0-9]*\).*/\1/' | sort -n >"$dir/ids"
seq 2000 | cmp -s - "$dir/ids" || wrong "a message has no fate, and another has two"
# What is in the store, by what the files hold; and each is named by its hash.
(cd "$dir/store" && find . -type f ! -name '.*' -exec sha256sum {} +) |
    awk '$1 != substr($2, 3) { exit 1 }' || wrong "a file in the store is not what its name says"
find "$dir/store" -type f ! -name '.*' -exec awk '{ print $2 + 0 }' {} + | sort >"$dir/stored"
sed -n 's/.*"event":"delivered","id":\([0-9]*\).*/\1/p' "$dir/client.log" | sort >"$dir/told"
comm -23 "$dir/told" "$dir/stored" >"$dir/missing"
[ ! -s "$dir/missing" ] || wrong "messages were told delivered, and are not in the store"
echo "every message has one fate, and all that was told delivered is in the server's store"

step "6. The server stops, on request:"
kill -TERM "$server"
wait "$server" || wrong "the server ended with status $?"
server=
echo "it ended with status 0"
took
