#!/usr/bin/env bash
# Runs the plugin's tests with a newer GStreamer: that of another Debian release, in a tree of its own under .deps/newer.
# This machine's Rust toolchain builds in there too. Needs root or sudo, and a network the first time.
#
#     tests/run-newer-gstreamer.sh [trixie|forky]
#
# trixie has GStreamer 1.26; forky, which is taken without an argument, 1.28. WRITE_DOCS=1 writes the table of
# docs/metadata.md for it.
set -euo pipefail

# shellcheck source=pipelines/setup.sh
source "$(dirname "$(realpath "${BASH_SOURCE[0]}")")/../pipelines/setup.sh"
# shellcheck source=tests/newer.sh
source "$root/tests/newer.sh"

release=${1:-forky}
case $release in
trixie) feature=v1_26 ;;
forky) feature=v1_28 ;;
*) die "this script knows trixie and forky, not $release" ;;
esac

setup score
cd "$root"
deps=$(realpath "$deps")
sysroot=$(rustc --print sysroot)
[[ $sysroot != /usr ]] ||
    die "Debian's own Rust toolchain cannot be taken into another release; install one from https://rustup.rs"

make_tree "$release"

# What the build needs of this machine lies at the same paths in the tree: this project, what was set up for it, the toolchain
# and Cargo's downloads.
cargo_home=${CARGO_HOME:-$HOME/.cargo}
shared=("$root" "$deps" "$sysroot" "$cargo_home")
cargo fetch --locked --quiet
say "== cargo test --features $feature, with GStreamer of $release"
# shellcheck disable=SC2016 # Expanded in there.
in_tree "${shared[@]}" -- \
    env -i HOME=/root PATH="$sysroot/bin:/usr/bin:/bin" CARGO_HOME="$cargo_home" CARGO_TARGET_DIR=/var/cache/target \
    ORT_DYLIB_PATH="$onnxruntime" ${WRITE_DOCS:+WRITE_DOCS=1} \
    bash -euc 'cd "$1"; gst-inspect-1.0 --version; cargo test --offline --locked --quiet --package gst-plugin-deepfake --features "$2"' \
    bash "$root" "$feature"
say "The plugin's tests passed with the GStreamer of $release"
