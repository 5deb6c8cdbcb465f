#!/bin/sh
# sources.sh: brings Debian's source packages into a folder, unpacked and with Debian's patches unless --download-only.
#
#   sh engine/package/sources.sh FOLDER [--download-only] PACKAGE...
#
# apt-get gets them by a configuration of its own in that folder: its sources are the machine's, of source packages. An
# older release's lists will do when they cannot be brought up to date.
set -e
mkdir -p "$1" && cd "$1" && shift
mkdir -p sources lists/partial cache/archives/partial
for f in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
  [ -e "$f" ] && sed -n 's/^deb /deb-src /p' "$f" >"sources/$(basename "$f" .list).list"
done
for f in /etc/apt/sources.list.d/*.sources; do
  [ -e "$f" ] && sed 's/^Types:.*/Types: deb-src/' "$f" >"sources/$(basename "$f")"
done
apt="apt-get -qq -o Dir::Etc::sourcelist=/dev/null -o Dir::Etc::sourceparts=$PWD/sources -o Dir::State::lists=$PWD/lists
  -o Dir::Cache=$PWD/cache -o APT::Sandbox::User="
$apt update || true
$apt source "$@"
