#!/usr/bin/env python3
"""Holds the layers of docs/architecture.md to what the compiler and the linker saw.

- What a file of a layer includes, directly or not (`cc -MM`), belongs to a layer that it may use.
- What an object of a layer calls (`nm`) is defined in a layer that it may use, and is none of the
  functions that reach outside: clock, sockets, files, OS randomness, memory past lib/base/alloc.c.
- Each public header compiles alone, as C11 and as C++, without warnings; only ev.h names libev.
- libtbquic.so shows tbq_ symbols only, all that its headers declare, and does not need libev.
- No file of lib/ is longer than 800 lines.

Prints TAP. An exception below has its reason beside it.
"""

import concurrent.futures
import os
import re
import shlex
import shutil
import subprocess
import sys

SRC = os.environ["srcdir"]
BUILD = os.environ["builddir"]
CC = shlex.split(os.environ.get("CC", "cc"))
CPPFLAGS = shlex.split(os.environ.get("CPPFLAGS_USED", ""))
NM = shlex.split(os.environ.get("NM", "nm"))[:1]
EV = os.environ.get("EV", "yes") == "yes"

LINES_MAX = 800

# Which layers a layer may use, itself apart.
BELOW = {
    "base": [],
    "wire": ["base"],
    "identity": ["base", "wire"],
    "quic": ["base", "wire", "identity"],
    "link": ["base", "wire"],
    "mesh": ["base", "wire"],
    "http": ["base", "quic"],
    "node": ["base", "wire", "identity", "quic", "link", "mesh", "http"],
    "io": ["base"],
    "server": ["base", "wire", "identity", "quic", "link", "mesh", "http", "node", "io"],
    "ev": [],
}
# What may be called outside the project, by layer: only lib/io meets the system.
OUTSIDE = {
    "clock": """clock clock_gettime clock_getres gettimeofday time nanosleep clock_nanosleep sleep
        usleep timer_create timerfd_create timerfd_settime alarm setitimer ftime""",
    "socket": """socket socketpair bind connect listen accept accept4 send recv sendto recvfrom
        sendmsg recvmsg sendmmsg recvmmsg setsockopt getsockopt getsockname getpeername shutdown
        getaddrinfo freeaddrinfo getnameinfo gethostbyname if_nametoindex getifaddrs""",
    "file": """open openat creat fopen fopen64 fdopen freopen read write close pread pwrite readv
        writev fread fwrite fgets fputs fputc fprintf vfprintf printf vprintf puts putchar perror
        dprintf unlink unlinkat rename renameat mkdir rmdir link symlink stat fstat lstat fstatat
        access chmod fchmod opendir readdir fsync fdatasync ftruncate flock lockf fcntl ioctl mmap
        munmap mkstemp tmpfile stdin stdout stderr syslog realpath getcwd chdir
        gnutls_load_file gnutls_certificate_set_x509_key_file
        gnutls_certificate_set_x509_key_file2 gnutls_certificate_set_x509_trust_file
        gnutls_certificate_set_x509_trust_dir gnutls_certificate_set_x509_system_trust""",
    "randomness": """getrandom getentropy rand rand_r srand random srandom random_r drand48 lrand48
        arc4random arc4random_buf arc4random_uniform gnutls_rnd""",
    "waiting": """epoll_create epoll_create1 epoll_ctl epoll_wait epoll_pwait epoll_pwait2 poll ppoll
        select pselect eventfd eventfd_read eventfd_write pipe pipe2 signalfd pause""",
    "process": """getenv secure_getenv setenv system popen fork vfork execve execv execvp posix_spawn
        signal sigaction kill raise exit _exit quick_exit atexit getpid setlocale
        pthread_create thrd_create""",
    "memory": """malloc calloc realloc reallocarray free strdup strndup posix_memalign aligned_alloc
        memalign asprintf vasprintf getline open_memstream gnutls_malloc gnutls_calloc""",
    "simulator": "gnutls_global_set_time_function",
}
FORBIDDEN = {name: kind for kind, names in OUTSIDE.items() for name in names.split()}
# (layer, object or *): kinds or names that it may call after all.
ALLOWED = {
    ("base", "alloc"): {"memory"},  # the default of the allocator hook
    # lib/io is where the system is met; its memory comes from lib/base all the same.
    ("io", "*"): {"clock", "socket", "file", "randomness", "waiting", "process"},
    # A library of its own, beside the server and its allocator: one struct for each loop.
    ("ev", "*"): {"memory"},
}
# Nothing anywhere in the library may do these.
NEVER = {"exit", "_exit", "quick_exit", "signal", "sigaction", "pthread_create", "thrd_create",
         "fork", "system", "setlocale", "rand", "srand", "gnutls_global_set_time_function"}

tests = 0
failed = 0


def result(wrong, what, skip=None):
    global tests, failed
    tests += 1
    if skip:
        print(f"ok {tests} - {what} # SKIP {skip}")
        return
    print(f"{'not ok' if wrong else 'ok'} {tests} - {what}")
    for line in wrong:
        print(f"# {line}")
    failed += 1 if wrong else 0
    sys.stdout.flush()


def out(*command, **more):
    # In the build folder: make's -I options are relative to it.
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=BUILD, **more)
    return done.returncode, done.stdout, done.stderr


def layers():
    there = sorted(os.listdir(os.path.join(SRC, "lib")))
    return [d for d in there if os.path.isdir(os.path.join(SRC, "lib", d)) and files(d)]


def files(layer):
    folder = os.path.join(SRC, "lib", layer)
    return sorted(
        os.path.join(root, name)
        for root, _, names in os.walk(folder)
        for name in names
        if name.endswith((".c", ".h"))
    )


# ---- include graph ------------------------------------------------------------------------------


def included(path):
    """All project files that the compiler reads for `path`, as paths from the source folder."""
    rv, text, err = out(*CC, *CPPFLAGS, "-MM", "-MG", path)
    if rv != 0:
        return None, err.strip().splitlines()[:3]
    names = text.replace("\\\n", " ").split(":", 1)[1].split()
    real = os.path.realpath(SRC)
    found = []
    for name in names:
        full = os.path.realpath(os.path.join(BUILD, name))
        if full.startswith(real + os.sep):
            found.append(os.path.relpath(full, real))
        elif not os.path.isabs(name):
            found.append(name)  # -MG: a header that is not there
    return found, []


def check_includes(layer, pool):
    may = {layer, *BELOW[layer]}
    wrong = []
    for path, (names, why) in zip(files(layer), pool.map(included, files(layer))):
        short = os.path.relpath(path, SRC)
        if names is None:
            wrong += [f"{short}: does not compile"] + why
            continue
        for name in names:
            if name.startswith("lib/") and name.split("/")[1] not in may:
                wrong.append(f"{short} reads {name}")
            elif name == "include/tbquic/ev.h" and layer != "ev":
                wrong.append(f"{short} reads {name}: only lib/ev may")
            elif not name.startswith(("lib/", "include/tbquic/")):
                wrong.append(f"{short} reads {name}")
    result(wrong, f"lib/{layer} includes only {', '.join(BELOW[layer]) or 'public headers'}")


def check_users(folder, pool):
    """cli/ and examples/ are programs like anybody's: public headers only."""
    paths = []
    for root, _, names in os.walk(os.path.join(SRC, folder)):
        paths += sorted(os.path.join(root, n) for n in names if n.endswith((".c", ".h")))
    if not paths:
        return
    wrong = []
    for path, (names, why) in zip(paths, pool.map(included, paths)):
        if names is None:
            wrong += [f"{os.path.relpath(path, SRC)}: does not compile"] + why
            continue
        for name in names:
            if not name.startswith((folder + "/", "include/tbquic/")):
                wrong.append(f"{os.path.relpath(path, SRC)} reads {name}")
    result(wrong, f"{folder} includes only public headers")


# ---- symbols ------------------------------------------------------------------------------------


def objects(layer):
    """Object name -> (defined, undefined) of a layer's archive; None if there is no archive. Where
    tools/libtool-static has linked, it is beside its .la; ev's, which holds all there, is none."""
    archive = os.path.join(BUILD, "lib", layer, ".libs", f"libtbi_{layer}.a")
    if layer == "ev":
        archive = os.path.join(BUILD, "lib/.libs/libtbquic-ev.a")
    elif not os.path.exists(archive):
        archive = archive.replace("/.libs", "")
    if not os.path.exists(archive):
        return None
    rv, text, err = out(*NM, "-g", "-P", "-A", archive)
    if rv != 0:
        sys.exit(f"Bail out! nm {archive}: {err}")
    found = {}
    for line in text.splitlines():
        m = re.match(r"^.*\[(.+?)\]: (\S+) (\S)", line)
        if not m:
            continue
        name, symbol, kind = m.groups()
        entry = found.setdefault(re.sub(r"\.l?o$", "", name), (set(), set()))
        entry[1 if kind in "Uwv" else 0].add(symbol)
    return found


def plain(symbol):
    """The function behind glibc's checked, large-file and versioned names."""
    symbol = symbol.split("@")[0]
    symbol = re.sub(r"^__(?:isoc\d+_)?(\w+?)_chk$", r"\1", symbol)
    symbol = re.sub(r"^__isoc\d+_", "", symbol)
    base = re.sub(r"64$", "", symbol)
    return base if base in FORBIDDEN else symbol


def check_symbols(layer, all_objects, home):
    found = all_objects.get(layer)
    if found is None:
        result([], f"lib/{layer} calls only what it may", skip="no static archives in this build")
        return
    may = {layer, *BELOW[layer]}
    wrong = []
    for name, (_, undefined) in sorted(found.items()):
        allowed = ALLOWED.get((layer, "*"), set()) | ALLOWED.get((layer, name), set())
        for symbol in sorted(undefined):
            symbol = plain(symbol)
            kind = FORBIDDEN.get(symbol)
            if symbol in NEVER or (kind and kind not in allowed and symbol not in allowed):
                wrong.append(f"{layer}/{name} calls {symbol} ({kind})")
            elif symbol.startswith("ev_") and layer != "ev":
                wrong.append(f"{layer}/{name} calls libev's {symbol}")
            elif symbol in home and home[symbol] not in may and layer != "ev":
                wrong.append(f"{layer}/{name} calls {symbol} of lib/{home[symbol]}")
            elif layer == "ev" and symbol.startswith("tbi_"):
                wrong.append(f"{layer}/{name} calls {symbol}: only public functions")
    result(wrong, f"lib/{layer} calls only what it may")
    if layer in ("node", "quic", "link", "identity", "wire", "base"):
        wrong = [
            f"{layer}/{name} defines {symbol}"
            for name, (defined, _) in sorted(found.items())
            for symbol in sorted(defined)
            if not symbol.startswith(("tbi_", "tbq_", "__asan", "__odr_asan", "__gcov", "__sancov"))
        ]
        result(wrong, f"lib/{layer} shows other files only tbi_ and tbq_ names")


# ---- public headers -----------------------------------------------------------------------------


def check_headers():
    folder = os.path.join(SRC, "include/tbquic")
    headers = sorted(n for n in os.listdir(folder) if n.endswith(".h"))
    compilers = [("C11", CC, ["-std=c11", "-x", "c"])]
    cxx = shlex.split(os.environ.get("CXX", "c++"))
    languages = compilers + [("C++11", cxx, ["-std=c++11", "-x", "c++"])]
    for name in headers:
        for language, compiler, flags in languages:
            what = f"<tbquic/{name}> compiles alone as {language}"
            if shutil.which(compiler[0]) is None:
                result([], what, skip=f"no {compiler[0]}")
                continue
            if name == "ev.h" and not EV:
                result([], what, skip="configured with --disable-ev")
                continue
            source = f"#include <tbquic/{name}>\n#include <tbquic/{name}>\nextern int a_declaration;\n"
            rv, _, err = out(
                *compiler, *flags, "-pedantic-errors", "-Wall", "-Wextra", "-Werror",
                "-fsyntax-only", "-I", os.path.join(SRC, "include"), "-", input=source,
            )
            result(err.splitlines()[:10] if rv != 0 else [], what)
    wrong = []
    for name in headers:
        with open(os.path.join(folder, name), encoding="utf-8") as f:
            text = f.read()
        for inc in re.findall(r'^\s*#\s*include\s+[<"]([^>"]+)', text, re.M):
            if inc.startswith("ev") and name != "ev.h":
                wrong.append(f"{name} includes <{inc}>")
            if inc == "tbquic/ev.h":
                wrong.append(f"{name} includes <{inc}>")
            if inc.startswith(("ngtcp2", "gnutls", "nghttp3", "nettle", "ares", "uthash")):
                wrong.append(f"{name} includes <{inc}>")
    result(wrong, "public headers name no library but ev.h's libev")
    return headers


def declared(headers):
    """Functions and variables that the headers mark TBQ_API."""
    names = {}
    for header in headers:
        with open(os.path.join(SRC, "include/tbquic", header), encoding="utf-8") as f:
            text = re.sub(r"/\*.*?\*/", " ", f.read(), flags=re.S)
        text = re.sub(r"^\s*#.*(?:\\\n.*)*", " ", text, flags=re.M)
        for m in re.finditer(r"\bTBQ_API\b([^;{]*)", text):
            name = re.search(r"\b(tbq_\w+)\s*(?=\(|$|\[)", m.group(1).strip())
            if name:
                names[name.group(1)] = header
    return names


def check_library(headers):
    so = os.path.join(BUILD, "lib/.libs/libtbquic.so")
    ev = os.path.join(BUILD, "lib/.libs/libtbquic-ev.so")
    if not os.path.exists(so):
        result([], "libtbquic.so", skip="no shared library in this build")
        return
    shown = {}
    for path in [so] + ([ev] if os.path.exists(ev) else []):
        rv, text, _ = out(*NM, "-D", "-P", "--defined-only", path)
        shown[path] = {line.split()[0].split("@")[0] for line in text.splitlines()}
        # What compilers add for coverage and sanitizers is not ours.
        foreign = ("tbq_", "__asan", "__odr_asan", "__gcov", "__sancov", "__start_", "__stop_",
                   "_init", "_fini", "mangle_path", "__llvm", "__sanitizer")
        wrong = sorted(s for s in shown[path] if not s.startswith(foreign))
        result([f"shows {s}" for s in wrong], f"{os.path.basename(path)} shows tbq_ symbols only")
    wrong = []
    for name, header in sorted(declared(headers).items()):
        if header == "ev.h" and not EV:
            continue
        if name not in shown[ev if header == "ev.h" else so]:
            wrong.append(f"{name} of {header} is not in the library")
    result(wrong, "every function that a public header declares is in its library")
    _, text, _ = out("readelf", "-d", so)
    needed = re.findall(r"NEEDED.*\[(.*)\]", text)
    result([f"needs {n}" for n in needed if n.startswith("libev")], "libtbquic.so needs no libev")
    unused = [n for n in needed if n.startswith("libjansson")]
    result([f"needs {n}" for n in unused], "libtbquic.so needs no JSON library")


def main():
    there = layers()
    unknown = [layer for layer in there if layer not in BELOW]
    result([f"lib/{layer}" for layer in unknown], "every folder of lib/ is a layer known here")
    there = [layer for layer in there if layer in BELOW]
    with concurrent.futures.ThreadPoolExecutor(max_workers=2) as pool:
        for layer in there:
            if layer == "ev" and not EV:
                result([], "lib/ev includes only public headers", skip="--disable-ev")
                continue
            check_includes(layer, pool)
        check_users("cli", pool)
        check_users("examples", pool)
    found = {layer: objects(layer) for layer in there if layer != "ev" or EV}
    home = {
        symbol: layer
        for layer, objs in found.items()
        if objs and layer != "ev"
        for defined, _ in objs.values()
        for symbol in defined
        if symbol.startswith(("tbi_", "tbq_"))
    }
    for layer in found:
        check_symbols(layer, found, home)
    check_library(check_headers())
    wrong = []
    for layer in there:
        for path in files(layer):
            with open(path, encoding="utf-8") as f:
                count = sum(1 for _ in f)
            if count > LINES_MAX:
                wrong.append(f"{os.path.relpath(path, SRC)} has {count} lines")
    result(wrong, f"no file of lib/ is longer than {LINES_MAX} lines")
    print(f"1..{tests}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
