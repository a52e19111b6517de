#!/usr/bin/env bash
# Measures deepfakescore beside GStreamer's own onnxinference: the same model on whole frames, in Debian forky (GStreamer 1.28), in turns.
# Writes the row of docs/benchmarks.md. Needs what tests/run-newer-gstreamer.sh needs.
#
#     tests/bench-onnxinference.sh [FRAMES]           frames a run, 600 by default; nothing else should run meanwhile
set -euo pipefail

# shellcheck source=pipelines/setup.sh
source "$(dirname "$(realpath "${BASH_SOURCE[0]}")")/../pipelines/setup.sh"
# shellcheck source=tests/newer.sh
source "$root/tests/newer.sh"

frames=${1:-600}
setup score
cd "$root"
cargo build --release --locked --quiet --package gst-plugin-deepfake
make_tree forky
library=$(realpath "$onnxruntime")
found=$(in_tree "$root" "$(dirname "$library")" -- env -i HOME=/root PATH=/usr/bin:/bin ORT_DYLIB_PATH="$library" \
    GST_PLUGIN_PATH="$root/target/release" GST_REGISTRY=/tmp/registry.bin \
    python3 "$root/plugin/benches/peers/onnxinference.py" "$root/plugin/models/scorer.onnx" "$frames")
say "$found"
start='<!-- onnxinference -->' end='<!-- end of onnxinference -->'
awk -v start="$start" -v end="$end" -v row="$found" '
    $0 == start { print; print row; inside = 1 }
    $0 == end { inside = 0 }
    !inside && $0 != start { print }
' docs/benchmarks.md >docs/benchmarks.md.part
mv docs/benchmarks.md.part docs/benchmarks.md
