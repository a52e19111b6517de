#!/usr/bin/env bash
# What takes too long for every run of the tests.
#
#     tests/soak.sh [--minutes N]     four streams for so long (30 by default): the table of docs/faults.md is written. Without what glibc
#                                     and GLib keep for threads, so that what grows is to be seen; MALLOC_ARENA_MAX=N, G_SLICE=all
#                                     and GLIBC_TUNABLES= ask for what is usual
#     tests/soak.sh --media           some 1,800 damaged files through real decoders
#     tests/soak.sh --seeds N         every fuzz target with N inputs from fixed seeds (1,000,000 by default); needs no nightly
#     tests/soak.sh --fuzz SECONDS    every fuzz target with cargo-fuzz and a nightly toolchain, where both are installed
#     tests/soak.sh --valgrind        the unsafe code over frames and metadata under valgrind, which is installed where it lacks
#
# tests/run.sh has a short form of all of them but the last two.
set -euo pipefail

# shellcheck source=pipelines/setup.sh
source "$(dirname "$(realpath "${BASH_SOURCE[0]}")")/../pipelines/setup.sh"

usage() {
    sed -n '2,/^set/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2
    exit 2
}

# cargo_test PROGRAM ARGUMENTS...: with the features that all of the workspace is built with, so that nothing is built twice.
cargo_test() {
    local program=$1
    shift
    cargo test --workspace --locked --quiet --test "$program" -- --nocapture "$@"
}

# program NAME: the path of a test program, built where that is needed.
program() {
    cargo test --workspace --locked --no-run --test "$1" --message-format json 2>/dev/null |
        python3 -c '
import json, sys
for line in sys.stdin:
    message = json.loads(line)
    if message.get("executable") and message["target"]["name"] == sys.argv[1]:
        print(message["executable"])
' "$1" | tail -n 1
}

soak() {
    [[ $1 =~ ^[1-9][0-9]*$ ]] || usage
    # Several arenas, caches of freed memory for each thread (which count as allocated) and GLib's slices are kept for threads that are
    # gone, so that memory creeps up though no more is in use.
    MALLOC_ARENA_MAX=${MALLOC_ARENA_MAX-1} G_SLICE=${G_SLICE-always-malloc} GLIBC_TUNABLES=${GLIBC_TUNABLES-glibc.malloc.tcache_count=0} \
        SOAK_SECONDS=$(($1 * 60)) SOAK_WRITE=$root/docs/faults.md cargo_test soak_streams
}

fuzz() {
    [[ $1 =~ ^[1-9][0-9]*$ ]] || usage
    local target
    cargo +nightly fuzz --version >/dev/null 2>&1 ||
        die "cargo-fuzz and a nightly toolchain are needed: rustup toolchain install nightly; cargo install --locked cargo-fuzz"
    cd "$root/fuzz"
    for target in fuzz_targets/*.rs; do
        target=$(basename "$target" .rs)
        say "== $target"
        # Leaks are --valgrind's to find: GLib leaves its table of quarks behind whenever that grows.
        ASAN_OPTIONS=detect_leaks=0 cargo +nightly fuzz run --fuzz-dir . "$target" -- -max_total_time="$1" -timeout=20 -rss_limit_mb=4096 -print_final_stats=1
    done
}

under_valgrind() {
    has valgrind || install_packages valgrind
    local name path
    for name in fixed_seed frames; do
        path=$(program "$name")
        [[ -x $path ]] || die "the test program $name could not be built"
        say "== $name"
        # Few rounds: each takes some fifty times as long as it should. Cargo would name ONNX Runtime.
        ORT_DYLIB_PATH=$onnxruntime HOSTILE_ROUNDS=${HOSTILE_ROUNDS:-300} G_SLICE=always-malloc G_DEBUG=gc-friendly valgrind --quiet --error-exitcode=9 \
            --leak-check=full --errors-for-leak-kinds=definite --num-callers=30 --suppressions="$root/tests/valgrind.supp" \
            "$path" --test-threads 1
    done
}

setup tests
cd "$root"
case ${1:---minutes} in
--minutes) soak "${2:-30}" ;;
--media) DAMAGED_FILES=300 cargo_test media ;;
--seeds) HOSTILE_ROUNDS=${2:-1000000} cargo_test fixed_seed ;;
--fuzz) fuzz "${2:-}" ;;
--valgrind) under_valgrind ;;
*) usage ;;
esac
