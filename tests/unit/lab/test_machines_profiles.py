# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What makes one kind of machine differ from another: command lines, identities, and the disk with other kernel arguments."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.lab import paths
from tests.lab.errors import LabError
from tests.lab.machines import arguments, image, qemu, recipe
from tests.lab.machines.gpu_device import ConfigSpace
from tests.lab.machines.profiles import A10, A10_IN_SLOT, PROFILES, ROOT_BUS, Profile
from tests.lab.machines.supervisor import device_arguments

TOOLS = ("qemu-img", "mke2fs", "debugfs")


def devices(profile: Profile, accelerator: str = "tcg") -> list[str]:
    verdict = qemu.Accelerator(accelerator, "test")
    line = qemu.machine_command(profile, verdict, Path("/s/disk"), Path("/s/seed"), Path("/s/serial"))
    line += device_arguments(profile, range(3, 3 + sum(len(slot.functions) for slot in profile.slots)))
    return [line[at + 1] for at, word in enumerate(line) if word == "-device"]


def processor(profile: Profile, accelerator: str) -> str:
    verdict = qemu.Accelerator(accelerator, "test")
    line = qemu.machine_command(profile, verdict, Path("/s/disk"), Path("/s/seed"), Path("/s/serial"))
    return line[line.index("-cpu") + 1]


def test_eight_gpus_and_four_switches_have_slots_of_their_own() -> None:
    functions = [slot.functions for slot in PROFILES["hgx"].slots]
    assert [one.device for (one,) in functions] == [0x2336] * 8 + [0x22A3] * 4
    assert [one.class_code for (one,) in functions] == [0x030200] * 8 + [0x068000] * 4
    proxies = [one for one in devices(PROFILES["hgx"]) if one.startswith("x-pci-proxy-dev")]
    assert [one.rpartition("addr=")[2] for one in proxies] == [f"{slot:x}.0" for slot in range(8, 20)]
    assert len({one.split(",")[1] for one in proxies}) == 12


def test_ports_are_there_before_what_they_are_the_bus_of() -> None:
    found = devices(PROFILES["shared_group"])
    for bus in ("disk-side", "network-side", "alone"):
        at = next(at for at, one in enumerate(found) if f",id={bus}," in one)
        assert any(one.endswith(f"addr=0.0,bus={bus}") for one in found[at:])
    assert any(one.startswith("virtio-blk-pci") and "bus=disk," in one for one in found)
    assert any(one.startswith("virtio-net-pci") and one.endswith("bus=network") for one in found)
    assert [one.split(",")[0] for one in found if "disable-acs=on" in one] == ["ioh3420"] * 4


def test_every_bus_is_one_of_the_machine() -> None:
    for profile in PROFILES.values():
        known = {ROOT_BUS, *(part[3:] for port in profile.ports for part in port.split(",") if part.startswith("id="))}
        assert {slot.bus for slot in profile.slots} <= known, profile.name


def test_no_slot_is_given_out_twice() -> None:
    """What names no slot takes the first one that is free when its turn comes, as QEMU does it."""
    for profile in PROFILES.values():
        taken: set[str] = set()
        for one in devices(profile):
            words = dict(part.partition("=")[::2] for part in one.split(",")[1:])
            if one.startswith(("intel-iommu", "isa-")) or words.get("bus", ROOT_BUS) != ROOT_BUS:
                continue
            place = words.get("addr") or next(f"{slot:x}" for slot in range(1, 32) if f"{slot:x}.0" not in taken)
            place = place if "." in place else f"{place}.0"
            assert place not in taken, (profile.name, one)
            taken.add(place)


def test_a_firmware_without_an_iommu() -> None:
    assert not any("iommu" in one for one in devices(PROFILES["no_iommu"]))
    assert any(one.startswith("amd-iommu") for one in devices(PROFILES["amd"]))
    assert not any(one.startswith("intel-iommu") for one in devices(PROFILES["amd"]))


@pytest.mark.parametrize("accelerator", ["tcg", "kvm"])
def test_only_a_bare_machine_hides_that_it_is_virtual(accelerator: str) -> None:
    assert processor(PROFILES["no_iommu"], accelerator).endswith(",hypervisor=off")
    assert "hypervisor" not in processor(PROFILES["a10"], accelerator)


def test_only_a_card_in_a_slot_has_a_link() -> None:
    integrated, in_slot = ConfigSpace(A10), ConfigSpace(A10_IN_SLOT)
    assert (integrated.read(0x52, 2) >> 4 & 15, in_slot.read(0x52, 2) >> 4 & 15) == (9, 0)
    assert (integrated.read(0x5C, 4), in_slot.read(0x5C, 4), in_slot.read(0x62, 2)) == (0, 0x104, 0x104)


def test_packages_make_another_base_disk() -> None:
    assert image.image_path(()) == image.image_path()
    assert image.image_path(("linux-image-rt-amd64",)) != image.image_path()


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A disk with the partition and the two files that the guests' has, 24 MiB large."""
    for tool in TOOLS:
        if image.which(tool) is None:
            pytest.skip(f"{tool} is not installed")
    monkeypatch.setattr(paths, "IMAGES", tmp_path)
    monkeypatch.setattr(paths, "LOGS", tmp_path / "logs")
    tree = tmp_path / "tree"
    for name in ("etc/default/grub", "boot/grub/grub.cfg"):
        (tree / name).parent.mkdir(parents=True)
        (tree / name).write_text(f"before\n{recipe.KERNEL_ARGUMENTS} splash\nafter\n", encoding="utf-8")
    (tree / "boot/grub/grub.cfg").chmod(0o600)
    raw = tmp_path / "disk.raw"
    with raw.open("wb") as stream:
        stream.truncate(24 << 20)
    option = f"offset={recipe.PARTITION_OFFSET}"
    run("mke2fs", "-q", "-F", "-t", "ext4", "-b", "4096", "-E", option, "-d", str(tree), str(raw), "5000")
    base = tmp_path / "base.qcow2"
    run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(raw), str(base))
    shutil.rmtree(tree)
    return base


def run(tool: str, *arguments: str) -> str:
    command = [image.which(tool) or tool, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def content(disk: Path, name: str, folder: Path) -> tuple[str, str]:
    raw = folder / "look.raw"
    run("qemu-img", "convert", "-f", "qcow2", "-O", "raw", str(disk), str(raw))
    system = f"{raw}?offset={recipe.PARTITION_OFFSET}"
    mode = next(line for line in run("debugfs", "-R", f"stat {name}", system).splitlines() if "Mode:" in line)
    return run("debugfs", "-R", f"cat {name}", system), mode.partition("Mode:")[2].split()[0]


def test_other_arguments_are_on_the_disk_from_the_first_boot_on(base: Path, tmp_path: Path) -> None:
    before = base.read_bytes()
    made = arguments.with_arguments(base, "quiet amd_iommu=off", lambda text: None)
    assert made != base
    assert content(made, "/etc/default/grub", tmp_path) == ("before\nquiet amd_iommu=off splash\nafter\n", "0644")
    assert content(made, "/boot/grub/grub.cfg", tmp_path) == ("before\nquiet amd_iommu=off splash\nafter\n", "0600")
    assert base.read_bytes() == before
    said: list[str] = []
    assert arguments.with_arguments(base, "quiet amd_iommu=off", said.append) == made
    assert said == []
    assert arguments.with_arguments(base, "quiet", lambda text: None) != made


def test_the_usual_arguments_are_those_of_the_base_disk(base: Path) -> None:
    assert arguments.with_arguments(base, recipe.KERNEL_ARGUMENTS, lambda text: None) == base


def test_a_disk_without_the_arguments_is_not_taken(base: Path) -> None:
    made = arguments.with_arguments(base, "quiet", lambda text: None)
    with pytest.raises(LabError, match="does not have the kernel arguments"):
        arguments.with_arguments(made, "other", lambda text: None)
    assert [path.name for path in made.parent.glob("build-*")] == []
