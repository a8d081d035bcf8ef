#!/bin/sh
# PVC's launch permit (docs/compute.md): libvirt asks this hook before it runs a guest, and what it does not allow does not start.
# A permit is /run/pvc/permits/UUID, written by pvcguard: {"generation": 7, "deadline_boottime_s": 1234.5, "kind": "start"}.
# So a request that waited in a stopped libvirtd starts nothing after its time. POSIX sh, no other program: it costs 2 ms.
# Arguments and standard input: libvirt.org/hooks.html.
permits=/run/pvc/permits
guest=$1

refuse() {
    echo "PVC refuses to run guest $guest: $1" >&2
    exit 1
}

case "$2/$3" in
    prepare/begin | start/begin | migrate/begin | restore/begin) ;;
    *) exit 0 ;;
esac

# libvirt writes one element per line; <uuid> stands before anything a user could have put there.
uuid=
while IFS= read -r line; do
    case "$line" in
        *"<uuid>"*"</uuid>"*)
            uuid=${line#*<uuid>}
            uuid=${uuid%%</uuid>*}
            break
            ;;
    esac
done
case "$uuid" in
    "" | *[!0-9a-f-]*) refuse "its definition names no UUID" ;;
esac

[ -r "$permits/$uuid" ] || refuse "it has no launch permit"
permit=
while IFS= read -r line || [ -n "$line" ]; do
    permit="$permit$line"
done <"$permits/$uuid"

case "$2" in
    migrate)
        case "$permit" in
            *'"kind": "incoming"'* | *'"kind":"incoming"'*) ;;
            *) refuse "its launch permit is not for an incoming migration" ;;
        esac
        ;;
esac

# Both clocks in hundredths of a second: /proc/uptime is CLOCK_BOOTTIME with two decimals.
hundredths() {
    whole=${1%%.*}
    part=
    case "$1" in *.*) part=${1#*.} ;; esac
    part=${part}00
    rest=${part#??}
    hundred=$whole${part%"$rest"}
}
case "$permit" in *'"deadline_boottime_s":'*) ;; *) refuse "its launch permit cannot be read" ;; esac
deadline=${permit#*\"deadline_boottime_s\":}
deadline=${deadline%%[,\}]*}
deadline=${deadline# }
case "$deadline" in
    "" | *[!0-9.]* | *.*.* | .*) refuse "its launch permit cannot be read" ;;
esac
read -r uptime _ </proc/uptime
hundredths "$deadline"
until=$hundred
hundredths "$uptime"
[ "$hundred" -lt "$until" ] || refuse "its launch permit has run out"
exit 0
