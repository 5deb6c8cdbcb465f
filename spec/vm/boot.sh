#!/bin/sh
# boot.sh FOLDER DEVICE QUEUES ACCELERATOR: boots the machine of FOLDER; what its results port gets is printed, what its
# console gets is in FOLDER/console. Runs in mount, network and PID namespaces of its own, where all that it makes is.
set -eu
folder=$(realpath "$1") device=$2 queues=$3 accelerator=$4
root=$folder/root

# Others make their queues by themselves.
[ "$device" = virtio-net-pci ] || queues=1
options=romfile=
[ "$queues" = 1 ] || options=romfile=,mq=on,vectors=$((2 * queues + 2)) multi=multi_queue
dma=iommu_platform=on,disable-legacy=on # as other cards have it, which zero-copy AF_XDP of virtio wants
[ "$device" != virtio-net-pci ] || options=$options,$dma

# The host's files as they are on its disks, without what is mounted on them (/proc, /sys); but all of ours.
mkdir -p "$root"
mount --bind / "$root"
for path in /usr "$(pwd)"; do
	[ "$(stat -c %d "$path")" = "$(stat -c %d /)" ] || mount --bind "$path" "$root$path"
done

# A wire: a bridge that learns nothing, and lets through what bridges do not, nor iptables for them.
ip link add wire type bridge ageing_time 0 mcast_snooping 0 stp_state 0 group_fwd_mask 65528
ip tuntap add mode tap name near vnet_hdr ${multi:-}
ip tuntap add mode tap name far vnet_hdr
for name in near far; do
	echo 1 >/proc/sys/net/ipv6/conf/$name/disable_ipv6
	ip link set $name mtu 16000 master wire up
done
echo 1 >/proc/sys/net/ipv6/conf/wire/disable_ipv6
ip link set wire mtu 16000 up
for path in /proc/sys/net/bridge/bridge-nf-call-*; do [ ! -e "$path" ] || echo 0 >"$path"; done

rm -f "$folder/monitor"
exec qemu-system-x86_64 -accel "$accelerator" -cpu max -smp 2 -m 2048 -nodefaults -display none -no-reboot \
	-kernel "$folder/kernel/vmlinuz" -initrd "$folder/initramfs.gz" \
	-append "console=ttyS0 quiet panic=-1 oops=panic folder=$folder" -serial "file:$folder/console" \
	-virtfs "local,path=$root,mount_tag=host,security_model=none,readonly=on,multidevs=remap" \
	-device virtio-serial-pci \
	-chardev file,id=results,path=/dev/fd/1 -device virtserialport,chardev=results,name=results \
	-chardev "socket,id=monitor,path=$folder/monitor,server=on,wait=off" -mon chardev=monitor,mode=control \
	-chardev "socket,id=guest,path=$folder/monitor,server=off" -device virtserialport,chardev=guest,name=monitor \
	-netdev "tap,id=n0,ifname=near,queues=$queues,script=no,downscript=no,vhost=off" \
	-device "$device,id=nic,netdev=n0,mac=02:00:00:00:00:01,addr=0x10,$options" \
	-netdev "tap,id=n1,ifname=far,script=no,downscript=no,vhost=off" \
	-device "virtio-net-pci,id=peer,netdev=n1,mac=02:00:00:00:00:fa,addr=0x11,romfile=,$dma" \
	</dev/null 2>>"$folder/console"
