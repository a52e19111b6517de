#!/usr/bin/env bash
# Shows where the time goes: samples the processor while the element scores every frame of the sample, again and again, and writes the
# shares into docs/benchmarks.md. Needs a kernel that lets perf sample (kernel.perf_event_paranoid at most 1, or root).
#
#     tests/profile.sh [FILE]         another video than the sample
set -euo pipefail

# shellcheck source=pipelines/setup.sh
source "$(dirname "$(realpath "${BASH_SOURCE[0]}")")/../pipelines/setup.sh"

video=$(realpath "${1:-$root/pipelines/sample/collins.mp4}")
setup score
has perf || install_packages linux-perf
cd "$root"
program=$(cargo bench --locked --package gst-plugin-deepfake --bench elements --no-run --quiet --message-format json |
    python3 -c 'import json, sys; print([m["executable"] for m in map(json.loads, sys.stdin) if m.get("executable")][-1])')
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
ORT_DYLIB_PATH=$(realpath "$onnxruntime") perf record --quiet --event cpu-clock --freq 5000 --output "$work/perf.data" -- \
    "$program" --video 20 --file "$video"
perf report --input "$work/perf.data" --stdio --sort dso --percent-limit 0 >"$work/files" 2>/dev/null
perf report --input "$work/perf.data" --stdio --sort symbol --dsos "$(basename "$program")" --percent-limit 0.2 >"$work/own" 2>/dev/null
python3 - "$work/files" "$work/own" docs/benchmarks.md <<'PYTHON'
import pathlib, re, sys

files, own, page = map(pathlib.Path, sys.argv[1:])
share = re.compile(r"^\s*([\d.]+)%\s+(.*\S)", re.M)
kinds = {"libonnxruntime": "ONNX Runtime", "elements-": "the plugin", "[kernel": "the kernel", "libc.": "the C library"}
shares = {}
for percent, name in share.findall(files.read_text()):
    kind = next((v for k, v in kinds.items() if name.startswith(k)), "decoder, converter, GStreamer and the rest")
    shares[kind] = shares.get(kind, 0) + float(percent)
rows = [f"| {kind} | {percent:.1f} % |" for kind, percent in sorted(shares.items(), key=lambda s: -s[1])]
plain = lambda name: re.sub(r"(^\[\.\] )|(\s+-)+$", "", name)
inside = [f"| `{plain(name)}` | {percent} % |" for percent, name in share.findall(own.read_text())]
table = "\n".join(["| of the processor's time | share |", "| --- | --- |", *rows, "", "| in the plugin | share of all |", "| --- | --- |", *inside[:12]])
start, end = "<!-- profile -->\n", "\n<!-- end of profile -->"
text = page.read_text()
before, rest = text.split(start)
page.write_text(before + start + table + end + rest.split(end)[1])
print(table)
PYTHON
