# shellcheck shell=bash
# Processes that a script has started and that end with it: their ids are in
# CHILDREN.

CHILDREN=()


# forget_child PID: it has ended, and the number may be another process's soon.
forget_child() {
    local pid left=()

    for pid in ${CHILDREN[@]+"${CHILDREN[@]}"}; do
        [ "$pid" = "$1" ] || left+=("$pid")
    done

    CHILDREN=(${left[@]+"${left[@]}"})
}


end_children() {
    local pid

    trap '' INT TERM HUP

    for pid in ${CHILDREN[@]+"${CHILDREN[@]}"}; do
        kill -TERM "$pid" 2>/dev/null || true
    done

    wait
}
