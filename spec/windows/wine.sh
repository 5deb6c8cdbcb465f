#!/bin/sh
# wine.sh: runs a program for Windows as Debian's wine does, without a display, with a Windows of its own in
# build/windows/wine.
#
#   sh spec/windows/wine.sh PROGRAM [ARGUMENTS]
unset DISPLAY
export WINEPREFIX="$PWD/build/windows/wine" WINEDEBUG=-all WINEDLLOVERRIDES='mscoree,mshtml='
exec /usr/lib/wine/wine64 "$@"
