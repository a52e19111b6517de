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

release=${1:-forky}
case $release in
trixie) feature=v1_26 ;;
forky) feature=v1_28 ;;
*) die "this script knows trixie and forky, not $release" ;;
esac
mirror=${DEBIAN_MIRROR:-http://deb.debian.org/debian}

setup score
cd "$root"
deps=$(realpath "$deps")
tree=$deps/newer/$release
sysroot=$(rustc --print sysroot)
[[ $sysroot != /usr ]] ||
    die "Debian's own Rust toolchain cannot be taken into another release; install one from https://rustup.rs"

packages=(gcc libc6-dev pkg-config libgstreamer1.0-dev libgstreamer-plugins-base1.0-dev libgstreamer-plugins-bad1.0-dev
    libcairo2-dev libpango1.0-dev gstreamer1.0-tools gstreamer1.0-plugins-base gstreamer1.0-plugins-good
    gstreamer1.0-plugins-bad gstreamer1.0-plugins-ugly gstreamer1.0-libav fonts-dejavu-core fontconfig python3-gi
    gir1.2-gst-plugins-base-1.0 python3 openssl mosquitto mosquitto-clients kcat socat)

if [[ ! -e $tree/.complete ]]; then
    has debootstrap || install_packages debootstrap
    say "Making a tree of Debian $release in $tree (once; some minutes, 2.5 GB)"
    as_root rm -rf "$tree"
    mkdir -p "$tree"
    # An older debootstrap does not know the name, but every release is made as sid is.
    retry as_root debootstrap --variant=minbase "$release" "$tree" "$mirror" /usr/share/debootstrap/scripts/sid ||
        die "debootstrap could not make the tree; see its messages above (DEBIAN_MIRROR names another mirror)"
    as_root touch "$tree/.complete"
fi
if [[ $(cat "$tree/.packages" 2>/dev/null) != "${packages[*]}" ]]; then
    # No service is started in there.
    retry as_root chroot "$tree" env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install --yes --quiet=2 \
        --no-install-recommends -o Dpkg::Use-Pty=0 -o APT::Sandbox::User=root "${packages[@]}" ||
        die "apt-get could not install in the tree; see its messages above"
    as_root rm -rf "$tree/var/cache/apt/archives"
    as_root tee "$tree/.packages" <<<"${packages[*]}" >/dev/null
fi

# What the build needs of this machine lies at the same paths in the tree: this project, what was set up for it, the toolchain
# and Cargo's downloads. The mounts are gone with the process.
cargo_home=${CARGO_HOME:-$HOME/.cargo}
shared=("$root" "$deps" "$sysroot" "$cargo_home")
cargo fetch --locked --quiet
say "== cargo test --features $feature, with GStreamer of $release"
# shellcheck disable=SC2016 # Expanded in there.
as_root unshare --mount --fork bash -euc '
    tree=$1
    shift
    while [[ $1 != -- ]]; do
        mkdir -p "$tree$1"
        mount --rbind "$1" "$tree$1"
        shift
    done
    shift
    mount -t proc proc "$tree/proc"
    mount --rbind /dev "$tree/dev"
    exec chroot "$tree" "$@"
' bash "$tree" "${shared[@]}" -- \
    env -i HOME=/root PATH="$sysroot/bin:/usr/bin:/bin" CARGO_HOME="$cargo_home" CARGO_TARGET_DIR=/var/cache/target \
    ORT_DYLIB_PATH="$onnxruntime" ${WRITE_DOCS:+WRITE_DOCS=1} \
    bash -euc 'cd "$1"; gst-inspect-1.0 --version; cargo test --offline --locked --quiet --package gst-plugin-deepfake --features "$2"' \
    bash "$root" "$feature"
say "The plugin's tests passed with the GStreamer of $release"
