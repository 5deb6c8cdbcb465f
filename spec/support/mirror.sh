#!/bin/sh
# mirror.sh: prints the address that this machine has its own packages from; nothing when that is no mirror of Debian's.
apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Label: Debian' 'Component: main' | head -n 1
