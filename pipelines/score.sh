#!/usr/bin/env bash
# Scores the faces of a video for being deepfakes: one JSON line a frame on stdout, progress and a summary on stderr.
# Without VIDEO it scores a sample. Installs what is missing, the first time.
#
#     pipelines/score.sh [VIDEO] [--overlay OUT.mp4] [--report OUT.html] [--webvtt OUT.vtt] [--csv OUT.csv]
#                        [--PROPERTY VALUE]...
#
# PROPERTY is any property of the element deepfakescore; --help lists them.
set -euo pipefail

# shellcheck source=pipelines/setup.sh
source "$(dirname "$(realpath "${BASH_SOURCE[0]}")")/setup.sh"
setup score
build_plugin

# Told after the summary to those whose shell does not know the plugin.
if [[ :${GST_PLUGIN_PATH:-}: != *:$plugins:* ]]; then
    DEEPFAKE_TELL_PLUGINS=$(printf %q "$plugins")
    export DEEPFAKE_TELL_PLUGINS
fi
export GST_PLUGIN_PATH=$plugins${GST_PLUGIN_PATH:+:$GST_PLUGIN_PATH}
export DEEPFAKE_SAMPLE=$root/pipelines/sample/collins.mp4
exec "$program" "$@"
