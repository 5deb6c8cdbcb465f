#!/bin/sh
# kernel.sh FOLDER: puts the machine's kernel there, and an initramfs that mounts the host's files. It is the
# distribution's own package, downloaded and unpacked but not installed, and kept: `make clean` makes room for a newer
# one. Prints the kernel's version; when it cannot be had, why, with status 1.
set -eu
here=$(dirname "$(realpath "$0")")
mkdir -p "$1" && cd "$1"

META=linux-image-amd64                     # depends on the newest one
FIRST="virtio_pci 9pnet_virtio 9p overlay" # what mounts the host's files; all else is loaded when they are there

give_up() { echo "$*"; exit 1; }

# In one step it is there: an interrupted run leaves no half of it.
fetch() {
	rm -rf new && mkdir new && cd new
	image=$(apt-cache depends $META 2>/dev/null | sed -n 's/^ *Depends: \(linux-image-[0-9].*\)/\1/p' | head -n 1)
	[ -n "$image" ] || give_up "apt-get knows no package $META, which names the newest kernel"
	apt-get -qq download "$image" >log 2>&1 || give_up "$(grep '^E: ' log | head -n 1)"
	dpkg -x "$image"_*.deb . && rm "$image"_*.deb
	[ -e lib ] || ln -s usr/lib lib
	depmod -b . "$(ls lib/modules)"
	cd .. && mv -T new kernel
}

# Some distributions pack their modules.
put_modules() {
	for module in $FIRST; do
		modprobe -d kernel -S "$1" --show-depends $module | sed -n 's/^insmod \([^ ]*\).*/\1/p'
	done | awk '!seen[$0]++' | while read -r path; do
		name=$(basename "$path" .xz)
		case $path in *.xz) xz -dc "$path" >"new/mod/$name" ;; *) cp "$path" "new/mod/$name" ;; esac
		echo "$name" >>new/order
	done
}

make_initramfs() {
	rm -rf new && mkdir new && cd new && mkdir bin mod proc sys dev host up new
	busybox=$(command -v busybox)
	cp "$busybox" bin/busybox
	for name in sh mount insmod mkdir cat switch_root; do ln -s busybox bin/$name; done
	# It may be linked statically, or not.
	ldd "$busybox" 2>/dev/null | grep -o '/[^ ]*' | while read -r path; do cp --parents "$path" .; done
	cp "$here/init.sh" init && chmod +x init && cd ..
	put_modules "$1"
	(cd new && find . | cpio --quiet -o -H newc | gzip -1) >initramfs.new
	rm -r new && mv initramfs.new initramfs.gz
}

[ -e kernel ] || fetch
version=$(ls kernel/lib/modules)
make_initramfs "$version"
echo "$version"
