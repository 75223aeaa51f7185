#!/bin/sh
# Prints the header that holds the text of the gate, src/spawner/gate/, as C
# strings: scripts/gate.sh > src/spawner/ngx_claude_gate_text.h.  The header is
# kept in the tree, so that nginx's own build needs nothing; t/008-house.t
# compares the two.

set -eu

cd "$(dirname "$0")/../src/spawner/gate"

cat <<'HEAD'

/*
 * The gate's files, made by scripts/gate.sh of src/spawner/gate/.
 */


#ifndef _NGX_CLAUDE_GATE_TEXT_H_INCLUDED_
#define _NGX_CLAUDE_GATE_TEXT_H_INCLUDED_

HEAD

for file in plugin.json hooks.json register.mjs; do
    printf '\n#define NGX_CLAUDE_GATE_%s' \
        "$(echo "${file%.*}" | tr 'a-z' 'A-Z')"
    sed 's/\\/\\\\/g; s/"/\\"/g; s/^/    "/; s/$/\\n"/' "$file" \
        | awk '{ printf " \\\n%s", $0 } END { printf "\n" }'
done

cat <<'TAIL'


#endif /* _NGX_CLAUDE_GATE_TEXT_H_INCLUDED_ */
TAIL
