# shellcheck shell=bash
# Independent implementations in Python that the end-to-end tests compare with; nothing else needs them.

peers_missing() {
    ! cmp --silent "$root/tests/peers/requirements.txt" "$deps/peers/requirements.txt"
}

setup_peers() {
    peers_missing || return 0
    local version
    version=$(python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    if [[ $version != 3.11 || $(uname -m) != x86_64 ]]; then
        say "The comparisons with OpenCV and ONNX Runtime's Python are skipped: they are pinned for Python 3.11 on x86_64,
this is $version on $(uname -m)"
        return 0
    fi
    rm -rf "$deps/peers" "$deps/.peers"
    say "Downloading OpenCV and ONNX Runtime's Python, to compare with"
    retry python3 -m pip --disable-pip-version-check install --quiet --no-cache-dir --no-deps --require-hashes \
        --only-binary=:all: --root-user-action=ignore --target "$deps/.peers" \
        --requirement "$root/tests/peers/requirements.txt" ||
        die "pip could not install what tests/peers/requirements.txt names; see its messages above, then try again"
    cp "$root/tests/peers/requirements.txt" "$deps/.peers/"
    mv "$deps/.peers" "$deps/peers"
}
