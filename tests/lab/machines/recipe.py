# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is inside the lab's guest: packages and files, as data. Its digest names the cached image."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

# path -> (mode, content)
Files = Mapping[str, tuple[int, str]]

SUITE = "trixie"
DISK_MIB = 4096
PARTITION_OFFSET = 1 << 20

PACKAGES = (
    "systemd-sysv",
    "udev",
    "kmod",
    "linux-image-amd64",
    "initramfs-tools",
    "lz4",
    "grub-pc",
    "openssh-server",
    "python3",
    "pciutils",
    "iproute2",
    "e2fsprogs",
    "procps",
    "ca-certificates",
)

# Fewer files: a smaller image, a quicker build and a shorter coldplug. Nothing a GPU host's preparation looks at.
EXCLUDED_PATHS = (
    "/usr/share/man/*",
    "/usr/share/locale/*",
    "/usr/share/info/*",
    "/usr/lib/udev/hwdb.d/*",
    *(
        # Not all of media: nouveau needs cec, and cec needs rc-core.
        f"/usr/lib/modules/*/kernel/drivers/media/{folder}/*"
        for folder in ("dvb-frontends", "i2c", "pci", "platform", "rc/keymaps", "test-drivers", "tuners", "usb")
    ),
    "/usr/lib/modules/*/kernel/drivers/net/wireless/*",
    "/usr/lib/modules/*/kernel/drivers/infiniband/*",
    "/usr/lib/modules/*/kernel/drivers/iio/*",
    "/usr/lib/modules/*/kernel/drivers/gpu/drm/amd/*",
    "/usr/lib/modules/*/kernel/drivers/gpu/drm/i915/*",
    "/usr/lib/modules/*/kernel/drivers/gpu/drm/xe/*",
    "/usr/lib/modules/*/kernel/drivers/gpu/drm/radeon/*",
    "/usr/lib/modules/*/kernel/drivers/input/*",
    "/usr/lib/modules/*/kernel/drivers/watchdog/*",
    "/usr/lib/modules/*/kernel/drivers/cpufreq/*",
    "/usr/lib/modules/*/kernel/drivers/edac/*",
    "/usr/lib/modules/*/kernel/drivers/video/fbdev/vga16fb*",
    "/usr/lib/modules/*/kernel/arch/x86/crypto/*",
)

MASKED_UNITS = (
    "apt-daily.timer",
    "apt-daily-upgrade.timer",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "e2scrub_reap.service",
    "fstrim.timer",
    "getty-static.service",
    "getty@tty1.service",
    "serial-getty@ttyS0.service",
    "grub-common.service",
    "dev-hugepages.mount",
    "dev-mqueue.mount",
    "ldconfig.service",
    "modprobe@configfs.service",
    "modprobe@drm.service",
    "modprobe@efi_pstore.service",
    "modprobe@fuse.service",
    "sys-fs-fuse-connections.mount",
    "sys-kernel-config.mount",
    "systemd-hibernate-clear.service",
    "systemd-networkd.service",
    "systemd-networkd.socket",
    "systemd-udev-load-credentials.service",
    "proc-sys-fs-binfmt_misc.automount",
    "sshd-keygen.service",
    "sys-kernel-debug.mount",
    "sys-kernel-tracing.mount",
    "systemd-ask-password-console.path",
    "systemd-ask-password-wall.path",
    "systemd-binfmt.service",
    "systemd-hwdb-update.service",
    "systemd-journal-catalog-update.service",
    "systemd-logind.service",
    "systemd-pcrmachine.service",
    "systemd-pcrphase.service",
    "systemd-pcrphase-sysinit.service",
    "systemd-pstore.service",
    "systemd-random-seed.service",
    "systemd-tpm2-setup.service",
    "systemd-tpm2-setup-early.service",
)

# Rules for hardware these machines do not have; each would be evaluated for every device at boot.
MASKED_UDEV_RULES = (
    "55-dm.rules",
    "60-autosuspend.rules",
    "60-cdrom_id.rules",
    "60-dmi-id.rules",
    "60-evdev.rules",
    "60-fido-id.rules",
    "60-infiniband.rules",
    "60-input-id.rules",
    "60-persistent-alsa.rules",
    "60-persistent-input.rules",
    "60-persistent-storage-dm.rules",
    "60-persistent-storage-mtd.rules",
    "60-persistent-storage-tape.rules",
    "60-persistent-v4l.rules",
    "60-sensor.rules",
    "60-serial.rules",
    "64-btrfs.rules",
    "70-camera.rules",
    "70-joystick.rules",
    "70-memory.rules",
    "70-mouse.rules",
    "70-touchpad.rules",
    "75-probe_mtd.rules",
    "78-sound-card.rules",
    "80-libinput-device-groups.rules",
    "90-libinput-fuzz-override.rules",
    "95-dm-notify.rules",
)

# Each would run at every boot and, without KVM, cost a third of a second to find nothing to do.
MASKED_GENERATORS = (
    "systemd-debug-generator",
    "systemd-getty-generator",
    "systemd-gpt-auto-generator",
    "systemd-hibernate-resume-generator",
    "systemd-rc-local-generator",
    "systemd-run-generator",
    "systemd-ssh-generator",
    "systemd-system-update-generator",
    "systemd-sysv-generator",
    "systemd-tpm2-generator",
)

# The seed (host name, SSH keys) arrives over QEMU's fw_cfg, once per machine; afterwards the files are simply there.
SEED_SCRIPT = """#!/bin/sh
set -e
modprobe qemu_fw_cfg
tar -C / -xf /sys/firmware/qemu_fw_cfg/by_name/opt/katalab.seed/raw
hostname -F /etc/hostname
mkdir -p /var/lib/katalab
touch /var/lib/katalab/seeded
"""

SEED_UNIT = """[Unit]
Description=Host name and SSH keys of this lab machine
DefaultDependencies=no
Conflicts=shutdown.target
Requires=systemd-remount-fs.service
After=systemd-remount-fs.service
Before=sysinit.target network-pre.target ssh.service
ConditionPathExists=!/var/lib/katalab/seeded
ConditionKernelCommandLine=!katalab.finish

[Service]
Type=oneshot
ExecStart=/usr/local/lib/katalab/seed

[Install]
WantedBy=sysinit.target
"""

FINISH_SCRIPT = """#!/bin/sh
# Runs once, in the first boot during the build: from then on the machine boots from its own disk.
exec >/dev/ttyS0 2>&1
set -e
trap 'echo "katalab: finish FAILED"; systemctl poweroff --force' EXIT
grub-install --target=i386-pc /dev/vda
update-grub
rm -f /etc/systemd/system/katalab-finish.service /etc/systemd/system/multi-user.target.wants/katalab-finish.service
rm -f /usr/local/lib/katalab/finish
rm -rf /var/log/journal/* /var/lib/systemd/random-seed /etc/ssh/ssh_host_*
: > /etc/machine-id
sync
trap - EXIT
echo "katalab: finish ok"
systemctl poweroff
"""

FINISH_UNIT = """[Unit]
Description=Install the boot loader, then power off
ConditionKernelCommandLine=katalab.finish

[Service]
Type=oneshot
ExecStart=/usr/local/lib/katalab/finish

[Install]
WantedBy=multi-user.target
"""

# The lab's machines are to start as hosts that are not ready.
KERNEL_ARGUMENTS = "quiet intel_iommu=off"

GRUB_DEFAULT = """# If you change this file, run 'update-grub' afterwards to update
# /boot/grub/grub.cfg.
# For full documentation of the options in this file, see:
#   info -f grub -n 'Simple configuration'

GRUB_DEFAULT=0
GRUB_TIMEOUT=0
GRUB_DISTRIBUTOR=`( . /etc/os-release; echo ${NAME:-Debian} ) 2>/dev/null || echo Debian`
GRUB_CMDLINE_LINUX_DEFAULT="@ARGUMENTS@"
GRUB_CMDLINE_LINUX="console=ttyS0"
GRUB_TERMINAL=console
GRUB_DISABLE_OS_PROBER=true
""".replace("@ARGUMENTS@", KERNEL_ARGUMENTS)

# One process instead of a network daemon: the address never changes.
NETWORK_UNIT = """[Unit]
Description=Address of this lab machine
DefaultDependencies=no
Conflicts=shutdown.target
Wants=network.target
Before=network.target network-online.target shutdown.target
After=systemd-remount-fs.service

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/sbin/ip -batch /usr/local/lib/katalab/network

[Install]
WantedBy=multi-user.target
"""

NETWORK_BATCH = """link set lo up
link set eth0 up
address add 10.0.2.15/24 dev eth0
route add default via 10.0.2.2
"""

# The stock unit tests its configuration at every start, which doubles the time sshd needs. Waiting for udev instead
# means that whoever can log in sees drivers where the kernel puts them; without KVM that is seconds later.
SSH_DROP_IN = """[Service]
ExecStartPre=
ExecStartPre=-/usr/bin/udevadm settle --timeout=120
"""

# Devices come from devtmpfs and the disk's modules are named, so udev's own round through all devices can wait for
# the real root. This halves the time in the initramfs without KVM.
INITRAMFS_UDEV = """#!/bin/sh
case "$1" in
prereqs) echo ""; exit 0 ;;
esac
exit 0
"""

FILES: dict[str, tuple[int, str]] = {
    "etc/hostname": (0o644, "katalab\n"),
    "etc/hosts": (0o644, "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n"),
    "etc/machine-id": (0o444, ""),
    "etc/resolv.conf": (0o644, "nameserver 10.0.2.3\n"),
    "etc/default/grub": (0o644, GRUB_DEFAULT),
    "etc/systemd/system/katalab-network.service": (0o644, NETWORK_UNIT),
    "usr/local/lib/katalab/network": (0o644, NETWORK_BATCH),
    "etc/systemd/system/ssh.service.d/lab.conf": (0o644, SSH_DROP_IN),
    "etc/systemd/system.conf.d/lab.conf": (0o644, "[Manager]\nDefaultTimeoutStartSec=300\nDefaultTimeoutStopSec=20\n"),
    "etc/ssh/sshd_config.d/lab.conf": (0o644, "UseDNS no\nPasswordAuthentication no\nPrintLastLog no\nPrintMotd no\n"),
    "etc/systemd/system/katalab-seed.service": (0o644, SEED_UNIT),
    "usr/local/lib/katalab/seed": (0o755, SEED_SCRIPT),
    "etc/systemd/system/katalab-finish.service": (0o644, FINISH_UNIT),
    "usr/local/lib/katalab/finish": (0o755, FINISH_SCRIPT),
}

# MODULES=dep asks which disk the root is on, which a chroot cannot answer. The file is gone from the finished image.
BUILD_INITRAMFS = "etc/initramfs-tools/conf.d/zz-build"

# Written before the packages are configured, so that the one initramfs of the build is already small.
EARLY_FILES: dict[str, tuple[int, str]] = {
    "etc/initramfs-tools/conf.d/lab": (0o644, "MODULES=dep\nCOMPRESS=lz4\nCOMPRESSLEVEL=1\nFSTYPE=ext4\n"),
    BUILD_INITRAMFS: (0o644, "MODULES=list\n"),
    "etc/initramfs-tools/scripts/init-top/udev": (0o755, INITRAMFS_UDEV),
    "etc/initramfs-tools/scripts/init-bottom/udev": (0o755, INITRAMFS_UDEV),
    "usr/share/initramfs-tools/modules.d/katalab": (0o644, "virtio_pci\nvirtio_blk\nvirtio_net\next4\n"),
}

LINKS: dict[str, str] = {
    **{f"etc/systemd/system/{unit}": "/dev/null" for unit in MASKED_UNITS},
    **{f"etc/udev/rules.d/{rule}": "/dev/null" for rule in MASKED_UDEV_RULES},
    "etc/systemd/system/sysinit.target.wants/katalab-seed.service": "../katalab-seed.service",
    "etc/systemd/system/multi-user.target.wants/katalab-finish.service": "../katalab-finish.service",
    # The card is there before udev is; renaming it later would take its address away.
    "etc/systemd/network/99-default.link": "/dev/null",
    "etc/systemd/system/multi-user.target.wants/katalab-network.service": "../katalab-network.service",
    **{f"etc/systemd/system-generators/{name}": "/dev/null" for name in MASKED_GENERATORS},
}


def digest(extra: str = "") -> str:
    """Names the image: changes with anything that goes into it, except which mirror the packages came from."""
    everything = [SUITE, DISK_MIB, PARTITION_OFFSET, PACKAGES, EXCLUDED_PATHS, FILES, EARLY_FILES, LINKS, extra]
    return hashlib.sha256(json.dumps(everything, sort_keys=True).encode()).hexdigest()[:16]
