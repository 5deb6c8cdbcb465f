#!/bin/sh
# guest.sh FOLDER: goes on as the first process of the machine, on the host's files: loads drivers, finds the two NICs,
# runs spec files, and switches off. What to run is in FOLDER/plan.sh, results go to a port of the host's.
folder=$1
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TERM=dumb LANG=C.UTF-8

mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm /lib/modules
mount -t devpts pts /dev/pts
mount -t tmpfs memory /dev/shm
mount -t tmpfs memory /run
mount -t bpf bpf /sys/fs/bpf
mount --bind "$folder/kernel/lib/modules" /lib/modules

# DRIVER and QUEUES of the NIC, ROOT of the sources, the specs' environment, and COMMAND
. "$folder/plan.sh"
export NICS="0000:00:10.0 0000:00:11.0" # where boot.sh puts them
cd "$ROOT" || echo "no $ROOT here"
ip link set lo up
modprobe -a veth 8021q tun virtio_net virtio_console "$DRIVER"

for port in /sys/class/virtio-ports/*; do
	case $(cat "$port/name") in
	results) results=/dev/$(basename "$port") ;;
	monitor) export VM_MONITOR=/dev/$(basename "$port") ;;
	esac
done
[ "$DRIVER" != virtio_net ] || ethtool -L "$(basename /sys/bus/pci/devices/0000:00:10.0/virtio*/net/*)" combined "$QUEUES"

eval "$COMMAND" >"$results" 2>&1
echo "ended with status $?" >"$results"
sync
echo o >/proc/sysrq-trigger
while :; do sleep 1; done
