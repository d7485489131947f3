#!/bin/sh
# Prints link/cold.ld: the groups of functions that no run reached.
#
#   link/cold.sh PROGRAM REACHED... > link/cold.ld
#
# PROGRAM is a release build with its symbols (CARGO_PROFILE_RELEASE_STRIP=none). Each REACHED is what link/reached.c wrote
# of a run of it: of a start and a while at rest, of scans, of pushes, of rollouts; `make bench` has such runs. The
# addresses for it: nm --defined-only PROGRAM | awk '$2 ~ /[tT]/ {print $1}'
set -eu
program=$1
shift
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
sed 's/^0*//; s/ .*//' "$@" | sort -u >"$folder/reached"
nm --defined-only -S "$program" | awk '$3 ~ /[tT]/ && NF == 4 {print $1, $2, $4}' | sed 's/^0*//' >"$folder/functions"

# A group is all that a part of a mangled name has below it. A group that nothing reached is kept whole, at its topmost
# part, if it is large enough to matter. The hash at the end of a name is left out: it changes with every version.
printf '%s\n' '/* Functions that no ordinary run of `slipway run` reaches stand together, behind the others: fewer pages of the program' \
    ' * are in memory. Made by link/cold.sh; what is not named here, or is no longer there, does no harm. */' \
    'SECTIONS {' '  .text.cold : {'
awk -v least=3000 '
    function hex(text,   value, i) {
        for (i = 1; i <= length(text); i++) value = value * 16 + index("0123456789abcdef", substr(text, i, 1)) - 1
        return value
    }
    # The ends of the parts of a name: of each path segment, and within those of types at each "..".
    # A name that is not mangled is one part.
    function divide(name,   place, size, segment, dots) {
        parts = 0
        if (name !~ /^_ZN/) {
            part[++parts] = length(name)
            return
        }
        place = 4
        while (match(substr(name, place), /^[0-9]+/)) {
            size = substr(name, place, RLENGTH) + 0
            segment = substr(name, place + RLENGTH, size)
            dots = 0
            while (index(substr(segment, dots + 1), "..")) {
                dots += index(substr(segment, dots + 1), "..") + 1
                part[++parts] = place + RLENGTH + dots - 1
            }
            place += RLENGTH + size
            part[++parts] = place - 1
        }
    }
    FNR == NR { is_reached[$1] = 1; next }
    {
        name = $3
        sub(/17h[0-9a-f]+E?(\.llvm\.[0-9]+)?$/, "", name)
        # Names of the standard library hold a hash in the middle.
        if (name ~ /^_R/) next
        size = $1 in seen ? 0 : hex($2)
        seen[$1] = 1
        divide(name)
        all[NR] = name
        for (i = 1; i <= parts; i++) {
            group = substr(name, 1, part[i])
            bytes[group] += size
            if ($1 in is_reached) reached[group] = 1
        }
    }
    END {
        for (n in all) {
            name = all[n]
            divide(name)
            for (i = 1; i <= parts; i++) {
                group = substr(name, 1, part[i])
                if (group in reached) continue
                if (bytes[group] >= least) chosen[group] = 1
                break
            }
        }
        for (group in chosen) printf "    *(.text.%s*)\n", group
    }' "$folder/reached" "$folder/functions" | LC_ALL=C sort
printf '%s\n' '    *(.text._R*8addr2line*)' '    *(.text._R*5gimli*)' '  }' '} INSERT AFTER .text;'
