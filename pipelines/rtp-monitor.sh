#!/usr/bin/env bash
# Watches several RTP streams in one process: one JSON line a scored frame on stdout, with the name of its stream.
#
#     pipelines/rtp-monitor.sh NAME=PORT... [-- PROPERTY=VALUE...] > records.jsonl
#     pipelines/rtp-monitor.sh studio=5004 stage=5006 guest=5008 remote=239.1.2.3:5010
#
# Each stream is H.264 in RTP over UDP on a port of this machine, or of a multicast group. PROPERTY is any property of the
# element deepfakescore.
#
#     udpsrc -> rtpjitterbuffer -> avdec_h264 -> queue, newest frame wins -> deepfakescore (mode=live) -> deepfakejson -> funnel -> stdout
#
# A monitor only listens: no sender waits for it. A stream that is slow to score, or broken, holds up no other one.
set -euo pipefail

# shellcheck source=pipelines/setup.sh
source "$(dirname "$(realpath "${BASH_SOURCE[0]}")")/setup.sh"
streams=()
while (($# > 0)) && [[ $1 != -- ]]; do
    [[ $1 =~ ^[A-Za-z0-9_.-]+=(.+:)?[0-9]+$ ]] || die "$1 is not NAME=PORT or NAME=GROUP:PORT"
    streams+=("$1")
    shift
done
((${#streams[@]} > 0)) || die "usage: pipelines/rtp-monitor.sh NAME=PORT... [-- PROPERTY=VALUE...]"
properties=("${@:2}")
setup_plugin

caps="application/x-rtp,media=video,clock-rate=90000,encoding-name=H264"
pipeline=(funnel name=all ! queue max-size-buffers=0 max-size-bytes=0 max-size-time=0 ! fdsink sync=false async=false)
for stream in "${streams[@]}"; do
    name=${stream%%=*} port=${stream##*[=:]} group=${stream#*=}
    group=${group%"$port"}
    pipeline+=(
        udpsrc ${group:+address="${group%:}"} port="$port" buffer-size=4000000 caps="$caps"
        ! rtpjitterbuffer latency="${LATENCY_MS:-200}" ! rtph264depay ! h264parse ! avdec_h264
        ! queue leaky=downstream max-size-buffers=1 max-size-bytes=0 max-size-time=0
        ! videoconvert ! deepfakescore on-error=passthrough "${properties[@]}"
        ! deepfakejson name="$name" stream-name="$name" ! fakesink sync=false async=false
        "$name.json" ! queue ! all.
    )
done
exec gst-launch-1.0 --quiet --eos-on-shutdown "${pipeline[@]}"
