#!/usr/bin/env bash
# Installs the .deb in a tree of another Debian release and uses it there, as a person would: with apt-get and gst-launch-1.0.
# Needs root, debootstrap and a network; tests/run.sh does not call it.
#
#     tests/deb-elsewhere.sh [RELEASE]        trixie by default
#
# The tree is made once, in .cache/debian-RELEASE. DEEPFAKE_PLUGINS and the deepfake-score of PATH are taken as packaging/deb.sh does.
set -euo pipefail

# shellcheck source=pipelines/setup.sh
source "$(dirname "$(realpath "${BASH_SOURCE[0]}")")/../pipelines/setup.sh"
release=${1:-trixie}
tree=$root/.cache/debian-$release
[[ $(id -u) == 0 ]] || die "a tree of another release can only be made by root"
has debootstrap || install_packages debootstrap
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
package=$("$root/packaging/deb.sh" "$work")

if [[ ! -e $tree/etc/debian_version ]]; then
    rm -rf "$tree" "$tree.partial"
    mkdir -p "$tree.partial"
    retry debootstrap --variant=minbase "$release" "$tree.partial" ||
        die "debootstrap could not make a tree of $release"
    mv "$tree.partial" "$tree"
fi
# This machine's way to the network.
cp /etc/resolv.conf /etc/hosts "$tree/etc/"
find /etc/apt/apt.conf.d -name '*docker*' -prune -o -type f -exec cp {} "$tree/etc/apt/apt.conf.d/" \;
mkdir -p "$tree/etc/ssl/certs" "$tree/opt/deepfake"
[[ ! -e /etc/ssl/certs/ca-certificates.crt ]] || cp --dereference /etc/ssl/certs/ca-certificates.crt "$tree/etc/ssl/certs/"
cp "$package" "$root/pipelines/sample/collins.mp4" "$tree/opt/deepfake/"

say "In $release:"
# A namespace of its own: what is mounted there is gone with it. The single quotes are right: the shell inside expands.
# shellcheck disable=SC2016
unshare --mount bash -euc '
mount --bind /proc "$1/proc"
mount --bind /dev "$1/dev"
exec chroot "$1" env --ignore-environment HOME=/root LANG=C.UTF-8 DEBIAN_FRONTEND=noninteractive \
    PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin bash -euc "$2"
' bash "$tree" '
cd /opt/deepfake
{
    apt-get update --quiet=2
    apt-get install --yes --quiet=2 --no-install-recommends --reinstall ./*.deb gstreamer1.0-tools gstreamer1.0-plugins-good \
        gstreamer1.0-plugins-bad gstreamer1.0-libav
} >&2
gst-inspect-1.0 --version | tail -n 2 | head -n 1
gst-inspect-1.0 deepfakescore | grep --max-count=3 -E "Filename|Version|Long-name"
gst-launch-1.0 --quiet filesrc location=collins.mp4 ! decodebin ! identity eos-after=25 ! deepfakescore ! deepfakejson name=records \
    ! deepfakeoverlay ! fakesink sync=false records.json ! filesink location=records.jsonl
frames=$(grep --count "\"frame_score\"" records.jsonl)
echo "$frames frames with a scored face"
((frames >= 20))
deepfake-score collins.mp4 --report report.html >/dev/null
grep --count "<section id=\"face-" report.html
'
say "The package works in $release"
