# shellcheck shell=bash
# Processes that a script has started and that end with it: their ids are in
# CHILDREN.

CHILDREN=()


end_children() {
    local pid

    trap '' INT TERM HUP

    for pid in ${CHILDREN[@]+"${CHILDREN[@]}"}; do
        kill -TERM "$pid" 2>/dev/null || true
    done

    wait
}
