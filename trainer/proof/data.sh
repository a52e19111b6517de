#!/usr/bin/env bash
# Lays out what `trainer/configs/proof.toml` learns from and is measured on: data.sh DATA WORK
#   DATA  holds faces/portraits, faces/dfdc/eval, videos/deepfacelive and videos/uadfv
#   WORK  gets portraits/, deepfacelive/, uadfv/, pseudo/: folders with real/, fake/ and manifest.csv
# Real and fake are encoded alike, so that no codec tells them apart; all faces are cut as those of faces/dfdc are. Called again, it goes on.
set -euo pipefail
data=$(realpath "$1")
mkdir -p "$2"
work=$(realpath "$2")
here=$(dirname "$(realpath "${BASH_SOURCE[0]}")")
trainer=${DEEPFAKE_TRAINER:-deepfake-trainer}

# encode FILE OUT [ELEMENT...]: H.264 of one quality, through the elements
encode() {
    local from=$1 to=$2
    shift 2
    [ -s "$to" ] && return
    mkdir -p "$(dirname "$to")"
    gst-launch-1.0 -q filesrc location="$from" ! decodebin ! videoconvert "$@" \
        ! x264enc pass=quant quantizer=20 speed-preset=faster ! h264parse ! mp4mux ! filesink location="$to.part"
    mv "$to.part" "$to"
}

videos=$work/videos
for file in "$data"/videos/uadfv/*.mp4; do
    name=$(basename "$file" .mp4)
    encode "$file" "$videos/uadfv/${name%%_*}/${name#*_}_${name%%_*}.mp4"
done
for file in "$data"/videos/deepfacelive/*.mp4; do
    name=$(basename "$file" .mp4)
    width=$(gst-launch-1.0 -v filesrc location="$file" ! decodebin ! videoconvert ! fakesink num-buffers=1 \
        | sed -n 's/.*fakesink0.GstPad:sink: caps.*width=(int)\([0-9]*\).*/\1/p' | head -n 1)
    encode "$file" "$videos/deepfacelive/real/${name}_real.mp4" ! videocrop right=$((width - width / 2))
    encode "$file" "$videos/deepfacelive/fake/${name}_fake.mp4" ! videocrop left=$((width / 2))
done

# Portraits are pictures of real faces only, each of a person of its own: no common word before a `_`.
mkdir -p "$videos/portraits/real"
for file in "$data"/faces/portraits/*.jpg; do
    name=$(basename "$file")
    ln -sfn "$file" "$videos/portraits/real/${name//_/-}"
done

for set in portraits uadfv deepfacelive; do
    sed "s|@set@|$videos/$set|; s|@name@|$set|" "$here/faces.toml" > "$work/$set.toml"
    "$trainer" faces --config "$work/$set.toml" --out "$work/$set"
done

locator=$(realpath "$here/../../scoring/models/locator.onnx")
sed "s|@faces@|$data/faces/dfdc/eval|; s|@locator@|$locator|" "$here/pseudo.toml" > "$work/pseudo.toml"
"$trainer" synthesize --config "$work/pseudo.toml" --out "$work/pseudo"
