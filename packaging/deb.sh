#!/usr/bin/env bash
# Packs the plugin as a .deb for this machine's processor: the elements with their models, ONNX Runtime beside them, and the
# program behind pipelines/score.sh. Prints the path of the package.
#
#     packaging/deb.sh [FOLDER]
#
# After `apt-get install ./gstreamer1.0-deepfake_*.deb` any gst-launch-1.0 knows the elements. The package is for this release
# of Debian and later ones; tests/deb-elsewhere.sh tries it on another one.
set -euo pipefail

# shellcheck source=pipelines/setup.sh
source "$(dirname "$(realpath "${BASH_SOURCE[0]}")")/../pipelines/setup.sh"
out=$(realpath "${1:-.}")
[[ -d $out ]] || die "$out is no folder"
setup_plugin
has dpkg-deb || die "this is no Debian: dpkg-deb is not here"
has dpkg-shlibdeps || install_packages dpkg-dev
find_toolchain || die "cargo is needed, to tell which crates are inside"
mkdir -p "$deps"
setup_notices

name=gstreamer1.0-deepfake
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' "$root/Cargo.toml" | head -n 1)
architecture=$(dpkg --print-architecture)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
tree=$work/tree
# GStreamer asks files that end in .so whether they are plugins, so the library is left alone.
folder=$tree/usr/lib/$(dpkg-architecture --query DEB_HOST_MULTIARCH)/gstreamer-1.0
doc=$tree/usr/share/doc/$name
mkdir -p "$tree/DEBIAN" "$work/debian"

install -D --mode 644 --strip --strip-program=strip "$plugins/libgstdeepfake.so" "$folder/libgstdeepfake.so"
for library in "$plugins"/libonnxruntime.so.*; do
    [[ -f $library ]] || die "no ONNX Runtime is beside the plugin in $plugins"
    install -D --mode 644 "$library" "$folder/$(basename "$library")"
done
install -D --mode 755 --strip "$(command -v "$program")" "$tree/usr/bin/deepfake-score"
install -D --mode 644 --target-directory "$doc" "$root/README.md" "$root/CHANGELOG.md" "$root/plugin/models/scorer.md" \
    "$root"/plugin/schema/record-*.schema.json "$root"/docs/elements/*.md
install -D --mode 644 "$deps/notices/LICENSE" "$doc/onnxruntime-LICENSE"
install -D --mode 644 "$deps/notices/ThirdPartyNotices.txt" "$doc/onnxruntime-ThirdPartyNotices.txt"
(cd "$root" && cargo tree --locked --package gst-plugin-deepfake --package deepfake-pipelines --edges normal \
    --prefix none --format '{p} | {l} | {r}') | grep -v "$root" | sort --unique | sed 's/ (\*)//' >"$doc/crates.txt"
cat >"$doc/copyright" <<TEXT
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: deepfakescore

Files: *
License: MPL-2.0
 See /usr/share/common-licenses/MPL-2.0. The Rust crates that the plugin and the program are built with, and their licences, are
 listed in crates.txt beside this file.

Files: usr/lib/*/gstreamer-1.0/libonnxruntime.so.*
License: Expat
 See onnxruntime-LICENSE and onnxruntime-ThirdPartyNotices.txt beside this file.

Comment: The model inside the plugin has terms of its own; see scorer.md beside this file.
TEXT

# What the libraries inside need is read from them. A source package's control file is all that is asked for.
printf 'Source: %s\n\nPackage: %s\nArchitecture: %s\n' "$name" "$name" "$architecture" >"$work/debian/control"
needed=$(cd "$work" && dpkg-shlibdeps -O --ignore-missing-info "$folder"/* "$tree/usr/bin/deepfake-score" 2>"$work/shlibdeps.log") ||
    die "$(cat "$work/shlibdeps.log")"
cat >"$tree/DEBIAN/control" <<TEXT
Package: $name
Version: $version
Architecture: $architecture
Maintainer: deepfakescore <deepfakescore@example.invalid>
Section: video
Priority: optional
Depends: ${needed#shlibs:Depends=}, gstreamer1.0-plugins-base (>= 1.22)
Recommends: gstreamer1.0-tools, gstreamer1.0-plugins-good, gstreamer1.0-plugins-bad, gstreamer1.0-libav
Suggests: gstreamer1.0-plugins-ugly
Installed-Size: $(du --summarize --block-size=1K "$tree/usr" | cut --fields 1)
Description: GStreamer elements that score faces in video for being deepfakes
 deepfakescore finds the faces in live or recorded video, scores each for being a deepfake, and says which part of the
 face decided. deepfakeoverlay draws the scores, deepfakejson turns them into JSON lines. A model, a face detector and
 ONNX Runtime for the CPU are inside. A score is a hint, not proof.
TEXT

# Times in the package are those of the newest commit, so that the same sources give the same package.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git -C "$root" log -1 --format=%ct 2>/dev/null || date +%s)}
export SOURCE_DATE_EPOCH
find "$tree" -newermt "@$SOURCE_DATE_EPOCH" -exec touch --no-dereference --date "@$SOURCE_DATE_EPOCH" {} +
package=$out/${name}_${version}_$architecture.deb
# A third of the default effort: a few per cent larger, in a third of the time.
dpkg-deb --root-owner-group -Zxz -z3 --build "$tree" "$package" >&2
printf '%s\n' "$package"
