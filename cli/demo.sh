#!/bin/sh
# cli/demo.sh - three nodes and some clients as real processes on loopback. Each step is checked: the
# demo ends with exit status 1 at the first thing that is not as it says.
set -eu
tbq=${TBQ:-build/cli/tbq}
dir=$(mktemp -d)
server=
client=
nodes=
finish() {
    status=$?
    [ -z "$client" ] || kill "$client" 2>/dev/null || :
    [ -z "$server" ] || kill "$server" 2>/dev/null || :
    for node in $nodes; do kill "$node" 2>/dev/null || :; done
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

step "6. Two more nodes start. Each knows the first one's address, and nothing else:"
mkdir "$dir/shared"
cp "$0" "$dir/shared/demo.sh"
start_node() { # start_node NAME OPTION...
    name=$1
    shift
    "$tbq" server --bind 127.0.0.1:0 --state "$dir/$name" --bootstrap "$uri" "$@" --json \
        >"$dir/$name.log" 2>"$dir/$name.err" &
    nodes="$nodes $!"
    wait_for "$dir/$name.log" '"ready"'
}
start_node second --serve "$dir/shared"
start_node third
second=$(sed -n 's/.*"event":"ready","peer_id":"\([^"]*\)".*/\1/p' "$dir/second.log")
third=$(sed -n 's/.*"event":"ready","peer_id":"\([^"]*\)".*/\1/p' "$dir/third.log")
wait_for "$dir/second.log" "\"connected\",\"peer_id\":\"$third"
wait_for "$dir/third.log" "\"connected\",\"peer_id\":\"$second"
echo "the second node is connected to the third: $third"
echo "the third node is connected to the second: $second"

step "7. A client asks the second node for a file that it serves:"
printf demo.sh >"$dir/question"
"$tbq" client "$(sed -n 's/.*"uri":"\([^"]*\)".*/\1/p' "$dir/second.log")" \
    --request "$dir/question" --output "$dir/answer" >"$dir/asked.log" || wrong "no answer came"
cmp "$0" "$dir/answer" || wrong "the answer is not the file"
echo "the answer is the file: $(wc -c <"$dir/answer") bytes"

step "8. One message to all, by the one address:"
echo "lunch at noon" | "$tbq" broadcast --bootstrap "$uri" >"$dir/broadcast.log" ||
    wrong "the broadcast reached nobody"
grep '^reached [0-9]*, ' "$dir/broadcast.log" # the counts; ids begin with digits too
grep '^reached' "$dir/broadcast.log" | grep -v , | sort
for log in server second third; do
    grep -q '"kind":"transition","size":14' "$dir/$log.log" || wrong "$log did not get it"
done

step "9. They stop, on request:"
for node in $nodes; do
    kill -TERM "$node"
    wait "$node" || wrong "a node ended with status $?"
done
nodes=
kill -TERM "$server"
wait "$server" || wrong "the server ended with status $?"
server=
echo "all ended with status 0"
took
