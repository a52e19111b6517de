#!/usr/bin/env bash
# Makes collins.mp4 anew, out of the portrait in the package scikit-image of the Python package index. Needs ffmpeg.
# Five seconds: the portrait, a slow move towards the face, then on to the model of the shuttle, where no face is.
set -euo pipefail

# shellcheck source=pipelines/setup.sh
source "$(dirname "$(realpath "${BASH_SOURCE[0]}")")/../setup.sh"
has ffmpeg || die "ffmpeg is needed: apt-get install ffmpeg"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
scikit_image=$(fetch_wheel scikit-image "$work")
unpack_wheel "$scikit_image" "$work" skimage/data/astronaut.png

# ease FIRST FRAMES: from 0 at frame FIRST to 1 so many frames later, gently.
ease() {
    local linear="clip((on-$1)/$2,0,1)"
    echo "(3-2*$linear)*$linear*$linear"
}
towards=$(ease 25 35)
aside=$(ease 85 20)

# The camera moves by whole pixels of its source, so the source is made large first.
ffmpeg -v error -y -i "$work/astronaut.png" -frames:v 125 -vf "
    scale=4096:4096:flags=lanczos, crop=4096:3072:0:0,
    zoompan=z='1+0.9*$towards+0.6*$aside':
        x='(iw-iw/zoom)*(0.32+0.68*$aside)':
        y='(ih-ih/zoom)*(0.2-0.12*$towards)':
        d=125:s=640x480:fps=25,
    format=yuv420p" \
    -c:v libx264 -profile:v baseline -preset veryslow -crf 23 -g 25 -threads 1 \
    -fflags +bitexact -flags:v +bitexact -map_metadata -1 -movflags +faststart "$work/collins.mp4"
mv "$work/collins.mp4" "$root/pipelines/sample/collins.mp4"
