# shellcheck shell=bash
# A newer GStreamer: that of another Debian release, in a tree of its own under .deps/newer. Sourced by run-newer-gstreamer.sh and
# bench-onnxinference.sh after pipelines/setup.sh. Needs root or sudo, and a network the first time.

# make_tree RELEASE: makes or completes the tree; sets $tree
make_tree() {
    local release=$1 mirror=${DEBIAN_MIRROR:-http://deb.debian.org/debian}
    local packages=(gcc libc6-dev pkg-config libgstreamer1.0-dev libgstreamer-plugins-base1.0-dev
        libgstreamer-plugins-bad1.0-dev libcairo2-dev libpango1.0-dev gstreamer1.0-tools gstreamer1.0-plugins-base
        gstreamer1.0-plugins-good gstreamer1.0-plugins-bad gstreamer1.0-plugins-ugly gstreamer1.0-libav
        fonts-dejavu-core fontconfig python3-gi gir1.2-gst-plugins-base-1.0 python3 openssl mosquitto
        mosquitto-clients kcat socat)
    tree=$(realpath "${deps:?}")/newer/$release
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
}

# in_tree FOLDER... -- COMMAND...: runs a command in the tree, where those folders of this machine lie at the same paths. The mounts are gone
# with the process.
in_tree() {
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
    ' bash "$tree" "$@"
}
