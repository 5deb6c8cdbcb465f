#!/bin/sh
# run.sh: the specs on Windows, in a network namespace with links of its own, one of each MTU that they want.
#
#   sh spec/windows/run.sh FOLDER SHORT [FILE OR FOLDER ...]
#
# FOLDER, build/windows, has host.exe. SHORT: "1" for some. They run one after the other, for they share the links.
set -e
folder=$1 short=$2
shift 2
ip link set lo up
for mtu in 100 1500 9000; do
  ip link add mtu${mtu}a mtu $mtu type veth peer name mtu${mtu}b mtu $mtu
  for end in mtu${mtu}a mtu${mtu}b; do
    [ ! -e /proc/sys/net/ipv6/conf/$end ] || echo 1 >/proc/sys/net/ipv6/conf/$end/disable_ipv6 # it would send, too
    ip link set $end up
  done
done
[ $# -gt 0 ] || set -- $(luajit spec/windows/files.lua $short)
sh spec/windows/wine.sh wineboot >/dev/null 2>&1 || true # makes the Windows, once
export LUA_PATH='spec/windows/?.lua;spec/?.lua;/usr/share/lua/5.1/?.lua;/usr/share/lua/5.1/?/init.lua'
export BUSTED="sh spec/windows/wine.sh $folder/test/host.exe spec/windows/runner.lua --ignore-lua $ARGS"
exec luajit spec/support/run.lua 1 300 "$folder/test/log" "$@"
