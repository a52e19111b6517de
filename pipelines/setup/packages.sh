# shellcheck shell=bash
# Debian packages. Each is asked for by what it brings, so that a machine which has it from elsewhere needs nothing.

has_library() {
    has pkg-config && pkg-config --exists "$1"
}

has_element() {
    has gst-inspect-1.0 && gst-inspect-1.0 --exists "$1" 2>/dev/null
}

has_font() {
    has fc-list && [[ -n $(fc-list :lang=en family 2>/dev/null | head -n 1) ]]
}

has_pip() {
    python3 -m pip --version >/dev/null 2>&1
}

# Debian's own Python, which its packages of bindings are for, finds GStreamer through GObject introspection.
has_introspection() {
    /usr/bin/python3 -c 'import gi; gi.require_version("GstVideo", "1.0")' 2>/dev/null
}

# Peers of the pipelines for live video.
has_nginx_rtmp() {
    [[ -x /usr/sbin/nginx && -e /usr/lib/nginx/modules/ngx_rtmp_module.so ]]
}

has_rtsp_server() {
    /usr/bin/python3 -c 'import gi; gi.require_version("GstRtspServer", "1.0")' 2>/dev/null
}

# missing_packages score|tests: one a line.
missing_packages() {
    has cc || echo gcc
    # gcc only recommends the C library's files, and Rust needs them to link.
    has cc && [[ -e $(cc -print-file-name=crt1.o) ]] || echo libc6-dev
    has pkg-config || echo pkg-config
    has_library 'gstreamer-1.0 >= 1.22' || echo libgstreamer1.0-dev
    has_library 'gstreamer-video-1.0 >= 1.22' || echo libgstreamer-plugins-base1.0-dev
    has_library cairo-gobject || echo libcairo2-dev
    has_library pangocairo || echo libpango1.0-dev
    has gst-launch-1.0 || echo gstreamer1.0-tools
    has_element uridecodebin || echo gstreamer1.0-plugins-base
    has_element qtdemux || echo gstreamer1.0-plugins-good
    has_element h264parse || echo gstreamer1.0-plugins-bad
    has_element x264enc || echo gstreamer1.0-plugins-ugly
    has_element avdec_h264 || echo gstreamer1.0-libav
    has_font || printf '%s\n' fonts-dejavu-core fontconfig
    [[ -e /etc/ssl/certs/ca-certificates.crt || -e /etc/pki/tls/certs/ca-bundle.crt ]] || echo ca-certificates
    if wheels_missing "$1"; then
        has_pip || printf '%s\n' python3 python3-pip
    fi
    if [[ $1 == tests ]]; then
        has c++ || echo g++
        has shellcheck || echo shellcheck
        has_introspection || printf '%s\n' python3-gi gir1.2-gst-plugins-base-1.0
        has dpkg-shlibdeps || echo dpkg-dev
        has_nginx_rtmp || printf '%s\n' nginx libnginx-mod-rtmp
        has_rtsp_server || printf '%s\n' python3-gi gir1.2-gst-rtsp-server-1.0
        [[ -x /usr/sbin/mosquitto ]] || has mosquitto || echo mosquitto
        has mosquitto_sub || echo mosquitto-clients
        has kcat || echo kcat
        has socat || echo socat
        has openssl || echo openssl
        has python3 || echo python3
    fi
}

# install_packages PACKAGE...
install_packages() {
    has apt-get || die "this machine has no apt-get; install by hand what these Debian packages hold, then try again: $*"
    if [[ $(id -u) != 0 ]] && ! has sudo; then
        die "installing packages needs root or sudo; as root, run: apt-get install --no-install-recommends $*"
    fi
    say "Installing Debian packages: $*"
    retry as_root apt-get update --quiet=2 ||
        say "The package lists could not be renewed; trying with those that are there"
    # A debconf question would hang a script. nginx and mosquitto are for the tests, which start them themselves: RUNLEVEL keeps the packages
    # from starting them where invoke-rc.d asks for it.
    retry as_root env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install --yes --quiet=2 --no-install-recommends \
        -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 "$@" ||
        die "apt-get could not install: $*
Look at its messages above. Behind a proxy or with a mirror, see that apt-get update works, then run this command again."
}

setup_packages() {
    local packages
    mapfile -t packages < <(missing_packages "$1")
    if ((${#packages[@]} == 0)); then
        return
    fi
    install_packages "${packages[@]}"
    hash -r
    mapfile -t packages < <(missing_packages "$1")
    if ((${#packages[@]} > 0)); then
        die "installed, but what these packages should bring is still not found: ${packages[*]}
GStreamer 1.22 or newer is needed, as on Debian 12. Are PATH, PKG_CONFIG_PATH and GST_PLUGIN_SYSTEM_PATH of another one set?"
    fi
}
