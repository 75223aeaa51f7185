# shellcheck shell=bash disable=SC2034,SC2153
# Installs what is missing and nothing else: Debian packages through the
# machine's own apt, npm packages through the machine's own npm into the
# checkout. The machine's apt configuration is read, never changed: where
# another suite or source packages are needed, apt gets lists of its own under
# build/apt/.

APT_BUILD=(build-essential ca-certificates libyajl-dev uuid-dev)

# The nginx that the module is for, and the headers that belong to it.
APT_NGINX=(nginx nginx-dev)

# To build an nginx from source: for another tree, and for the sanitizers.
APT_SOURCE=(libpcre2-dev libssl-dev zlib1g-dev)

APT_TEST=(curl openssl perl procps libipc-run-perl libwww-perl
          libtest-base-perl libtest-longstring-perl libtext-diff-perl
          liblist-moreutils-perl strace bubblewrap socat)

APT_FUZZ=(clang libclang-rt-dev)

PERL_DIR=$BUILD/perl
PYTHON_DIR=$BUILD/python


as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif have sudo; then
        sudo "$@"
    else
        die "this needs root, and there is no sudo: $*"
    fi
}


# Sets MISSING to those of the packages that are not installed.
find_missing() {
    local package

    MISSING=()

    for package in "$@"; do
        if ! dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null \
             | grep -qx installed
        then
            MISSING+=("$package")
        fi
    done
}


# RUNLEVEL=1 keeps Debian from starting nginx's service on port 80, which
# nobody asked for who only wants to build a module.
apt_install() {
    find_missing "$@"

    if [ ${#MISSING[@]} = 0 ]; then
        return
    fi

    have apt-get || die "not a Debian: please install by hand what these
packages hold: ${MISSING[*]}"

    say "installing ${MISSING[*]}"

    quietly apt-update as_root apt-get -q update
    quietly apt-install as_root env DEBIAN_FRONTEND=noninteractive \
        RUNLEVEL=1 apt-get -q -y --no-install-recommends \
        -o DPkg::Lock::Timeout=300 install "${MISSING[@]}"
}


# Node of a version that runs the SDK and node --test; any that is on PATH,
# else Debian's.
install_node() {
    local packages=()

    have node || packages+=(nodejs)
    have npm || packages+=(npm)
    apt_install ${packages[@]+"${packages[@]}"}

    node -e 'process.exit(+(parseInt(process.versions.node) < 18))' \
        || die "node $(node -v) is too old: 18 or later is needed"
}


# npm_ci DIR [OPTION…]: what DIR's lock file names, into DIR/node_modules. No
# package's install script runs; the CLI's only copies the binary to another
# place. The cache is private since npm would otherwise keep 100 MB in the
# user's home.
npm_ci() {
    quietly npm-ci npm ci --prefix "$1" --ignore-scripts --no-audit \
        --no-fund --cache "$BUILD/npm-cache" "${@:2}"

    rm -rf "$BUILD/npm-cache"
}


# install_npm prod|all: the pinned CLI, and for "all" the SDK.
install_npm() {
    local want stamp=$ROOT/node_modules/.installed omit=() done_before

    want=$(cksum <"$ROOT/package-lock.json")
    done_before=$(cat "$stamp" 2>/dev/null || true)

    case "$done_before" in
    "$want all") return ;;
    "$want $1") return ;;
    esac

    install_node
    say "installing the npm packages of package-lock.json into node_modules/"

    if [ "$1" = prod ]; then
        omit=(--omit=dev)
    fi

    npm_ci "$ROOT" ${omit[@]+"${omit[@]}"}
    echo "$want $1" >"$stamp"
}


# install_npm_apart NAME FROM DIR: what FROM's lock file names, apart from what
# the checkout has.
install_npm_apart() {
    local name=$1 from=$2 dir=$3 want

    want=$(cksum <"$from/package-lock.json")

    if [ "$want" = "$(cat "$dir/installed" 2>/dev/null || true)" ]; then
        return
    fi

    install_node
    say "installing $name into ${dir#"$ROOT"/}/"

    rm -rf "$dir"
    mkdir -p "$dir"
    cp "$from/package.json" "$from/package-lock.json" "$dir"
    npm_ci "$dir"
    echo "$want" >"$dir/installed"
}


# OpenCode, a client of the tests: its lock file names one binary a platform,
# while the package opencode-ai brings four, 700 MB.
install_opencode() {
    install_npm_apart OpenCode "$ROOT/t/real/opencode" "$BUILD/opencode"
}


# The binary; npm has installed the package of this platform alone.
pinned_opencode() {
    local file

    for file in "$BUILD"/opencode/node_modules/opencode-*/bin/opencode; do
        if [ -x "$file" ]; then
            echo "$file"
            return
        fi
    done

    die "no OpenCode is pinned for $(uname -m)"
}


# PyPI's openai, a client of the tests, in a venv of its own.
install_python() {
    local from=$ROOT/t/real/python/requirements.txt want

    if ! python3 -c 'import ensurepip, venv' >/dev/null 2>&1; then
        apt_install python3 python3-venv
    fi

    want=$(cksum <"$from"; python3 -V; echo "$PYTHON_DIR")

    if [ "$want" = "$(cat "$PYTHON_DIR/installed" 2>/dev/null || true)" ]; then
        return
    fi

    say "installing PyPI's openai into build/python/"

    rm -rf "$PYTHON_DIR"
    quietly venv python3 -m venv "$PYTHON_DIR"
    quietly pip "$PYTHON_DIR/bin/python" -m pip install --no-cache-dir \
        --disable-pip-version-check --require-hashes --no-deps \
        --only-binary :all: -r "$from"
    echo "$want" >"$PYTHON_DIR/installed"
}


# The native binary out of the platform's package; it needs no Node. An old
# npm installs the musl build too.
pinned_claude() {
    local dir=$ROOT/node_modules/@anthropic-ai arch

    case "$(uname -m)" in
    x86_64)        arch=x64 ;;
    aarch64|arm64) arch=arm64 ;;
    *)             die "no Claude CLI is published for $(uname -m)" ;;
    esac

    for dir in "$dir/claude-code-linux-$arch" \
               "$dir/claude-code-linux-$arch-musl"
    do
        if [ -x "$dir/claude" ] && "$dir/claude" --version </dev/null \
             >/dev/null 2>&1
        then
            echo "$dir/claude"
            return
        fi
    done

    die "npm has installed no Claude CLI that runs on this machine"
}


# apt_lists DIR deb|deb-src [SUITE]: fills DIR with what apt needs to know,
# made from the machine's own Debian lines and stanzas: all of them with the
# given type, or only the first with SUITE in place of its own.
apt_lists() {
    local dir=$1 type=$2 suite=${3:-}

    rm -rf "$dir"
    mkdir -p "$dir/sources" "$dir/state/lists/partial" \
             "$dir/cache/archives/partial"

    cat /etc/apt/sources.list.d/*.sources 2>/dev/null \
        | awk -v type="$type" -v suite="$suite" '
            BEGIN { RS = ""; FS = "\n" }

            /(^|\n)Enabled: *no/                      { next }
            !/(^|\n)Types:[^\n]*deb/                  { next }
            !/(^|\n)URIs:[^\n]*\/(debian|debian-security|ubuntu)\/?( |\n|$)/ {
                next
            }
            suite && (done || /(^|\n)Suites:[^\n]*-security/) { next }

            {
                for (i = 1; i <= NF; i++) {
                    if ($i ~ /^#/) continue
                    if ($i ~ /^Types:/) $i = "Types: " type
                    if (suite && $i ~ /^Suites:/) $i = "Suites: " suite
                    if (suite && $i ~ /^Components:/) $i = "Components: main"
                    print $i
                }

                print ""
                done = 1
            }' >"$dir/sources/machine.sources" || true

    cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list 2>/dev/null \
        | awk -v type="$type" -v suite="$suite" '
            $1 != "deb" { next }

            {
                u = 2
                while ($u ~ /^\[/ || ($u !~ /:/ && u < NF)) u++
            }

            $u !~ /\/(debian|debian-security|ubuntu)\/?$/  { next }
            suite && (done || $(u + 1) ~ /-security/)      { next }

            {
                $1 = type
                if (suite) { $(u + 1) = suite; $(u + 2) = "main"; NF = u + 2 }
                print
                done = 1
            }' >"$dir/sources/machine.list" || true
}


# apt_private DIR COMMAND…: apt-get that knows DIR's lists alone.
apt_private() {
    local dir=$1
    shift

    apt-get -q -o Dir::State="$dir/state" \
        -o Dir::State::status=/var/lib/dpkg/status \
        -o Dir::Cache="$dir/cache" \
        -o Dir::Etc::sourcelist=/dev/null \
        -o Dir::Etc::sourceparts="$dir/sources" \
        -o APT::Sandbox::User="$(id -un)" "$@"
}


has_test_nginx() {
    PERL5LIB=$PERL_DIR/usr/share/perl5:$PERL_DIR/lib/perl5 \
        perl -MTest::Nginx::Socket -e 1 >/dev/null 2>&1
}


# Test::Nginx is pure Perl. Debian has it since after bookworm, so the package
# of the newest suite is unpacked here, not installed.
test_nginx_from_debian() (
    local dir=$BUILD/apt/sid

    have apt-get \
        && apt_lists "$dir" deb sid \
        && cd "$dir" \
        && apt_private "$dir" update \
        && apt_private "$dir" download libtest-nginx-perl \
        && dpkg -x libtest-nginx-perl_*.deb "$PERL_DIR" \
        && rm -rf "$dir"
)


install_test_nginx() {
    if has_test_nginx; then
        return
    fi

    say "unpacking Test::Nginx into build/perl/"
    mkdir -p "$PERL_DIR" "$BUILD/log"

    if ! test_nginx_from_debian >"$BUILD/log/test-nginx" 2>&1 </dev/null; then
        have cpanm || die "no libtest-nginx-perl from apt (see
$BUILD/log/test-nginx) and no cpanm to take Test::Nginx from CPAN"

        quietly cpanm cpanm --notest --local-lib "$PERL_DIR" Test::Nginx
    fi

    has_test_nginx || die "Test::Nginx does not load: $(
        PERL5LIB=$PERL_DIR/usr/share/perl5:$PERL_DIR/lib/perl5 \
            perl -MTest::Nginx::Socket -e 1 2>&1 | head -n 3)"
}


# fetch_nginx_source DIR [SUITE]: the source of the installed nginx, or of a
# suite's; upstream's tarball out of Debian's source package, without Debian's
# patches, which are about packaging and not all on every mirror.
fetch_nginx_source() (
    local dir=$1 suite=${2:-} apt=$BUILD/apt/src${2:+-$2} package=nginx

    if [ -z "$suite" ]; then
        package=nginx=$(dpkg-query -W -f '${source:Version}' nginx) || return
    fi

    apt_lists "$apt" deb-src "$suite" \
        && cd "$apt" \
        && apt_private "$apt" update \
        && apt_private "$apt" source --download-only --tar-only "$package" \
        && rm -rf "$dir" \
        && mkdir -p "$dir" \
        && tar -C "$dir" --strip-components 1 -xf nginx_*.orig.tar.* \
        && rm -rf "$apt"
)
