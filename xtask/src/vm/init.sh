#!/bin/busybox sh
# shellcheck shell=dash
# First process of the test VM: makes the root file system usable, runs the payload, reports, powers off.
# Kernel messages go to the first serial port, everything of the payload to the second.
if [ ! -e /moved ]; then
    # The initial root cannot be pivoted away from, which container-like tests do: move to a tmpfs.
    /bin/busybox mkdir -p /moved.new
    /bin/busybox mount -t tmpfs -o mode=755,size=90% root /moved.new
    for entry in /*; do
        if [ "$entry" != /moved.new ]; then /bin/busybox cp -a "$entry" /moved.new/; fi
    done
    /bin/busybox touch /moved.new/moved
    exec /bin/busybox switch_root /moved.new /init
fi
/bin/busybox mkdir -p /bin /sbin /usr/bin /usr/sbin /proc /sys /dev /tmp /run /root /var/tmp /out
/bin/busybox --install -s
export PATH=/usr/bin:/bin:/usr/sbin:/sbin HOME=/root TERM=dumb LANG=C.UTF-8
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs shm /dev/shm
mount -t tmpfs tmp /tmp
mount -t tmpfs run /run
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t securityfs securityfs /sys/kernel/security
mount -t tracefs tracefs /sys/kernel/tracing
mount -t debugfs debugfs /sys/kernel/debug
mount -t bpf bpf /sys/fs/bpf
chmod 1777 /tmp /var/tmp
ln -s /proc/self/fd /dev/fd
hostname sandwatch-vm
ip link set lo up
for module in /modules/*.ko; do
    if [ -e "$module" ]; then insmod "$module" || echo "init: cannot load $module"; fi
done
(
    exec </dev/null >/dev/ttyS1 2>&1
    stty -opost </dev/ttyS1
    echo "@@boot $(uname -r)"
    cd /root || exit 1
    # shellcheck source=/dev/null
    . /payload.env
    timeout -s KILL "$SANDWATCH_VM_TIMEOUT" sh /payload.sh
    code=$?
    # What the payload left in /out goes back as a tar archive in text.
    if [ -n "$(ls -A /out)" ]; then
        printf '\n@@files\n'
        tar -C /out -cf - . | base64
        echo "@@end"
    fi
    printf '\n@@exit %s\n' "$code"
)
sync
poweroff -f
