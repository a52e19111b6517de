# shellcheck shell=bash
# The plugin, built where it has to be, in a folder that GStreamer is told of.

# setup_plugin: afterwards GST_PLUGIN_PATH names the plugin, and $program is the program of score.sh. A folder with a plugin
# that was built elsewhere, named in DEEPFAKE_PLUGINS, is taken instead, with the deepfake-score of PATH; then nothing is
# installed or built.
setup_plugin() {
    plugins=${DEEPFAKE_PLUGINS:-}
    program=deepfake-score
    if [[ -z $plugins ]]; then
        setup score
        build_plugin
    fi
    [[ -f $plugins/libgstdeepfake.so ]] || die "DEEPFAKE_PLUGINS names $plugins, where no libgstdeepfake.so is"
    export GST_PLUGIN_PATH=$plugins${GST_PLUGIN_PATH:+:$GST_PLUGIN_PATH}
}

# build_plugin: sets $plugins and $program.
build_plugin() {
    local target=${CARGO_TARGET_DIR:-$root/target} verbosity=()
    program=$target/release/deepfake-score
    if [[ ! -x $program ]]; then
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
}
