#!/usr/bin/env bash
# Become a real systemd that has this machine's files, and changes none of them.
#   unshare --mount --pid --uts --ipc --net --cgroup --fork boot_systemd.sh FOLDER CHECKOUT VENV PYTHON
# FOLDER: empty, for what is written. FOLDER/site and FOLDER/gaitstream must exist: the site's files, and the
# program that stands for CHECKOUT's. CHECKOUT and VENV appear as /opt/gaitstream and /opt/gaitstream/.venv, and
# PYTHON, the interpreter's folder, as /opt/python: where it is may be closed to the service's user.
set -euo pipefail
folder=$1 checkout=$2 venv=$3 python=$4

mount --make-rprivate /
site=$(mktemp -d) && cp -r "$folder/site/." "$site" && cp "$folder/gaitstream" "$site/gaitstream"
mount -t tmpfs tmpfs "$folder"
mkdir "$folder"/{upper,work,root}
root=$folder/root
mount -t overlay overlay -o "lowerdir=/,upperdir=$folder/upper,workdir=$folder/work" "$root"

# The checkout may have no .venv to mount over: a layer of its own has one.
mkdir -p "$root"/{opt/gaitstream,opt/python,site} "$folder"/layer/{upper/.venv,work}
mount -t overlay overlay -o "lowerdir=$checkout,upperdir=$folder/layer/upper,workdir=$folder/layer/work" \
    "$root/opt/gaitstream"
mount --bind "$python" "$root/opt/python"
mount --bind "$venv" "$root/opt/gaitstream/.venv"
mount --bind "$site/gaitstream" "$root/opt/gaitstream/.venv/bin/gaitstream"
cp "$site"/* "$root/site" && ln -s /opt/gaitstream/deploy "$root/site/deploy"

mount -t proc proc "$root/proc"
mount -t sysfs -o ro sysfs "$root/sys"
mount -t tmpfs -o mode=755 tmpfs "$root/run"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
mount --rbind /dev "$root/dev"
if [ -f /sys/fs/cgroup/cgroup.controllers ]; then
    mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
else
    mount -t tmpfs -o mode=755 tmpfs "$root/sys/fs/cgroup"
    mkdir "$root/sys/fs/cgroup/systemd"
    mount -t cgroup -o none,name=systemd,xattr cgroup "$root/sys/fs/cgroup/systemd"
fi
# Nothing of this machine's own services: only what a unit needs to be enabled and to log.
cat > "$root/etc/systemd/system/bare.target" <<'UNIT'
[Unit]
Requires=systemd-journald.service
After=systemd-journald.service
DefaultDependencies=no
UNIT

cd "$root"
mkdir -p old
pivot_root . old
umount -l /old
exec env -i container=unshare PATH=/usr/sbin:/usr/bin:/sbin:/bin \
    /lib/systemd/systemd --system --unit=bare.target
