#!/usr/bin/env bash
# Scores the faces of a video for being deepfakes: one JSON line a frame on stdout, progress and a summary on stderr.
# Without VIDEO it scores a sample. Installs what is missing, the first time.
#
#     pipelines/score.sh [VIDEO] [--overlay OUT.mp4] [--PROPERTY VALUE]...
#
# PROPERTY is any property of the element deepfakescore; --help lists them.
set -euo pipefail

# shellcheck source=pipelines/setup.sh
source "$(dirname "$(realpath "${BASH_SOURCE[0]}")")/setup.sh"
setup score

target=${CARGO_TARGET_DIR:-$root/target}
verbosity=()
if [[ ! -x $target/release/deepfake-score ]]; then
    say "Building the plugin (once; some minutes)"
fi
# Cargo's progress bar is for people; a log needs it not.
[[ -t 2 ]] || verbosity=(--quiet)
# Cargo looks for its configuration from where it is called.
(cd "$root" && cargo build "${verbosity[@]}" --release --locked --target-dir "$target" \
    --package gst-plugin-deepfake --package deepfake-pipelines) >&2 ||
    die "the plugin could not be built; see Cargo's messages above"

# A folder with nothing but the plugin and its library: GStreamer would search all of Cargo's for plugins. Another run
# may be using the files that are there, so they are replaced, never overwritten.
plugins=$target/release/gstreamer-1.0
mkdir -p "$plugins"
if ! cmp --silent "$target/release/libgstdeepfake.so" "$plugins/libgstdeepfake.so"; then
    cp "$target/release/libgstdeepfake.so" "$plugins/.plugin.$$"
    mv "$plugins/.plugin.$$" "$plugins/libgstdeepfake.so"
fi
if [[ -z ${ORT_DYLIB_PATH:-} && ! $onnxruntime -ef $plugins/$(basename "$onnxruntime") ]]; then
    ln --force --symbolic "$onnxruntime" "$plugins/.library.$$"
    mv "$plugins/.library.$$" "$plugins/$(basename "$onnxruntime")"
fi

export GST_PLUGIN_PATH=$plugins${GST_PLUGIN_PATH:+:$GST_PLUGIN_PATH}
export DEEPFAKE_SAMPLE=$root/pipelines/sample/collins.mp4
exec "$target/release/deepfake-score" "$@"
