# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Our rules in the initramfs: made anew for all kernels where it matters, and at no other time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ansible_collections.katagpu.cluster.plugins.module_utils._errors import KatagpuError
from ansible_collections.katagpu.cluster.plugins.module_utils._root import HostRoot
from ansible_collections.katagpu.cluster.plugins.module_utils._vfio import early, rules
from ansible_collections.katagpu.cluster.plugins.module_utils._vfio.early_facts import read_early
from ansible_collections.katagpu.cluster.plugins.module_utils._vfio.model import VfioDesired
from ansible_collections.katagpu.cluster.plugins.module_utils._vfio.run import run
from tests.unit.plugins.module_utils._vfio import vfio_support as support
from tests.unit.plugins.module_utils._vfio.vfio_support import AUDIO, GPU, GPU2, SimulatedKernel

BOOT = VfioDesired(addresses=(GPU,), members="same_slot")
GIVEN_BACK = VfioDesired(addresses=(GPU,), members="same_slot", state="restored")
SIBLING = VfioDesired(addresses=(AUDIO,), foreign_owner=(GPU,))

DEBIAN = {
    "/usr/sbin/update-initramfs": "",
    "/usr/sbin/mkinitramfs": "",
    "/boot/initrd.img-6.12.0-test": "",
    "/boot/initrd.img-6.1.0-old": "",
    "/lib/modules/6.1.0-old/modules.dep": "",
}
FEDORA = {
    "/usr/bin/dracut": "",
    "/usr/bin/kernel-install": "",
    "/boot/initramfs-6.12.0-test.img": "",
}
ARCH = {"/usr/bin/mkinitcpio": "", "/boot/initrd.img-6.12.0-test": ""}
OSTREE = {"/usr/bin/dracut": "", "/run/ostree-booted": "", "/boot/initramfs-6.12.0-test.img": ""}
BLACKLIST = {"/etc/modprobe.d/x.conf": "# no\n  blacklist nouveau\n"}
ARGUMENT = {"/proc/cmdline": "quiet modprobe.blacklist=nova_core,nouveau\n"}

UPDATE = ["/usr/sbin/update-initramfs", "-u", "-k", "all"]
REGENERATE = ["/usr/bin/dracut", "--force", "--regenerate-all"]


# As depmod writes them.
ALIASES = {
    "/lib/modules/6.12.0-test/modules.alias": "alias pci:v000010DEd*sv*sd*bc03sc*i* nouveau\n"
    "alias pci:v*d*sv*sd*bc04sc03i00* snd_hda_intel\n"
    "alias vfio_pci:v*d*sv*sd*bc*sc*i* vfio_pci\n"
}


def make(tmp_path: Path, *files: dict[str, str]) -> HostRoot:
    data = support.description()
    for some in (ALIASES, *files):
        data["files"] = {**data["files"], **some}
    return support.build(tmp_path, data)


class Host:
    """Runs the module's transaction, notes the commands, and can let one of them fail."""

    def __init__(self, root: HostRoot) -> None:
        self.root = root
        self.commands: list[list[str]] = []
        self.seen: list[str | None] = []
        self.fails = ""

    def run(self, desired: VfioDesired, check_mode: bool = False) -> dict[str, Any]:
        self.commands, self.seen = [], []

        def execute(command: list[str]) -> None:
            self.commands.append(command)
            self.seen.append(self.text)
            if self.fails and self.fails in command[0]:
                raise KatagpuError(f"{command[0]} failed with status 1: no space. Nothing was changed.")

        return run(support.host(self.root, SimulatedKernel(self.root), execute=execute), desired, check_mode)

    @property
    def text(self) -> str | None:
        return self.root.read(rules.RULES)

    @property
    def made(self) -> int:
        return sum(command in (UPDATE, REGENERATE) for command in self.commands)


def test_it_is_made_for_all_kernels_where_a_display_driver_would_claim_the_gpu_in_it(tmp_path: Path) -> None:
    host = Host(make(tmp_path, DEBIAN))
    planned = host.run(BOOT, check_mode=True)
    assert planned["commands"][-1] == UPDATE and host.commands == [] and host.text is None
    result = host.run(BOOT)
    assert result["changed"] and host.commands == [["udevadm", "control", "--reload"], UPDATE]
    assert rules.images(host.seen[-1]) == rules.PENDING, "a power cut while it is made is seen afterwards"
    assert rules.parse(host.seen[-1]).keys() == {GPU, AUDIO}, "and it is made with the new lines"
    assert rules.images(host.text) == rules.MADE
    assert not host.run(BOOT)["changed"] and host.commands == []


@pytest.mark.parametrize("kept_out", [BLACKLIST, ARGUMENT], ids=["modprobe.d", "argument"])
def test_a_driver_that_is_kept_out_needs_no_rule_in_it(tmp_path: Path, kept_out: dict[str, str]) -> None:
    host = Host(make(tmp_path, DEBIAN, kept_out))
    assert host.run(BOOT)["changed"] and host.made == 0 and rules.images(host.text) is None
    assert not host.run(BOOT)["changed"]


def test_a_sibling_needs_none_because_its_driver_lets_go(tmp_path: Path) -> None:
    host = Host(make(tmp_path, DEBIAN))
    assert host.run(SIBLING)["changed"] and host.made == 0


def test_a_blacklist_that_goes_away_is_noticed(tmp_path: Path) -> None:
    host = Host(make(tmp_path, DEBIAN, BLACKLIST))
    host.run(BOOT)
    host.root.remove("/etc/modprobe.d/x.conf")
    assert host.run(BOOT)["changed"] and host.made == 1
    assert not host.run(BOOT)["changed"]


def test_further_lines_are_brought_into_it_and_an_unclaimed_one_is_not(tmp_path: Path) -> None:
    host = Host(make(tmp_path, DEBIAN))
    host.run(BOOT)
    host.run(VfioDesired(addresses=(GPU2,), members="same_slot"))
    assert host.made == 1 and rules.images(host.text) == rules.MADE and len(rules.parse(host.text)) == 4


def test_a_line_that_no_image_has_is_not_taken_for_one_of_them(tmp_path: Path) -> None:
    host, other = Host(make(tmp_path, DEBIAN)), VfioDesired(addresses=(GPU2,), members="same_slot")
    host.run(BOOT)
    host.root.write_atomic("/etc/modprobe.d/x.conf", "blacklist nouveau\n")
    host.run(other)
    assert host.made == 0 and rules.images(host.text) is None
    host.root.remove("/etc/modprobe.d/x.conf")
    host.run(other)
    assert host.made == 1


def test_lines_that_go_are_taken_out_of_it_even_where_nobody_asked_for_them_there(tmp_path: Path) -> None:
    """update-initramfs copies every rule, so a kernel that was installed meanwhile has an image with ours."""
    host = Host(make(tmp_path, DEBIAN, BLACKLIST))
    host.run(BOOT)
    host.run(GIVEN_BACK)
    assert host.made == 1 and host.text is None
    assert rules.images(host.seen[-1]) == rules.PENDING and rules.parse(host.seen[-1]) == {}
    assert (host.seen[-1] or "").startswith("# Managed by katagpu.cluster.vfio_binding")
    assert not host.run(GIVEN_BACK)["changed"] and host.commands == []


def test_what_was_interrupted_is_made_by_the_next_run(tmp_path: Path) -> None:
    host = Host(make(tmp_path, DEBIAN))
    host.fails = "update-initramfs"
    with pytest.raises(KatagpuError, match=r"no space\. Everything else is done") as caught:
        host.run(BOOT)
    assert "Nothing was changed" not in str(caught.value)
    assert rules.images(host.text) == rules.PENDING
    host.fails = ""
    assert host.run(BOOT)["changed"] and host.made == 1 and rules.images(host.text) == rules.MADE
    host.fails = "update-initramfs"
    with pytest.raises(KatagpuError, match="no space"):
        host.run(GIVEN_BACK)
    assert rules.parse(host.text) == {} and rules.images(host.text) == rules.PENDING
    host.fails = ""
    assert host.run(GIVEN_BACK)["changed"] and host.made == 1 and host.text is None


def test_a_failure_before_it_takes_the_files_back_and_makes_nothing(tmp_path: Path) -> None:
    host = Host(make(tmp_path, DEBIAN))
    host.fails = "udevadm"
    with pytest.raises(KatagpuError, match="udevadm failed"):
        host.run(BOOT)
    assert host.text is None and host.made == 0


def test_dracut_is_told_of_the_file_and_makes_all(tmp_path: Path) -> None:
    host = Host(make(tmp_path, FEDORA))
    assert host.run(BOOT)["commands"][-1] == REGENERATE
    assert 'install_items+=" /etc/udev/rules.d/10-katagpu-vfio.rules "' in (host.root.read(early.DROP_IN) or "")
    assert not host.run(BOOT)["changed"]
    host.run(GIVEN_BACK)
    assert host.made == 1 and host.root.read(early.DROP_IN) is None and host.text is None


def test_dracut_without_the_drop_in_has_no_lines_to_lose(tmp_path: Path) -> None:
    host = Host(make(tmp_path, FEDORA, BLACKLIST))
    host.run(BOOT)
    host.root.remove(early.DROP_IN)
    host.run(GIVEN_BACK)
    assert host.made == 0 and host.text is None


@pytest.mark.parametrize("files", [ARCH, OSTREE], ids=["mkinitcpio", "rpm-ostree"])
def test_what_nobody_here_can_make_is_told(tmp_path: Path, files: dict[str, str]) -> None:
    host = Host(make(tmp_path, files))
    (warning,) = host.run(BOOT)["warnings"]
    assert "Nothing keeps nouveau out of the initramfs" in warning and f"takes {GPU} before" in warning
    assert "modprobe.blacklist=nouveau" in warning and host.made == 0
    (tmp_path / "calm").mkdir()
    calm = Host(make(tmp_path / "calm", files, BLACKLIST))
    assert calm.run(BOOT)["warnings"] == []


def test_a_host_without_an_initramfs_needs_none(tmp_path: Path) -> None:
    host = Host(make(tmp_path, {"/usr/sbin/update-initramfs": "", "/usr/sbin/mkinitramfs": ""}))
    assert host.run(BOOT)["changed"] and host.made == 0 and host.run(BOOT)["warnings"] == []


def test_another_root_names_the_command_and_leaves_no_note(tmp_path: Path) -> None:
    root = make(tmp_path, DEBIAN)
    result = run(support.host(root, SimulatedKernel(root), runs_here=False), BOOT, check_mode=False)
    assert UPDATE in result["commands"] and rules.images(root.read(rules.RULES)) == rules.MADE
    assert not run(support.host(root, SimulatedKernel(root), runs_here=False), BOOT, check_mode=False)["changed"]


def test_the_wrapper_of_dracut_is_not_taken_for_initramfs_tools(tmp_path: Path) -> None:
    files = {"/usr/sbin/update-initramfs": "", "/usr/bin/dracut": "", "/boot/initrd.img-6.12.0-test": ""}
    assert read_early(make(tmp_path, files))["generator"] == early.DRACUT


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("blacklist nvidia-drm\n", ["nvidia_drm"]),
        ("install nouveau /bin/false\n", ["nouveau"]),
        ("install x /bin/true\n", ["x"]),
        ("install x /sbin/modprobe -i x\n# blacklist y\noptions blacklist z\n", []),
    ],
)
def test_what_modprobe_is_told_to_keep_out(tmp_path: Path, text: str, names: list[str]) -> None:
    root = make(tmp_path, {"/etc/modprobe.d/a.conf": text, "/etc/modprobe.d/a.conf.bak": "blacklist no\n"})
    assert read_early(root)["kept_out"] == names


def test_every_override_is_set_with_the_first_display(tmp_path: Path) -> None:
    """The driver that is loaded for one card takes its twin too, if the twin's own event comes later."""
    host = Host(make(tmp_path))
    host.run(BOOT)
    lines = (host.text or "").splitlines()
    first = [line for line in lines if 'ATTR{class}=="0x03*|0x12*"' in line]
    guard = "ATTR{[pci/0000:65:00.0]"
    assert first[0] == (
        f'ACTION=="add", SUBSYSTEM=="pci", ATTR{{class}}=="0x03*|0x12*", {guard}vendor}}=="0x10de", {guard}device}}=="0x2230",'
        f' {guard}subsystem_vendor}}=="0x10de", {guard}subsystem_device}}=="0x1459", {guard}driver_override}}="vfio-pci"'
    )
    assert len(first) == 2 and lines.index(first[-1]) < min(
        lines.index(line) for line in rules.parse(host.text).values()
    )
    host.run(GIVEN_BACK)
    assert host.text is None


def test_lines_of_others_stay_around_ours(tmp_path: Path) -> None:
    host = Host(make(tmp_path, {rules.RULES: "# mine\nX\n"}))
    host.run(BOOT)
    assert (host.text or "").endswith("# mine\nX\n")
    host.run(GIVEN_BACK)
    assert host.text == "# mine\nX\n"
