# shellcheck shell=bash disable=SC2034,SC2153
# Runs the suites, TEST_JOBS of them at the same time, each with an empty
# environment, in a directory and on ports of its own, under a time limit, and
# counts. A file that ran nothing, ended before its plan, crashed or was too
# slow counts as one failed test. What a file says is kept in a log, and its
# line is printed when it has ended.
#
# What a suite finds in its environment:
#
#   TEST_NGINX_BINARY        the nginx to test
#   TEST_NGINX_LOAD_MODULES  the module to load, or empty when it is linked in
#   TEST_NGINX_SERVROOT      a directory for nginx, empty at first
#   TEST_NGINX_PORT          the first of ten free ports
#   TEST_CLAUDE_BINARY       the pinned CLI
#   TEST_OPENCODE_BINARY     the pinned OpenCode
#   TEST_PYTHON              a Python with the pinned openai
#   TEST_OPENCLAW            where the pinned OpenClaw is, if it is
#   TEST_SANITIZED           asan, or valgrind, else empty: times mean little
#                            then
#   TEST_ROOT, HOME          the checkout; an empty private directory

TEST_DIR=$BUILD/test
TEST_JOBS=${TEST_JOBS:-$JOBS}
PERL_LIB=$PERL_DIR/usr/share/perl5:$PERL_DIR/lib/perl5
FILE_SECONDS=${FILE_SECONDS:-480}       # for one file, twice that with ASan
TOTAL_SECONDS=${TOTAL_SECONDS:-4500}    # for everything
FUZZ_SECONDS=${FUZZ_SECONDS:-60}

# They measure CPU time, which is more when caches are cold: nothing else of
# ours runs beside them. With sanitizers their bounds are so wide that it may.
TEST_ALONE=(t/162-schema-cost.t 't/real/linear*')

# They take longest, and come first, so that none of them is left for the end.
TEST_FIRST=('t/real/engine*' 't/real/sessions*' 't/real/lockdown*'
            't/real/opencode*' 't/real/pure*' 't/real/images*' 't/real/gate*'
            t/105-locations.t)

# They have no nginx to be sanitized, or measure one that is not; or what they
# compare is the CLI's doing, and nginx does what it does in the suites of the
# engine, tools and sessions; or all that happens in them does in others, too.
TEST_ONCE=(t/000-stand-in.t t/001-recordings.t t/006-suites.t t/007-formats.t
           t/008-house.t t/real/protocol.test.mjs t/real/pure.test.mjs
           t/real/pure-tools.test.mjs t/real/images.test.mjs
           t/real/strace.test.mjs t/148-silent.t t/082-turn-timeout.t
           t/084-resets.t
           t/real/levels.test.mjs t/real/box.test.mjs t/real/login.test.mjs
           t/real/lockdown.test.mjs t/real/gate.test.mjs
           t/real/opencode.test.mjs t/real/demo.test.mjs
           t/real/linear-schemas.test.mjs t/real/slices.test.mjs)

PASSED=0
FAILED=0
SKIPPED=0
FAILURES=()
declare -A RESULTS      # by name: "N passed, N failed"
SKIPS=()                # "NAME: REASON (how many)" each

BESIDE=()               # pids of what runs beside the suites
QUEUE=()                # "FILE SANITIZED" each
SLOTS=()                # slots that are free
JOB_SLOT=()             # by pid: what runs there
JOB_NAME=()
JOB_SINCE=()


# slot_dir SLOT: nginx's sockets lie below it, whose paths are short.
slot_dir() {
    echo "$TEST_DIR/$1"
}


# start_suite SLOT SANITIZED SECONDS LOG COMMAND…: in the background; its pid
# is $!.
start_suite() {
    local slot=$1 sanitized=$2 seconds=$3 log=$4 nginx=$NGINX module=$MODULE
    local dir port
    shift 4

    case "$sanitized" in
    asan)     nginx=$ASAN_NGINX module= ;;
    valgrind) nginx=$VALGRIND_NGINX module= ;;
    esac

    dir=$(slot_dir "$slot")
    port=$(free_ports "$slot")

    rm -rf "$dir"
    mkdir -p "$dir/servroot" "$dir/home" "$dir/sanitizer" "$dir/valgrind" \
             "$(dirname "$log")"

    # the workers' user may be another
    chmod 777 "$dir/sanitizer" "$dir/valgrind"

    # A shell ignores SIGINT for what it runs in the background.
    (cd "$ROOT" && exec timeout -k 10 "$seconds" env -i --default-signal \
        PATH="$PATH" HOME="$dir/home" LANG=C.UTF-8 CI="${CI:-}" \
        PERL5LIB="$PERL_LIB" \
        TEST_ROOT="$ROOT" \
        TEST_NGINX_BINARY="$nginx" \
        TEST_NGINX_LOAD_MODULES="$module" \
        TEST_NGINX_SERVROOT="$dir/servroot" \
        TEST_NGINX_PORT="$port" \
        TEST_CLAUDE_BINARY="$TEST_CLAUDE" \
        TEST_OPENCODE_BINARY="$TEST_OPENCODE" \
        TEST_PYTHON="$PYTHON_DIR/bin/python" \
        TEST_OPENCLAW="$BUILD/openclaw" \
        TEST_SANITIZED="$sanitized" \
        ASAN_OPTIONS="log_path=$dir/sanitizer/report" \
        UBSAN_OPTIONS="log_path=$dir/sanitizer/report:print_stacktrace=1" \
        LSAN_OPTIONS="suppressions=$ROOT/scripts/lsan.supp:print_suppressions=0" \
        "$@") >"$log" 2>&1 </dev/null &
}


# end_left_nginx SERVROOT: one that daemonized is in no process group of ours.
end_left_nginx() {
    local file pid i

    for file in "$1"/*.pid "$1"/*/*.pid; do
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


# reasons_of LOG: why tests were skipped, one reason a line, and how many.
reasons_of() {
    awk '
        function reason(text) {
            sub(/^.*# *([Ss][Kk][Ii][Pp]|[Tt][Oo][Dd][Oo]) *:? */, "", text)
            return text == "" ? "no reason given" : text
        }

        function add(text) {
            if (!n[text]++) order[++reasons] = text
        }

        /^ *ok .*# *[Ss][Kk][Ii][Pp]/        { add(reason($0)) }
        /^ *(not )?ok .*# *[Tt][Oo][Dd][Oo]/ { add("to do: " reason($0)) }
        /^1\.\.0 +# *[Ss][Kk][Ii][Pp]/           { add(reason($0)) }

        /^t\/[^ ]+ \.+ skipped: / {
            sub(/^[^ ]+ \.+ skipped: /, "")
            add($0 ", the whole file")
        }

        END {
            for (i = 1; i <= reasons; i++) {
                print order[i] " (" n[order[i]] ")"
            }
        }' "$1"
}


# judge NAME STATUS SECONDS LOG [REPORTS]: adds one file's result to the sums;
# what a sanitizer has to say is in the directory REPORTS.
judge() {
    local name=$1 status=$2 seconds=$3 log=$4 reports=${5:-} why= reason

    count_tap "$log"

    if [ "$status" = 124 ] || [ "$status" = 137 ]; then
        why="stopped after $seconds s"
    elif [ "$status" != 0 ] && [ "$N_FAILED" = 0 ]; then
        why="exit status $status"
    elif [ $((N_PASSED + N_FAILED + N_SKIPPED)) = 0 ]; then
        why="ran nothing"
    fi

    if [ -n "$reports" ] && compgen -G "$reports/report*" >/dev/null; then
        why="a sanitizer's report${why:+, $why}"
        cat "$reports"/report* >>"$log"
    fi

    if [ -n "$why" ]; then
        N_FAILED=$((N_FAILED + 1))
    fi

    PASSED=$((PASSED + N_PASSED))
    FAILED=$((FAILED + N_FAILED))
    SKIPPED=$((SKIPPED + N_SKIPPED))

    while read -r reason; do
        SKIPS+=("$name: $reason")
    done < <(reasons_of "$log")

    RESULTS[$name]="$N_PASSED passed, $N_FAILED failed"

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


# start_job SLOT FILE SANITIZED
start_job() {
    local slot=$1 file=$2 sanitized=$3 name command pid seconds=$FILE_SECONDS

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

    start_suite "$slot" "$sanitized" "$seconds" "$(log_of "$name")" \
                "${command[@]}" "$file"
    pid=$!

    CHILDREN+=("$pid")
    JOB_SLOT[pid]=$slot
    JOB_NAME[pid]=$name
    JOB_SINCE[pid]=$SECONDS
}


log_of() {
    echo "$TEST_DIR/log/${1//[\/ ]/_}"
}


# Waits for one of the jobs to end, judges it and frees its slot.
end_job() {
    local pid status=0 dir name

    wait -n -p pid "${!JOB_SLOT[@]}" || status=$?

    name=${JOB_NAME[pid]}
    dir=$(slot_dir "${JOB_SLOT[pid]}")

    end_left_nginx "$dir/servroot"
    gather_valgrind "$dir"
    judge "$name" "$status" $((SECONDS - JOB_SINCE[pid])) "$(log_of "$name")" \
          "$dir/sanitizer"

    SLOTS+=("${JOB_SLOT[pid]}")
    unset "JOB_SLOT[pid]" "JOB_NAME[pid]" "JOB_SINCE[pid]"
    forget_child "$pid"
}


# run_jobs SLOTS JOB…: "FILE SANITIZED" each, so many at the same time.
run_jobs() {
    local slots=$1 job
    shift

    mapfile -t SLOTS < <(seq "$slots")

    for job in "$@"; do
        [ ${#SLOTS[@]} != 0 ] || end_job
        start_job "${SLOTS[0]}" "${job% *}" "${job#* }"
        SLOTS=("${SLOTS[@]:1}")
    done

    while [ ${#JOB_SLOT[@]} != 0 ]; do
        end_job
    done
}


# is_one_of TEXT PATTERN…
is_one_of() {
    local text=$1 pattern
    shift

    for pattern in "$@"; do
        # shellcheck disable=SC2053
        [[ $text != $pattern ]] || return 0
    done

    return 1
}


# queue SANITIZED FILE…
queue() {
    local sanitized=$1 file
    shift

    for file in "$@"; do
        QUEUE+=("$file $sanitized")
    done
}


# Runs what is in the queue: first what may run beside others.
run_queue() {
    local job first=() beside=() alone=()

    for job in ${QUEUE[@]+"${QUEUE[@]}"}; do
        if is_one_of "$job" "${TEST_ALONE[@]/%/ }"; then
            alone+=("$job")
        elif is_one_of "${job% *}" "${TEST_FIRST[@]}"; then
            first+=("$job")
        else
            beside+=("$job")
        fi
    done

    QUEUE=()
    TEST_CLAUDE=$(pinned_claude)
    TEST_OPENCODE=$(pinned_opencode)

    trap end_children EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP

    run_jobs "$TEST_JOBS" ${first[@]+"${first[@]}"} \
             ${beside[@]+"${beside[@]}"}
    end_beside
    run_jobs 1 ${alone[@]+"${alone[@]}"}
}


# test_files SANITIZED FILE…
test_files() {
    queue "$@"
    run_queue
}


# start_beside NAME COMMAND…: what speaks TAP and takes long, with what the
# suites leave of the machine.
start_beside() {
    local name=$1
    shift

    mkdir -p "$TEST_DIR/log"

    (cd "$ROOT" && exec timeout -k 10 "$TOTAL_SECONDS" nice -n 19 \
        env --default-signal "$@") >"$(log_of "$name")" 2>&1 </dev/null &

    CHILDREN+=("$!")
    JOB_NAME[$!]=$name
    JOB_SINCE[$!]=$SECONDS
    BESIDE+=("$!")
}


# Waits for all of them, and judges them.
end_beside() {
    local pid status

    for pid in ${BESIDE[@]+"${BESIDE[@]}"}; do
        status=0
        wait "$pid" || status=$?
        judge "${JOB_NAME[pid]}" "$status" $((SECONDS - JOB_SINCE[pid])) \
              "$(log_of "${JOB_NAME[pid]}")"
        forget_child "$pid"
    done

    BESIDE=()
}


# Each fuzz target for $FUZZ_SECONDS, one line a target.
start_fuzz() {
    apt_install "${APT_FUZZ[@]}"
    mkdir -p "$BUILD/fuzz"

    start_beside t/fuzz -i PATH="$PATH" LANG=C.UTF-8 HOME="$BUILD/fuzz" \
        TEST_ROOT="$ROOT" FUZZ_SECONDS="$FUZZ_SECONDS" FUZZ_JOBS=1 \
        FUZZ_DIR="$BUILD/fuzz" NGINX_TREE="$BUILD/module" t/fuzz/run
}


# The text of the installation, word by word, in a Debian that debootstrap
# makes: with the machine's settings for apt and npm, without its login.
start_install() {
    local name unset=()

    [ -x "$ROOT/t/install.sh" ] || return 0

    for name in $(compgen -e); do
        case "$name" in
        ANTHROPIC_*|CLAUDE*) unset+=(-u "$name") ;;
        esac
    done

    start_beside t/install ${unset[@]+"${unset[@]}"} t/install.sh
}


install_for_tests() {
    apt_install "${APT_BUILD[@]}" "${APT_SOURCE[@]}" "${APT_TEST[@]}"
    install_node
    install_npm all
    install_opencode
    install_python
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
    local file

    build_asan
    start_fuzz
    start_install

    find_suites plain
    queue "" ${SUITES[@]+"${SUITES[@]}"}

    find_suites nginx

    if [ ${#SUITES[@]} = 0 ]; then
        die "no suite in t/"
    fi

    queue "" "${SUITES[@]}"

    for file in "${SUITES[@]}"; do
        is_one_of "$file" "${TEST_ONCE[@]}" || queue asan "$file"
    done

    run_queue
}


sum_up() {
    local failure skip

    echo

    for skip in ${SKIPS[@]+"${SKIPS[@]}"}; do
        echo "skipped: $skip"
    done

    for failure in ${FAILURES[@]+"${FAILURES[@]}"}; do
        echo "failed: $failure"
    done

    echo "$PASSED passed, $FAILED failed, $SKIPPED skipped"

    [ "$FAILED" = 0 ] && [ "$PASSED" != 0 ]
}


command_test() {
    local file files=()

    install_for_tests
    build_module

    for file in "$@"; do
        files+=("$(realpath --relative-to "$ROOT" "$file")")
    done

    if [ $# = 0 ]; then
        test_everything
    else
        if [ -n "${SANITIZE:-}" ]; then
            build_asan
        fi

        test_files "${SANITIZE:+asan}" "${files[@]}"
    fi

    sum_up
}
