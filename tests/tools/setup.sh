#!/bin/sh
# tools/setup finds the entry that serves bookworm in all the forms in which apt takes it, and
# keeps what belongs to it. (Nothing is installed here.)
n=0
failed=0
setup=$srcdir/tools/setup
TBQUIC_SETUP_ROOT=$PWD/root
export TBQUIC_SETUP_ROOT

fresh() {
    rm -rf root
    mkdir -p root/etc/apt/sources.list.d
}
# is WHAT EXPECTED: the stanza that it would write
is() {
    n=$((n + 1))
    got=$("$setup" --sources bookworm)
    if [ "$got" = "$2" ]; then
        echo "ok $n - $1"
    else
        failed=1
        echo "not ok $n - $1"
        printf 'expected:\n%s\ngot:\n%s\n' "$2" "$got" | sed 's/^/# /'
    fi
}

fresh
cat >root/etc/apt/sources.list.d/debian.sources <<'E'
# a comment
Types: deb deb-src
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main contrib
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://mirror.example/debian-security
Suites: bookworm-security
Components: main
E
is "a .sources file" "Types: deb
URIs: http://mirror.example/debian
Suites: bookworm-backports
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg"

fresh
cat >root/etc/apt/sources.list <<'E'
# deb http://old.example/debian bookworm main
deb-src http://src.example/debian bookworm main
deb http://security.example/debian-security bookworm-security main
deb [arch=amd64,arm64 signed-by=/etc/apt/keyrings/d.gpg] http://mirror.example/debian bookworm main # ours
E
is "a .list line with options" "Types: deb
URIs: http://mirror.example/debian
Suites: bookworm-backports
Components: main
Architectures: amd64 arm64
Signed-By: /etc/apt/keyrings/d.gpg"

fresh
cat >root/etc/apt/sources.list.d/a.sources <<'E'
Enabled: no
Types: deb
URIs: http://off.example/debian
Suites: bookworm
Components: main

Types: deb-src
URIs: http://src.example/debian
Suites: bookworm
Components: main

types: deb
uris: http://mirror.example/debian
suites: bookworm
components: main
signed-by:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 abc
 -----END PGP PUBLIC KEY BLOCK-----
E
is "disabled stanzas are passed over, an inline key is kept" "Types: deb
uris: http://mirror.example/debian
Suites: bookworm-backports
Components: main
signed-by:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 abc
 -----END PGP PUBLIC KEY BLOCK-----"

fresh
cat >root/etc/apt/sources.list.d/a.sources.disabled <<'E'
Types: deb
URIs: http://off.example/debian
Suites: bookworm
Components: main
E
echo 'deb http://off.example/debian bookworm main' >root/etc/apt/sources.list.d/b.list.save
echo 'deb http://other.example/tools stable extra' >root/etc/apt/sources.list.d/c.list
echo 'deb http://trixie.example/debian trixie main' >root/etc/apt/sources.list.d/d.list
is "files that apt would not read, and other suites, give nothing" ""

fresh
printf 'deb cdrom:[Debian 12]/ bookworm main\ndeb\thttp://mirror.example/debian/\tbookworm\tmain\n' \
    >root/etc/apt/sources.list
is "not from a CD; tabs" "Types: deb
URIs: http://mirror.example/debian/
Suites: bookworm-backports
Components: main"

n=$((n + 1))
got=$("$setup" --sources bookworm trixie | grep Suites)
if [ "$got" = "Suites: trixie" ]; then
    echo "ok $n - the same way leads to another suite"
else
    failed=1
    echo "not ok $n - the same way leads to another suite"
    echo "# $got"
fi

# What is only unpacked is missed too, by its name, and --check leaves it at that.
n=$((n + 1))
what="--check names what is not unpacked"
if command -v gtlsserver >/dev/null; then
    echo "ok $n - $what # SKIP ngtcp2-server is installed"
else
    got=$(TBQUIC_INTEROP=$PWD/nowhere "$setup" ci --check 2>&1)
    status=$?
    case "$status $got" in
    "2 "*"missing:"*" ngtcp2-server"*"nowhere"*) [ ! -e nowhere ] && echo "ok $n - $what" ;;
    *) false ;;
    esac || {
        failed=1
        echo "not ok $n - $what"
        printf 'exit %s\n%s\n' "$status" "$got" | sed 's/^/# /'
    }
fi

n=$((n + 1))
what="words are kept in the command that is told"
got=$(TBQUIC_INTEROP=$PWD/nowhere "$setup" bench --check 2>&1)
status=$?
case "$status $got" in
0*) echo "ok $n - $what # SKIP nothing is missing" ;;
"2 "*"/tools/setup bench
"*) echo "ok $n - $what" ;;
*)
    failed=1
    echo "not ok $n - $what"
    printf 'exit %s\n%s\n' "$status" "$got" | sed 's/^/# /'
    ;;
esac

echo "1..$n"
exit $failed
