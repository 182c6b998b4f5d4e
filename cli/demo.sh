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

step() { printf '\n%s\n' "$*"; }
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

step "3. A client pings it three times:"
"$tbq" client "$uri" --count 3

step "4. A client sends a real file, and the server stores it under its hash:"
cp "$tbq" "$dir/file" 2>/dev/null || wrong "no file to send"
head -c 900000 "$dir/file" >"$dir/sent"
"$tbq" client "$uri" --send "$dir/sent"
hash=$(sha256sum <"$dir/sent" | cut -d' ' -f1)
[ -f "$dir/store/$hash" ] || wrong "the server has no file of that hash"
cmp "$dir/sent" "$dir/store/$hash" || wrong "the file is not the same"
echo "the server has it: sha256 $hash"

step "5. A client sends 2,000 messages. Under way, the server is killed, and started again:"
i=0
while [ "$i" -lt 2000 ]; do
    echo "message number $i of a stream that survives its server"
    i=$((i + 1))
done >"$dir/lines"
"$tbq" client "$uri" --lines --send "$dir/lines" --json --timeout 40000 \
    >"$dir/client.log" 2>"$dir/client.err" &
client=$!
wait_for "$dir/client.log" '"delivered"'
kill -9 "$server"
wait "$server" 2>/dev/null || :
echo "killed after $(grep -c '"delivered"' "$dir/client.log") of 2000 were told delivered"
start_server "127.0.0.1:$port"
echo "started again on port $port"
wait "$client" && ended=0 || ended=$?
client=
delivered=$(grep -c '"event":"delivered"' "$dir/client.log" || :)
undelivered=$(grep -c '"event":"undelivered"' "$dir/client.log" || :)
unknown=$(grep -c '"event":"unknown"' "$dir/client.log" || :)
echo "delivered $delivered, not delivered $undelivered, unknown $unknown"
[ $((delivered + undelivered + unknown)) = 2000 ] || wrong "a message has no fate, or two (client: $ended)"
# The numbers too, over all three fates: one told twice must not stand in for one that is missing.
grep -E '"event":"(delivered|undelivered|unknown)"' "$dir/client.log" |
    sed 's/.*"id":\([0-9]*\).*/\1/' | sort -n >"$dir/ids"
seq 2000 | cmp -s - "$dir/ids" || wrong "a message has no fate, and another has two"
sed -n 's/.*"event":"delivered","id":\([0-9]*\).*/\1/p' "$dir/client.log" | while read -r id; do
    sed -n "${id}p" "$dir/lines" | tr -d '\n' | sha256sum | cut -d' ' -f1
done >"$dir/hashes"
missing=0
while read -r hash; do
    [ -f "$dir/store/$hash" ] || missing=$((missing + 1))
done <"$dir/hashes"
[ "$missing" = 0 ] || wrong "$missing messages were told delivered, and are not in the store"
echo "every message has one fate, and all that was told delivered is in the server's store"

step "6. The server stops, on request:"
kill -TERM "$server"
wait "$server" || wrong "the server ended with status $?"
server=
echo "it ended with status 0"
