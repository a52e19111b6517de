#!/usr/bin/env bash
# Takes a programme by RTMP or SRT and gives it as HLS: once as it came, once with the scores drawn into the picture.
#
#     pipelines/live-hls.sh rtmp://HOST/APP/KEY FOLDER [--keep] [--silent] [PROPERTY=VALUE]... > records.jsonl
#     pipelines/live-hls.sh 'srt://:7001?mode=listener' FOLDER [--keep] [--silent] [PROPERTY=VALUE]... > records.jsonl
#
# FOLDER gets programme.m3u8, scored.m3u8 and index.html, which shows both; serve it with any web server, for a look with
# python3 -m http.server --directory FOLDER. The last ten segments are kept, with --keep all of them. stdout gets a record
# of each frame of the scored picture. The programme is H.264 with AAC; where it has no sound, say --silent, or it waits for it. PROPERTY
# is any property of the element deepfakescore.
#
#     rtmp2src -> flvdemux, or srtsrc -> tsdemux
#         -> h264parse -> tee -> queue -> hlssink2                                                       (the programme)
#                             -> queue, leaky -> avdec_h264 -> queue, newest frame wins
#                                -> deepfakescore -> deepfakejson -> deepfakeoverlay -> x264enc -> hlssink2     (scored)
#
# The programme is passed on as it came, not even decoded, and never waits for the scores; nor does the scored picture, which
# shows the newest there are. Where this machine cannot decode and encode at the pace of the programme, frames are missing in
# the scored picture only. If a model fails, the pictures go on without scores.
# It ends when an RTMP sender has been gone for ten seconds, with an error when an SRT sender goes, and by Ctrl-C; let a
# service manager start it again.
set -euo pipefail

# shellcheck source=pipelines/setup.sh
source "$(dirname "$(realpath "${BASH_SOURCE[0]}")")/setup.sh"
usage="usage: pipelines/live-hls.sh rtmp://...|srt://... FOLDER [--keep] [--silent] [PROPERTY=VALUE]..."
(($# >= 2)) || die "$usage"
uri=$1 out=$2
shift 2
case $uri in
rtmp://* | rtmps://*) source=(rtmp2src location="$uri" idle-timeout="${IDLE_SECONDS:-10}" ! flvdemux) ;;
srt://*) source=(srtsrc uri="$uri" auto-reconnect=false ! tsdemux ignore-pcr=true) ;;
*) die "$uri is neither rtmp:// nor srt://; $usage" ;;
esac
kept=(playlist-length=5 max-files=10)
sound=(in. ! audio/mpeg ! aacparse ! queue ! programme.audio)
while [[ ${1:-} == --* ]]; do
    case $1 in
    --keep) kept=(playlist-length=0 max-files=0) ;;
    --silent) sound=() ;;
    *) die "$1 is no option; $usage" ;;
    esac
    shift
done
setup_plugin

mkdir -p "$out"
rm -f "$out"/{programme,scored}{.m3u8,-*.ts}
cat >"$out/index.html" <<'HTML'
<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Programme and scores</title>
<style>
body { margin: 1rem; font: 16px/1.5 system-ui, sans-serif; background: #14181c; color: #e4e8ec }
main { display: grid; grid-template-columns: repeat(auto-fit, minmax(320px, 1fr)); gap: 1rem }
figure { margin: 0 }
video { width: 100%; background: #000 }
</style>
<main>
<figure><video src="programme.m3u8" controls autoplay muted playsinline></video><figcaption>Programme</figcaption></figure>
<figure><video src="scored.m3u8" controls autoplay muted playsinline></video><figcaption>Scored</figcaption></figure>
</main>
</html>
HTML

hls() {
    printf '%s\n' hlssink2 name="$1" location="$out/$1-%05d.ts" playlist-location="$out/$1.m3u8" target-duration=2 \
        "${kept[@]}"
}
mapfile -t programme < <(hls programme)
mapfile -t scored < <(hls scored)
exec gst-launch-1.0 --quiet --eos-on-shutdown \
    "${programme[@]}" "${scored[@]}" \
    "${source[@]}" name=in \
    "${sound[@]}" \
    in. ! video/x-h264 ! h264parse ! tee name=video \
    video. ! queue ! programme.video \
    video. ! queue leaky=downstream max-size-buffers=0 max-size-bytes=0 max-size-time=2000000000 ! avdec_h264 \
    ! queue leaky=downstream max-size-buffers=1 max-size-bytes=0 max-size-time=0 \
    ! videoconvert ! deepfakescore on-error=passthrough "$@" ! deepfakejson name=records ! deepfakeoverlay \
    ! videoconvert ! video/x-raw,format=I420 ! x264enc tune=zerolatency speed-preset=veryfast key-int-max=50 \
    ! h264parse ! scored.video \
    records.json ! fdsink sync=false async=false
