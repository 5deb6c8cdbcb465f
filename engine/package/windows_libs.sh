#!/bin/sh
# windows_libs.sh: builds for Windows what etherlua.exe is linked with, from Debian's sources: LuaJIT, libpcap without
# live capture, which is Npcap's, and cjson.
#
#   sh engine/package/windows_libs.sh FOLDER
#
# FOLDER/lib and FOLDER/include have them, FOLDER/log what was said.
set -e
mkdir -p "$1/lib" "$1/include" && cd "$1"
cross=x86_64-w64-mingw32-
exec 3>&2 >log 2>&1
trap 'status=$?; [ $status = 0 ] || tail -n 5 log >&3; exit $status' EXIT

# The folder that a source package was unpacked into.
unpacked() { find source -maxdepth 1 -type d -name "$1-[0-9]*"; }

sh "$OLDPWD/engine/package/sources.sh" source luajit libpcap lua-cjson

luajit=$(unpacked luajit)
make -C "$luajit/src" HOST_CC=gcc CROSS=$cross TARGET_SYS=Windows BUILDMODE=static libluajit.a
cp "$luajit/src/libluajit.a" lib
cp "$luajit"/src/*.h include

libpcap=$(unpacked libpcap)
cmake -S "$libpcap" -B pcap -DCMAKE_SYSTEM_NAME=Windows -DCMAKE_C_COMPILER=${cross}gcc -DCMAKE_BUILD_TYPE=Release \
  -DPCAP_TYPE=null -DDISABLE_DBUS=ON -DENABLE_REMOTE=OFF
make -C pcap pcap_static
cp pcap/libpcap.a lib
cp -r "$libpcap/pcap" include

# cjson brings a function of its own for what LuaJIT has under this name.
cjson=$(unpacked lua-cjson)
echo '#define luaL_setfuncs cjson_setfuncs' >rename.h
for part in lua_cjson strbuf fpconv; do
  ${cross}gcc -O2 -w -DNDEBUG -fgnu89-inline -Iinclude -include lauxlib.h -include rename.h -c -o $part.o "$cjson/$part.c"
done
${cross}ar rcs lib/libcjson.a lua_cjson.o strbuf.o fpconv.o
