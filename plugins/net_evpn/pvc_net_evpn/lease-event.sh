#!/bin/sh
# Called by a network's dnsmasq (--dhcp-script): `init` asks for the leases that are known, all else is a change, told to
# pvcnoded in one line. A shell, because it runs for every answer: 1 ms, where Python takes 50.
# PVC_FOLDER, PVC_PIPE, PVC_VNI are set by serving.py.
case "$1" in
init)
    cat "$PVC_FOLDER/leases"
    ;;
add | old | del)
    printf '%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n' "$PVC_VNI" "$1" "$2" "$3" "$4" "$DNSMASQ_LEASE_EXPIRES" \
        "$DNSMASQ_CLIENT_ID" "$DNSMASQ_IAID" "$DNSMASQ_MAC" 1<>"$PVC_PIPE"
    ;;
esac
exit 0
