#!/bin/sh
# kernel.sh FOLDER [DISTRO]: puts the machine's kernel there, and an initramfs that mounts the host's files. It is the
# package of this machine's distribution, or of another Debian, downloaded and unpacked but not installed, and kept:
# `make clean` makes room for a newer one. Prints the kernel's version; when it cannot be had, why, with status 1.
set -eu
here=$(dirname "$(realpath "$0")")
distro=${2:-}
mkdir -p "$1" && cd "$1"

META=linux-image-amd64                     # depends on the newest one
FIRST="virtio_pci 9pnet_virtio 9p overlay" # what mounts the host's files; all else is loaded when they are there

give_up() { echo "$*"; exit 1; }

# apt_of COMMAND ...: apt-get or apt-cache, with the other distribution's packages if one was asked for.
apt_of() {
	program=$1 && shift
	if [ -z "$distro" ]; then
		"$program" "$@"
	else
		"$program" -o Dir::Etc::SourceList="$PWD/sources" -o Dir::Etc::SourceParts=/dev/null \
			-o Dir::State::Lists="$PWD/lists" -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= "$@"
	fi
}

# From where this machine has its own packages.
list_packages() {
	[ -n "$distro" ] || return 0
	mirror=$(sh "$here/../support/mirror.sh")
	[ -n "$mirror" ] || give_up "the packages of this machine are not from a Debian mirror"
	mkdir -p lists/partial
	echo "deb $mirror $distro main" >sources
	apt_of apt-get -qq update >log 2>&1 || give_up "$distro: $(grep '^E: ' log | head -n 1)"
}

# depends_of PACKAGE PATTERN: those that it needs; newer kernels are in several packages.
depends_of() { apt_of apt-cache depends "$1" 2>/dev/null | sed -n "s/^ *Depends: \($2.*\)/\1/p"; }

# In one step it is there: an interrupted run leaves no half of it.
fetch() {
	rm -rf new && mkdir new && cd new
	list_packages
	image=$(depends_of $META 'linux-image-[0-9]' | head -n 1)
	[ -n "$image" ] || give_up "apt-get knows no package $META, which names the newest kernel"
	for package in "$image" $(depends_of "$image" 'linux-\(base\|binary\|modules\)-[0-9]'); do
		apt_of apt-get -qq download "$package" >log 2>&1 || give_up "$(grep '^E: ' log | head -n 1)"
		dpkg -x "$package"_*.deb . && rm "$package"_*.deb
	done
	rm -rf lists
	[ -e lib ] || ln -s usr/lib lib
	version=$(ls lib/modules)
	depmod -b . "$version"
	for image in boot/vmlinuz-"$version" lib/modules/"$version"/vmlinuz; do
		[ ! -e "$image" ] || ln -sf "$image" vmlinuz
	done
	cd .. && rm -rf kernel && mv -T new kernel
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

[ -e kernel/vmlinuz ] || fetch
version=$(ls kernel/lib/modules)
make_initramfs "$version"
echo "$version"
