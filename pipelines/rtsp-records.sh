#!/usr/bin/env bash
# Scores the faces of an RTSP stream: one JSON line a scored frame on stdout, until the stream ends or Ctrl-C is pressed.
#
#     pipelines/rtsp-records.sh rtsp://HOST/PATH [PROPERTY=VALUE]... > records.jsonl
#
# PROPERTY is any property of the element deepfakescore (gst-inspect-1.0 deepfakescore).
#
#     rtspsrc -> decodebin -> queue, newest frame wins -> deepfakescore (mode=live) -> deepfakejson -> stdout
#
# The camera never waits: where scoring is slower than the stream, the queue drops frames, the oldest first, and their
# records are missing. Each record has the time (utc) at which its frame was taken.
set -euo pipefail

# shellcheck source=pipelines/setup.sh
source "$(dirname "$(realpath "${BASH_SOURCE[0]}")")/setup.sh"
[[ ${1:-} == rtsp*://* ]] || die "usage: pipelines/rtsp-records.sh rtsp://HOST/PATH [PROPERTY=VALUE]..."
setup_plugin

exec gst-launch-1.0 --quiet --eos-on-shutdown \
    rtspsrc location="$1" latency="${LATENCY_MS:-200}" ! application/x-rtp,media=video ! decodebin force-sw-decoders=true \
    ! queue leaky=downstream max-size-buffers=1 max-size-bytes=0 max-size-time=0 \
    ! videoconvert ! deepfakescore on-error=passthrough "${@:2}" \
    ! deepfakejson name=records ! fakesink sync=false \
    records.json ! fdsink sync=false
