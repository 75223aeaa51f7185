# shellcheck shell=bash disable=SC2034,SC2153
# Runs the suites, each file alone, with an empty environment, under a time
# limit, and counts. A file that ran nothing, ended before its plan, crashed
# or was too slow counts as one failed test.
#
# What a suite finds in its environment:
#
#   TEST_NGINX_BINARY        the nginx to test
#   TEST_NGINX_LOAD_MODULES  the module to load, or empty when it is linked in
#   TEST_NGINX_SERVROOT      a directory for nginx, empty at first
#   TEST_NGINX_PORT          the first of ten free ports
#   TEST_CLAUDE_BINARY       the pinned CLI
#   TEST_OPENCODE_BINARY     the pinned OpenCode
#   TEST_SANITIZED           asan, or valgrind, else empty: times mean little
#                            then
#   TEST_ROOT, HOME          the checkout; an empty private directory

TEST_DIR=$BUILD/test
PERL_LIB=$PERL_DIR/usr/share/perl5:$PERL_DIR/lib/perl5
FILE_SECONDS=${FILE_SECONDS:-300}       # for one file, twice that with ASan
TOTAL_SECONDS=${TOTAL_SECONDS:-4500}    # for everything
FUZZ_SECONDS=${FUZZ_SECONDS:-60}

PASSED=0
FAILED=0
SKIPPED=0
FAILURES=()


# run_suite SANITIZED SECONDS LOG COMMAND…
run_suite() {
    local sanitized=$1 seconds=$2 log=$3 nginx=$NGINX module=$MODULE
    shift 3

    case "$sanitized" in
    asan)     nginx=$ASAN_NGINX module= ;;
    valgrind) nginx=$VALGRIND_NGINX module= ;;
    esac

    rm -rf "${TEST_DIR:?}/servroot" "${TEST_DIR:?}/home"
    mkdir -p "$TEST_DIR/servroot" "$TEST_DIR/home" "$(dirname "$log")"

    (cd "$ROOT" && exec timeout -k 10 "$seconds" env -i \
        PATH="$PATH" HOME="$TEST_DIR/home" LANG=C.UTF-8 CI="${CI:-}" \
        PERL5LIB="$PERL_LIB" \
        TEST_ROOT="$ROOT" \
        TEST_NGINX_BINARY="$nginx" \
        TEST_NGINX_LOAD_MODULES="$module" \
        TEST_NGINX_SERVROOT="$TEST_DIR/servroot" \
        TEST_NGINX_PORT="$(free_ports)" \
        TEST_CLAUDE_BINARY="$(pinned_claude)" \
        TEST_OPENCODE_BINARY="$(pinned_opencode)" \
        TEST_SANITIZED="$sanitized" \
        ASAN_OPTIONS="log_path=$TEST_DIR/sanitizer/report" \
        UBSAN_OPTIONS="log_path=$TEST_DIR/sanitizer/report:print_stacktrace=1" \
        LSAN_OPTIONS="suppressions=$ROOT/scripts/lsan.supp:print_suppressions=0" \
        "$@") >"$log" 2>&1 </dev/null
}


# An nginx that daemonized is in no process group of ours.
end_left_nginx() {
    local file pid i

    for file in "$TEST_DIR"/servroot/*.pid "$TEST_DIR"/servroot/*/*.pid; do
        [ -s "$file" ] || continue
        pid=$(head -n 1 "$file")

        # The file may be old, and the number another process's by now.
        case "$(readlink "/proc/$pid/exe" 2>/dev/null)" in
        */nginx*) ;;
        *)        continue ;;
        esac

        kill -TERM "$pid" 2>/dev/null || continue

        for ((i = 0; i < 60; i++)); do
            kill -0 "$pid" 2>/dev/null || continue 2
            sleep 0.05
        done

        kill -KILL "$pid" 2>/dev/null || true
    done
}


# Counts lines of TAP at the left margin into N_PASSED, N_FAILED, N_SKIPPED;
# a failed test that is marked TODO is not a failure. Where Node's runner has
# added up its nested tests, its sums hold.
count_tap() {
    eval "$(awk '
        /^not ok / && /# *[Tt][Oo][Dd][Oo]/ { skipped++; next }
        /^ok /     && /# *[Ss][Kk][Ii][Pp]/ { skipped++; next }
        /^not ok /               { failed++; next }
        /^ok /                   { passed++; next }
        /^1\.\.0 +# *[Ss][Kk][Ii][Pp]/ { skipped++ }
        /^t\/[^ ]+ \.+ skipped: / { skipped++ }     # prove, of a whole file
        /^# (pass|fail|cancelled|skipped|todo) [0-9]+$/ { node[$2] += $3 }
        END {
            if ("pass" in node) {
                passed = node["pass"]
                failed = node["fail"] + node["cancelled"]
                skipped = node["skipped"] + node["todo"]
            }

            printf "N_PASSED=%d N_FAILED=%d N_SKIPPED=%d\n",
                   passed, failed, skipped
        }' "$1")"
}


# judge NAME STATUS SECONDS LOG: adds one file's result to the sums.
judge() {
    local name=$1 status=$2 seconds=$3 log=$4 why=

    count_tap "$log"

    if [ "$status" = 124 ] || [ "$status" = 137 ]; then
        why="stopped after $seconds s"
    elif [ "$status" != 0 ] && [ "$N_FAILED" = 0 ]; then
        why="exit status $status"
    elif [ $((N_PASSED + N_FAILED + N_SKIPPED)) = 0 ]; then
        why="ran nothing"
    fi

    if compgen -G "$TEST_DIR/sanitizer/report*" >/dev/null; then
        why="a sanitizer's report${why:+, $why}"
        cat "$TEST_DIR"/sanitizer/report* >>"$log"
        rm -rf "$TEST_DIR/sanitizer"
    fi

    if [ -n "$why" ]; then
        N_FAILED=$((N_FAILED + 1))
    fi

    PASSED=$((PASSED + N_PASSED))
    FAILED=$((FAILED + N_FAILED))
    SKIPPED=$((SKIPPED + N_SKIPPED))

    printf '%-44s %4d passed %3d failed %4d s%s\n' "$name" "$N_PASSED" \
           "$N_FAILED" "$seconds" "${why:+  ($why)}"

    if [ "$N_FAILED" != 0 ]; then
        FAILURES+=("$name${why:+: $why} (${log#"$ROOT"/})")
        show_failure "$log"
    fi
}


# The failed tests and what follows them, or the end of what was said.
show_failure() {
    {
        grep -n -A 12 '^ *not ok ' "$1" | head -n 120 || true
        echo "  …"
        tail -n 25 "$1"
    } | sed 's/^/    | /' | cut -c 1-500
}


# test_file FILE SANITIZED
test_file() {
    local file=$1 sanitized=$2 name status=0 since=$SECONDS command
    local seconds=$FILE_SECONDS

    name=$file${sanitized:+ ($sanitized)}

    case "$file" in
    *.t)   command=(prove -v --merge) ;;
    *.mjs) command=(node --test-reporter=tap) ;;
    *)     die "no suite: $file (they end in .t or .test.mjs)" ;;
    esac

    case "$sanitized" in
    asan)     seconds=$((seconds * 2)) ;;
    valgrind) seconds=$((seconds * 5)) ;;
    esac

    if ((seconds > TOTAL_SECONDS - SECONDS)); then
        seconds=$((TOTAL_SECONDS > SECONDS ? TOTAL_SECONDS - SECONDS : 1))
    fi

    rm -rf "$TEST_DIR/sanitizer" "$TEST_DIR/valgrind"
    mkdir -p "$TEST_DIR/sanitizer" "$TEST_DIR/valgrind"

    # the workers' user may be another
    chmod 777 "$TEST_DIR/sanitizer" "$TEST_DIR/valgrind"

    local log=$TEST_DIR/log/${name//[\/ ]/_}

    run_suite "$sanitized" "$seconds" "$log" "${command[@]}" "$file" \
        || status=$?
    end_left_nginx

    if [ "$sanitized" = valgrind ]; then
        gather_valgrind
    fi

    judge "$name" "$status" $((SECONDS - since)) "$log"
}


# Each fuzz target for $FUZZ_SECONDS. t/fuzz/run builds and runs them all and
# speaks TAP, one line a target. Most of a suite's time is spent waiting, so
# that they run beside the suites, with what these leave of the machine.
start_fuzz() {
    FUZZ_PID=

    if [ ! -x "$ROOT/t/fuzz/run" ]; then
        return
    fi

    apt_install "${APT_FUZZ[@]}"
    mkdir -p "$TEST_DIR/log" "$BUILD/fuzz"

    (cd "$ROOT" && exec timeout -k 10 1200 nice -n 19 env -i PATH="$PATH" \
        LANG=C.UTF-8 HOME="$BUILD/fuzz" \
        TEST_ROOT="$ROOT" FUZZ_SECONDS="$FUZZ_SECONDS" FUZZ_JOBS=1 \
        FUZZ_DIR="$BUILD/fuzz" NGINX_TREE="$BUILD/module" \
        t/fuzz/run) >"$TEST_DIR/log/fuzz" 2>&1 </dev/null &

    FUZZ_PID=$!
    FUZZ_SINCE=$SECONDS
}


end_fuzz() {
    local status=0

    if [ -n "$FUZZ_PID" ]; then
        wait "$FUZZ_PID" || status=$?
        judge t/fuzz "$status" $((SECONDS - FUZZ_SINCE)) "$TEST_DIR/log/fuzz"
    fi
}


install_for_tests() {
    apt_install "${APT_BUILD[@]}" "${APT_SOURCE[@]}" "${APT_TEST[@]}"
    install_node
    install_npm all
    install_opencode
    install_test_nginx
}


# Sets SUITES to every suite of a kind: those that drive nginx, or not.
find_suites() {
    case "$1" in
    nginx) SUITES=("$ROOT"/t/*.t "$ROOT"/t/real/*.test.mjs) ;;
    plain) SUITES=("$ROOT"/t/stub/*.test.mjs) ;;
    esac

    local found=() file

    for file in "${SUITES[@]}"; do
        [ -e "$file" ] && found+=("${file#"$ROOT"/}")
    done

    SUITES=(${found[@]+"${found[@]}"})
}


test_everything() {
    local file sanitized

    find_suites plain

    for file in ${SUITES[@]+"${SUITES[@]}"}; do
        test_file "$file" ""
    done

    find_suites nginx

    if [ ${#SUITES[@]} = 0 ]; then
        die "no suite in t/"
    fi

    for sanitized in "" asan; do

        if [ -n "$sanitized" ]; then
            build_asan
            start_fuzz
        fi

        for file in "${SUITES[@]}"; do
            test_file "$file" "$sanitized"
        done
    done

    end_fuzz
}


sum_up() {
    local failure

    echo

    for failure in ${FAILURES[@]+"${FAILURES[@]}"}; do
        echo "failed: $failure"
    done

    echo "$PASSED passed, $FAILED failed, $SKIPPED skipped"

    [ "$FAILED" = 0 ] && [ "$PASSED" != 0 ]
}


command_test() {
    local file

    install_for_tests
    build_module

    if [ $# = 0 ]; then
        test_everything
    else
        if [ -n "${SANITIZE:-}" ]; then
            build_asan
        fi

        for file in "$@"; do
            file=$(realpath --relative-to "$ROOT" "$file")
            test_file "$file" "${SANITIZE:+asan}"
        done
    fi

    sum_up
}
