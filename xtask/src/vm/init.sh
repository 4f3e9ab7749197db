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
if [ -e /system.tar ]; then
    # A whole system takes over, with what is ours in its place; a service of it runs /report.
    mkdir /system
    mount -t tmpfs -o mode=755,size=90% system /system
    tar -C /system -xf /system.tar
    rm /system.tar
    mkdir -p /system/out /system/usr/bin /system/usr/lib/sandwatch
    cp -a /payload.sh /payload.env /report /system/
    cp -a /usr/bin/sandwatch /system/usr/bin/
    cp -a /usr/lib/sandwatch/. /system/usr/lib/sandwatch/
    cp -a /overlay/. /system/
    umount /tmp /run /dev/shm
    for mount in /dev /proc /sys; do mount --move "$mount" "/system$mount"; done
    exec switch_root /system /sbin/init
fi
sh /report
sync
poweroff -f
