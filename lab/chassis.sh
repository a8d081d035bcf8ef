#!/bin/sh
# The power switch of one lab node, as ipmi_sim(1) calls it: `get power`, `set power 0|1`, `set reset 1`, `set shutdown 1`.
# Answers at once, as a BMC does: the switching goes on behind it. What it needs is in the environment, by lab/bmcs.py:
# RECORD of the node's first process, FAULT and LOG (files), LAB and NODE (names), CABLES (the switch's ends of the node's),
# REPOSITORY and PYTHON. It runs in the switch's network namespace.

on() { # the process of the record is there, and is no other that was given the same id
    read -r record <"$RECORD" || [ -n "$record" ] || return 1
    pid=${record#*\"pid\": }
    ticks=${record#*\"started_ticks\": }
    read -r stat <"/proc/${pid%%,*}/stat" || return 1
    # shellcheck disable=SC2086 # the words of proc_pid_stat(5) behind the name: state first, start time the twentieth
    set -- ${stat##*) }
    [ "${20}" = "${ticks%%,*}" ] && [ "$1" != Z ]
} 2>/dev/null

off() { # as lab/node.py does it, but without waiting for a Python to start: cables first, so that nobody hears it die
    on || return
    for cable in $CABLES; do echo "link set $cable nomaster"; done | ip -force -batch - >/dev/null 2>&1
    kill -KILL "${pid%%,*}"
}

power() { # the rest of it, and on
    cd "$REPOSITORY" || exit 1
    for switch in "$@"; do PYTHONPATH=$REPOSITORY "$PYTHON" -P -m lab.main --name "$LAB" power "$switch" "$NODE"; done
} >>"$LOG" 2>&1 </dev/null

fault=$(cat "$FAULT" 2>/dev/null)
case "$1 $2 $3 $fault" in
"get power "*)
    state=0
    if [ "$fault" != lied ] && on; then state=1; fi
    echo "power:$state"
    ;;
"set power 0 liar") echo lied >"$FAULT" ;;
"set "*" disobey" | "set "*" liar" | "set "*" lied") ;;
"set power 0 "* | "set shutdown "*)
    off
    power off &
    ;;
"set power 1 "*) power on & ;;
"set reset "*)
    off
    power off on &
    ;;
esac
exit 0
