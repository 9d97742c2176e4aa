#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#
# completion.sh VMM: what the completion scripts offer in real shells. bash and zsh sit on a pseudo-terminal (zsh's zpty), get
# a line and the tab key, and show what became of the line; fish answers complete -C.
set -euo pipefail

for shell in zsh fish; do
    command -v $shell >/dev/null || { echo "no $shell: install the package of that name" && exit 77; }
done
VMM=$(realpath "$1")
DIR=$(mktemp -d)
trap 'rm -rf "$DIR"' EXIT
cd "$DIR"
export HOME=$DIR TERM=dumb
touch kernel.img
"$VMM" completion bash >vmm.bash
"$VMM" completion zsh >_vmm
"$VMM" completion fish >vmm.fish
FAILED=0

# check SHELL LINE WANTED GOT
check() {
    [[ $4 == "$3" ]] && return
    echo "$1: '$2' became '$4', not '$3'"
    FAILED=1
}

# LINE|what the line is after the tab key. Each has one continuation only.
cat >lines <<'END'
vmm pow|vmm powerbtn
vmm rem|vmm remove
vmm run --mem|vmm run --memory
vmm run --irqchip sp|vmm run --irqchip split
vmm run --acpi of|vmm run --acpi off
vmm run --memory hugepages|vmm run --memory hugepages=
vmm run --memory host|vmm run --memory host_numa_node=
vmm run --serial nu|vmm run --serial null
vmm run --device virtio-r|vmm run --device virtio-rng
vmm run --kernel ker|vmm run --kernel kernel.img
vmm run --disk ker|vmm run --disk kernel.img
vmm run ker|vmm run kernel.img
vmm plan --dump-a|vmm plan --dump-acpi
END

# Types the lines into a shell on a pseudo-terminal. Control-X, then control-P, shows the line between << and >>.
cat >type.zsh <<'END'
zmodload zsh/zpty
zpty -b shell "$1"
zpty -w shell "$2"
zpty -r shell ready '*READY*'
while IFS= read -r line; do
    zpty -w -n shell "${line%%|*}"$'\t\x18\x10'
    zpty -r shell text '*<<*>>*'
    text=${${text##*<<}%%>>*}
    print -r -- "${text% }"
done <lines
zpty -d shell
END

on_terminal() {
    local shell=$1 command=$2 setup=$3 line wanted n=0
    local -a answers
    mapfile -t answers < <(timeout 120 zsh -f type.zsh "$command" "$setup")
    while IFS='|' read -r line wanted; do
        check "$shell" "$line" "$wanted" "${answers[n++]:-nothing}"
    done <lines
}

on_terminal bash 'exec bash --norc --noprofile -i' \
    "PS1=; . ./vmm.bash; bind -x '\"\\C-x\\C-p\": printf \"<<%s>>\" \"\$READLINE_LINE\"; READLINE_LINE='; echo REA''DY"
on_terminal zsh 'exec zsh -f -i' \
    "PS1=; fpath=($DIR \$fpath); autoload -U compinit; compinit -u -D; show() { print -rn -- \"<<\$BUFFER>>\"; BUFFER= }; zle -N show; bindkey '^X^P' show; print REA''DY"

# fish lists what may follow.
while IFS='|' read -r line wanted; do
    got=$(fish --no-config -c "source vmm.fish; complete -C '$line'" | cut -f1)
    check fish "$line" "${wanted##* }" "$got"
done <lines
got=$(fish --no-config -c "source vmm.fish; complete -C 'vmm run --'" | cut -f1)
for option in memory cpus disk serial socket; do
    grep -qx -- "--$option" <<<"$got" || check fish 'vmm run --' "--$option" "$got"
done
exit $FAILED
