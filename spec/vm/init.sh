#!/bin/sh
# init.sh: the first process of the machine, in the initramfs: mounts the host's files, which can be read only, with an
# overlay in memory on them, and goes on with guest.sh there.
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
while read -r module; do insmod /mod/$module; done </order
mount -t 9p -o trans=virtio,version=9p2000.L,msize=524288,ro,cache=loose host /host
mount -t tmpfs memory /up && mkdir /up/upper /up/work
mount -t overlay -o lowerdir=/host,upperdir=/up/upper,workdir=/up/work overlay /new
for word in $(cat /proc/cmdline); do
	case $word in folder=*) folder=${word#*=} ;; esac
done
exec switch_root /new /bin/sh "$folder/../../spec/vm/guest.sh" "$folder"
