#!/bin/sh
# Lays out what slipway's image holds: rootfs.sh PROGRAM FOLDER. The programs, the libraries that they load, and the files
# that these look for: no shell, no package manager. deploy/Dockerfile and tests/install.rs run it.
set -eu
program=$1 root=$2

place() { # file, where
  mkdir -p "$root$(dirname "$2")"
  cp -L "$1" "$root$2"
}

place "$program" /usr/local/bin/slipway
# Carries ssh:// remotes.
place /usr/bin/ssh /usr/bin/ssh
loaded=$(ldd "$program" /usr/bin/ssh)
case $loaded in *'not found'*) echo "$loaded" >&2; exit 1 ;; esac
# Libraries follow an arrow; the loader stands alone; the kernel's own has no file.
echo "$loaded" | sed -n 's|^\t[^/]*\(/[^ ]*\) .*|\1|p' | sort -u | while read -r library; do
  place "$library" "$library"
done

place /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
# Time zones that CEL expressions name.
mkdir -p "$root/usr/share"
cp -RL /usr/share/zoneinfo "$root/usr/share/zoneinfo"
rm -rf "$root/usr/share/zoneinfo/right" "$root/usr/share/zoneinfo/posix"
# ssh wants to know its user.
echo 'slipway:x:65532:65532::/data:/' > "$root/etc/passwd"
echo 'slipway:x:65532:' > "$root/etc/group"
echo 'hosts: files dns' > "$root/etc/nsswitch.conf"
