# shellcheck shell=bash disable=SC2034,SC2153
# Builds the module against other versions of nginx and runs the suites on
# each. The versions are those of Debian's suites; their sources come through
# apt, with lists of its own under build/apt/.

VERSIONS_DIR=$BUILD/versions
VERSIONS_SUITES=(bookworm trixie sid)           # 1.22, 1.26, 1.30

# What belongs to a packaged nginx of another suite: its C library, too.
VERSIONS_DEBS=(nginx nginx-dev libc6 libcrypt1 libpcre2-8-0 libssl3t64
               libzstd1 zlib1g)

# A client that speaks HTTP/3, for the builds that do.
APT_VERSIONS=(ngtcp2-client)

VERSION_ROWS=()


# version_source SUITE: sets TREE to nginx's sources of that suite.
version_source() {
    TREE=$VERSIONS_DIR/source-$1

    if [ ! -f "$TREE/src/core/nginx.c" ]; then
        say "fetching the source of nginx in $1"
        mkdir -p "$VERSIONS_DIR" "$BUILD/log"
        fetch_nginx_source "$TREE" "$1" >"$BUILD/log/nginx-$1" 2>&1 </dev/null
    fi
}


# version_build TREE NAME FLAG…: an nginx and a module that it loads; sets
# NGINX and MODULE.
version_build() {
    local tree=$1 dir=$VERSIONS_DIR/$2 flag flags=()
    shift 2

    for flag in "${BASIC_FLAGS[@]}"; do
        [ "$flag" = --with-threads ] || flags+=("$flag")
    done

    configure_tree "$tree" "$dir" -Werror "${flags[@]}" "$@" \
                   --with-cc-opt='-g -O2 -fPIC' \
                   --add-dynamic-module="../$MODULE_NAME"
    make_target "$dir" binary
    make_target "$dir" modules

    NGINX=$dir/obj/nginx
    MODULE=$dir/obj/$MODULE_NAME.so
}


# Unpacks the packages of a suite into DIR. The interpreter and the path of
# libraries are written into the binary: whatever runs it, and the process
# title, are as with any other nginx.
version_unpack() (
    local dir=$1 suite=$2 apt=$BUILD/apt/deb-$2 deb lib loader

    apt_lists "$apt" deb "$suite" \
        && cd "$apt" \
        && apt_private "$apt" update \
        && apt_private "$apt" download "${VERSIONS_DEBS[@]}" \
        && rm -rf "$dir" \
        && mkdir -p "$dir" || return

    for deb in *.deb; do
        dpkg -x "$deb" "$dir" || return
    done

    lib=$(dirname "$(find "$dir/usr/lib" -name libssl.so.3)") || return
    loader=$(find "$lib" -name 'ld-linux*.so.*' | head -n 1)

    patchelf --set-interpreter "$loader" --force-rpath --set-rpath "$lib" \
             "$dir/usr/sbin/nginx" \
        && "$dir/usr/sbin/nginx" -V \
        && rm -rf "$apt"
)


# version_packaged SUITE: nginx as Debian has built it, for a mirror that has
# it without its source. Sets TREE, NGINX and MODULE.
version_packaged() {
    local dir=$VERSIONS_DIR/$1-packaged root=$VERSIONS_DIR/$1-packages

    if [ ! -x "$root/usr/sbin/nginx" ]; then
        apt_install patchelf
        say "unpacking the nginx of $1"
        quietly "unpack-$1" version_unpack "$root" "$1"
    fi

    TREE=$root/usr/share/nginx/src
    NGINX=$root/usr/sbin/nginx
    MODULE=$dir/obj/$MODULE_NAME.so

    choose_flags "$TREE"
    configure_tree "$TREE" "$dir" -Werror "${FLAGS[@]}" \
                   --add-dynamic-module="../$MODULE_NAME"
    make_target "$dir" modules
}


# version_test SUITE WHAT FILE…: runs the files, and keeps a row of the table.
version_test() {
    local suite=$1 what=$2 passed=$PASSED failed=$FAILED
    local skipped=$SKIPPED
    shift 2

    say "nginx $(nginx_version), $what"
    TEST_DIR=$VERSIONS_DIR/test-$(nginx_version)-${what//[^a-z0-9]/-}
    rm -rf "$TEST_DIR/log"

    test_files "" "$@"

    VERSION_ROWS+=("$(printf '%-8s  %-9s  %-28s %7d %7d %8d' \
        "$(nginx_version)" "$suite" "$what" $((PASSED - passed)) \
        $((FAILED - failed)) $((SKIPPED - skipped)))")
}


# A build that cannot be had is a failure, too.
version_missing() {
    VERSION_ROWS+=("$(printf '%-8s  %-9s  %s' - "$1" "$2")")
    FAILURES+=("$1: $2")
    FAILED=$((FAILED + 1))
}


# version_suite SUITE FILE…
version_suite() {
    local suite=$1 tree name full=(--with-threads --with-debug)
    shift

    if ! version_source "$suite"; then
        say "apt has no source of nginx in $suite now: its package is taken"

        if (version_packaged "$suite"); then
            version_packaged "$suite"
            version_test "$suite" "Debian's own" "$@"
        else
            version_missing "$suite" "neither source nor package"
        fi

        return
    fi

    tree=$TREE
    name=$(source_version "$tree")

    # from 1.25 on; up to OpenSSL 3.5 nginx has a QUIC of its own
    if grep -q http_v3_module "$tree/auto/options"; then
        full+=(--with-http_v3_module)
    fi

    version_build "$tree" "$name-plain"
    version_test "$suite" plain "$@"

    version_build "$tree" "$name-full" "${full[@]}"
    version_test "$suite" "threads debug${full[2]:+ http_v3}" "$@"
}


# command_versions [SUITE | FILE]…: all of them, unless some are named.
command_versions() {
    local argument suites=() files=() suite row

    for argument in "$@"; do
        case "$argument" in
        *.t|*.mjs) files+=("$(realpath --relative-to "$ROOT" "$argument")") ;;
        *)         suites+=("$argument") ;;
        esac
    done

    if [ ${#suites[@]} = 0 ]; then
        suites=("${VERSIONS_SUITES[@]}")
    fi

    install_for_tests
    apt_install "${APT_NGINX[@]}" "${APT_VERSIONS[@]}"

    if [ ${#files[@]} = 0 ]; then
        files=("$ROOT"/t/*.t)
        files=("${files[@]#"$ROOT"/}")
    fi

    for suite in "${suites[@]}"; do
        version_suite "$suite" "${files[@]}"
    done

    printf '\n%-8s  %-9s  %-28s %7s %7s %8s\n' nginx suite build passed \
           failed skipped

    for row in "${VERSION_ROWS[@]}"; do
        echo "$row"
    done

    sum_up
}
