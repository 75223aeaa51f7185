# shellcheck shell=bash disable=SC2034,SC2153
# Builds the module for the nginx that is installed, and an nginx with the
# module inside for the sanitizers. The source tree is copied first, so that
# nothing is written to it; all paths that the compiler sees are relative, so
# that a checkout may lie anywhere.

NGINX=${NGINX:-$(command -v nginx || true)}
export -n NGINX                 # nginx itself reads a variable of that name
SOURCE=${NGINX_SRC:-/usr/share/nginx/src}
ASAN_NGINX=$BUILD/asan/nginx

# For a source tree that is not the installed nginx's.
BASIC_FLAGS=(--with-compat --with-threads --with-http_ssl_module
             --with-http_v2_module --with-http_realip_module
             --with-http_auth_request_module --with-http_stub_status_module)


nginx_version() {
    "$NGINX" -v 2>&1 | sed -n 's#^nginx version: [^/]*/\([^ ]*\).*#\1#p'
}


source_version() {
    sed -n 's/^#define NGINX_VERSION *"\(.*\)"/\1/p' "$1/src/core/nginx.h"
}


# Sets FLAGS to what configure needs for a module that the installed nginx
# loads: the packager's own list when the tree has one (Debian's nginx-dev),
# else what the binary says of itself; the compiler's and the linker's options
# are the binary's. What would need other modules' libraries is left out.
choose_flags() {
    local argument arguments=() options=()

    if [ -x "$NGINX" ] && [ "$(nginx_version)" = "$(source_version "$1")" ]
    then
        eval "arguments=($("$NGINX" -V 2>&1 \
                           | sed -n 's/^configure arguments: //p'))"
    else
        arguments=("${BASIC_FLAGS[@]}")
    fi

    FLAGS=()

    for argument in ${arguments[@]+"${arguments[@]}"}; do
        case "$argument" in
        --with-cc-opt=*|--with-ld-opt=*)    options+=("$argument") ;;
        *=dynamic|--add-*module=*)          ;;
        --with-openssl=*|--with-pcre=*|--with-zlib=*) ;;
        *)                                  FLAGS+=("$argument") ;;
        esac
    done

    if [ -f "$1/conf_flags" ]; then
        NGX_CONF_FLAGS=()
        # shellcheck source=/dev/null
        . "$1/conf_flags"
        FLAGS=("${NGX_CONF_FLAGS[@]}")
    fi

    case "${options[*]-}" in
    *--with-cc-opt=*) ;;
    *)                options+=(--with-cc-opt='-g -O2 -fPIC') ;;
    esac

    FLAGS+=("${options[@]}")
}


# configure_tree SOURCE DIR CFLAGS FLAG…: copies SOURCE to DIR/nginx-src and
# configures it to build in DIR/obj, unless that was done for the same source,
# flags, config and list of our files before. Our own objects alone get CFLAGS: -Werror in
# nginx's feature tests would change what they find, and nginx does not hold
# itself to our warnings.
configure_tree() {
    local source=$1 dir=$2 cflags=$3 stamp
    shift 3

    stamp=$(printf '%s\n' "$source" "$(source_version "$source")" \
                   "$(stat -c %Y "$source/src/core/nginx.h")" "$cflags" "$@"
            cat "$ROOT/config"
            cd "$ROOT" && find src -name '*.[ch]' | LC_ALL=C sort)

    if [ "$stamp" = "$(cat "$dir/stamp" 2>/dev/null || true)" ]; then
        return
    fi

    say "configuring nginx $(source_version "$source")"
    rm -rf "$dir/nginx-src" "$dir/obj" "$dir/stamp"
    mkdir -p "$dir/nginx-src"
    tar -C "$source" --exclude=./.git --exclude=./objs -cf - . \
        | tar -C "$dir/nginx-src" -xf -

    # A path without spaces and without the checkout's name in it.
    ln -sfn "$(realpath --relative-to "$dir" "$ROOT")" "$dir/$MODULE_NAME"

    quietly configure run_configure "$dir/nginx-src" "$@"

    # Quoted: the makefile shall see the literal text.
    # shellcheck disable=SC2016
    printf '\n../obj/addon/%%.o: CFLAGS += %s\n' "$cflags" \
        >>"$dir/obj/Makefile"

    echo "$stamp" >"$dir/stamp"
}


run_configure() (
    configure=./configure

    cd "$1" || return
    shift

    if [ ! -x "$configure" ]; then
        configure=auto/configure    # a tree out of nginx's repository
    fi

    "$configure" "$@" --builddir=../obj
)


# make_target DIR TARGET: the compiler's warnings and errors stay visible.
make_target() {
    make -s -C "$1/nginx-src" -f ../obj/Makefile -j "$JOBS" "$2" >/dev/null \
        || die "the build has failed"
}


# nginx -t loads the module and so checks that it fits the binary.
check_load() {
    local dir=$BUILD/check

    if [ ! -x "$NGINX" ]; then
        say "no nginx here to load it into"
        return
    fi

    if [ "$(nginx_version)" != "$(source_version "$SOURCE")" ]; then
        say "not loaded: it is for nginx $(source_version "$SOURCE")," \
            "and $NGINX is $(nginx_version)"
        return
    fi

    mkdir -p "$dir"
    printf '%s\n' "load_module \"$MODULE\";" "pid \"$dir/pid\";" \
                  "error_log stderr;" "events { }" >"$dir/nginx.conf"

    "$NGINX" -e stderr -p "$dir" -c "$dir/nginx.conf" -tq \
        || die "$NGINX does not load the module"
}


build_module() {
    local so=$BUILD/module/obj/$MODULE_NAME.so

    if [ -n "${NGINX_SRC:-}" ]; then
        apt_install "${APT_BUILD[@]}" "${APT_SOURCE[@]}"
        SOURCE=$(cd "$SOURCE" 2>/dev/null && pwd) \
            || die "NGINX_SRC is no directory: $NGINX_SRC"
    else
        apt_install "${APT_BUILD[@]}" "${APT_NGINX[@]}"
        NGINX=${NGINX:-$(command -v nginx || true)}
    fi

    [ -f "$SOURCE/src/core/nginx.h" ] || die "no nginx source in $SOURCE"
    [ -f "$ROOT/config" ] || die "no config file in the checkout"

    choose_flags "$SOURCE"
    configure_tree "$SOURCE" "$BUILD/module" -Werror "${FLAGS[@]}" \
                   --add-dynamic-module="../$MODULE_NAME"
    make_target "$BUILD/module" modules

    # Replaced by rename: an nginx that runs has the old file mapped.
    if ! cmp -s "$so" "$MODULE"; then
        cp "$so" "$MODULE.new"
        mv "$MODULE.new" "$MODULE"
    fi

    check_load
    say "built build/$MODULE_NAME.so for nginx $(source_version "$SOURCE")"
}


# Sets TREE to the whole source of the installed nginx, or to NGINX_SRC.
find_nginx_source() {
    TREE=${NGINX_SRC:-$BUILD/asan/source}

    apt_install "${APT_BUILD[@]}" "${APT_SOURCE[@]}"

    if [ ! -f "$TREE/src/core/nginx.c" ]; then
        [ -z "${NGINX_SRC:-}" ] || die "no nginx source in $NGINX_SRC"
        apt_install nginx
        say "fetching the source of the installed nginx"
        quietly nginx-source fetch_nginx_source "$TREE"
    fi

    TREE=$(cd "$TREE" && pwd)
}


# A whole nginx with the module linked in: the leak checker runs at exit, when
# a loaded module would be gone. UBSan watches our code only; nginx's own has
# known findings (unaligned reads, null pointers to memcpy). With NGX_DEBUG_
# PALLOC each allocation from a pool is one of malloc's, so that ASan sees what
# reads beyond its end.
build_asan() {
    local sanitize=address,undefined

    find_nginx_source

    configure_tree "$TREE" "$BUILD/asan" \
        "-Werror -fsanitize=$sanitize -fno-sanitize-recover=undefined" \
        "${BASIC_FLAGS[@]}" --with-debug \
        --with-cc-opt="-g -O1 -fsanitize=address -fno-omit-frame-pointer \
                       -DNGX_DEBUG_PALLOC=1" \
        --with-ld-opt="-fsanitize=$sanitize" \
        --add-module="../$MODULE_NAME"
    make_target "$BUILD/asan" binary

    if ! cmp -s "$BUILD/asan/obj/nginx" "$ASAN_NGINX"; then
        cp "$BUILD/asan/obj/nginx" "$ASAN_NGINX.new"
        mv "$ASAN_NGINX.new" "$ASAN_NGINX"
    fi

    say "built build/asan/nginx"
}
