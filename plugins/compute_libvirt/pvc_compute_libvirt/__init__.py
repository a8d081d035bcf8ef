"""compute_libvirt: guests run by QEMU through libvirt. The only package of PVC that knows libvirt and its XML."""
