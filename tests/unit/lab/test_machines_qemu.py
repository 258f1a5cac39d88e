# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Command lines, the KVM verdict, the image's recipe and the inventory, without starting QEMU."""

from __future__ import annotations

import importlib.util
import io
import os
import tarfile
from pathlib import Path
from types import ModuleType

import pytest

from tests.lab import paths, processes
from tests.lab.errors import LabError
from tests.lab.machines import image, lifecycle, qemu, recipe, seed, uefi
from tests.lab.machines.profiles import PROFILES, Profile
from tests.lab.machines.supervisor import device_arguments

TCG = qemu.Accelerator("tcg", "test")
KVM = qemu.Accelerator("kvm", "test")


def values(command: list[str], option: str) -> list[str]:
    return [command[at + 1] for at, word in enumerate(command) if word == option]


def command(profile: Profile, accelerator: qemu.Accelerator = TCG) -> list[str]:
    return qemu.machine_command(profile, accelerator, Path("/s/a,b.qcow2"), Path("/s/seed.tar"), Path("/s/serial"))


def test_memory_is_shared_with_the_device() -> None:
    line = command(PROFILES["a10"])
    assert values(line, "-object") == ["memory-backend-memfd,id=mem,size=1536M,share=on"]
    assert "memory-backend=mem" in values(line, "-machine")[0]
    assert values(line, "-m") == ["1536"]


@pytest.mark.parametrize(
    ("accelerator", "accel", "cpu"), [(TCG, "tcg,thread=multi,tb-size=256", "max,la57=off"), (KVM, "kvm", "host")]
)
def test_accelerator(accelerator: qemu.Accelerator, accel: str, cpu: str) -> None:
    line = command(PROFILES["a10"], accelerator)
    assert (values(line, "-accel"), values(line, "-cpu")) == ([accel], [cpu])


@pytest.mark.parametrize("name", sorted(PROFILES))
def test_only_loopback_is_listened_on(name: str) -> None:
    profile = PROFILES[name]
    (network,) = values(command(profile), "-netdev")
    forwards = [part for part in network.split(",") if part.startswith("hostfwd=")]
    assert forwards == [
        f"hostfwd=tcp:{profile.address}:2222-:22",
        f"hostfwd=tcp:{profile.address}:10250-:10250",
    ]
    assert profile.address.startswith("127.0.0.")


def test_commas_in_paths_are_escaped() -> None:
    assert any("file=/s/a,,b.qcow2" in drive for drive in values(command(PROFILES["a10"]), "-drive"))


def test_display_only_where_the_profile_has_one() -> None:
    def displays(name: str) -> list[str]:
        return [device for device in values(command(PROFILES[name]), "-device") if device.startswith("VGA")]

    assert displays("a10") == []
    assert len(displays("workstation")) == 1


def test_iommu_comes_before_the_devices_it_translates() -> None:
    devices = values(command(PROFILES["a10"]), "-device")
    assert devices.index(PROFILES["a10"].iommu) < next(
        at for at, device in enumerate(devices) if device.startswith("virtio-net")
    )


def test_functions_get_their_sockets_in_order() -> None:
    line = device_arguments(PROFILES["workstation"], [7, 9])
    assert values(line, "-device") == [
        "x-pci-proxy-dev,id=gpu8-0,fd=7,addr=8.0,multifunction=on",
        "x-pci-proxy-dev,id=gpu8-1,fd=9,addr=8.1",
    ]
    assert values(device_arguments(PROFILES["a10"], [5]), "-device") == ["x-pci-proxy-dev,id=gpu8-0,fd=5,addr=8.0"]


@pytest.mark.parametrize(
    ("console", "errors", "status", "expected"),
    [
        ("Kernel panic - not syncing: VFS: Unable to mount root fs", "", None, "kvm"),
        ("", "KVM internal error. Suberror: 1", None, "tcg"),
        ("", "error: failed to set MSR 0x10a to 0x69", -6, "tcg"),
        ("", "", 1, "tcg"),
        ("Linux version 6.12", "", None, None),
    ],
)
def test_kvm_verdict(console: str, errors: str, status: int | None, expected: str | None) -> None:
    verdict = qemu.judge_probe(console, errors, status)
    assert (verdict.name if verdict else None) == expected


def test_forced_accelerator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(qemu.ACCELERATOR_VARIABLE, "kvm")
    assert qemu.accelerator(Path("/none")).name == "kvm"
    monkeypatch.setenv(qemu.ACCELERATOR_VARIABLE, "warp")
    with pytest.raises(LabError, match="'warp'; it can be kvm or tcg"):
        qemu.accelerator(Path("/none"))


def test_missing_packages_are_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image, "which", lambda command: None if command in ("mmdebstrap", "ssh") else "/bin/true")
    line = image.prerequisites()
    assert line is not None
    assert "\n" not in line
    assert "mmdebstrap" in line
    assert "openssh-client" in line


def test_every_needed_package_is_listed_for_the_makefile() -> None:
    listed = (paths.LAB / "packages.txt").read_text(encoding="utf-8").split()
    assert {*image.COMMANDS.values(), *uefi.COMMANDS.values(), "ovmf"} <= set(listed)


def test_the_digest_names_the_recipe(monkeypatch: pytest.MonkeyPatch) -> None:
    before = recipe.digest()
    assert recipe.digest() == before
    monkeypatch.setitem(recipe.FILES, "etc/hostname", (0o644, "other\n"))
    assert recipe.digest() != before


def test_the_guest_starts_as_a_host_that_is_not_ready() -> None:
    assert 'GRUB_CMDLINE_LINUX_DEFAULT="quiet intel_iommu=off"' in recipe.GRUB_DEFAULT.splitlines()
    everything = "".join(content for _mode, content in [*recipe.FILES.values(), *recipe.EARLY_FILES.values()])
    assert "nouveau" not in everything
    assert "vfio" not in everything


def test_seed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "SSH_DIR", tmp_path / "ssh")
    monkeypatch.setattr(paths, "SSH_KEY", tmp_path / "ssh" / "id_ed25519")
    monkeypatch.setattr(paths, "KNOWN_HOSTS", tmp_path / "ssh" / "known_hosts")
    for name in ("a10", "workstation"):
        (tmp_path / name).mkdir()
        content = seed.write(PROFILES[name], tmp_path / name).read_bytes()
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        modes = {member.name: member.mode for member in archive}
    assert modes["etc/ssh/ssh_host_ed25519_key"] == 0o600
    assert modes["root/.ssh/authorized_keys"] == 0o600
    known = paths.KNOWN_HOSTS.read_text(encoding="utf-8").splitlines()
    assert [line.split()[0] for line in known] == ["[127.0.0.11]:2222", "[127.0.0.12]:2222"]
    # A machine made anew has a new key; the old one must be gone, or strict checking would refuse it.
    for path in (tmp_path / "a10").iterdir():
        path.unlink()
    seed.write(PROFILES["a10"], tmp_path / "a10")
    again = paths.KNOWN_HOSTS.read_text(encoding="utf-8").splitlines()
    assert len(again) == 2
    assert known[0] not in again


def test_unknown_machine() -> None:
    with pytest.raises(LabError, match=r"there is no machine 'b20'; there are: a10, .*, workstation"):
        lifecycle.profile_of("b20")


@pytest.fixture
def inventory_script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("lab_hosts", paths.REPO / "inventories" / "lab" / "hosts.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_inventory(inventory_script: ModuleType, tmp_path: Path) -> None:
    here = {"node": "kata-a10", "address": "127.0.0.11", "ssh_port": 2222, "pid": os.getpid()}
    alive = here | {"start_time": processes.start_time(os.getpid())}
    gone = here | {"node": "kata-workstation", "start_time": 1}
    machines = {"machines": {"a10": alive, "workstation": gone}}
    result = inventory_script.inventory({**machines, "processes": {"node-container-1": alive}}, tmp_path)
    assert result["kata_nodes"]["hosts"] == ["kata-a10"]
    assert result["container_nodes"]["hosts"] == ["container-1"]
    assert result["_meta"]["hostvars"]["container-1"] == {"katagpu_api_only": True}
    assert result["_meta"]["hostvars"]["kata-a10"]["ansible_port"] == 2222
    for processes_there in ({}, {"processes": {"node-container-1": gone}}):
        bare = inventory_script.inventory({**machines, **processes_there}, tmp_path)
        assert bare["container_nodes"]["hosts"] == []
        assert "container-1" not in bare["_meta"]["hostvars"]


def test_kept_connections_belong_to_one_lab(inventory_script: ModuleType, tmp_path: Path) -> None:
    """Two labs, each in a network namespace of its own, have the same addresses and the same home folder."""
    alive = {"node": "kata-a10", "address": "127.0.0.11", "ssh_port": 2222, "pid": os.getpid()}
    alive["start_time"] = processes.start_time(os.getpid())

    def sockets(folder: Path) -> str:
        found = inventory_script.inventory({"machines": {"a10": alive}}, folder)["_meta"]["hostvars"]["kata-a10"]
        return str(found["ansible_control_path_dir"])

    assert sockets(tmp_path / "one") != sockets(tmp_path / "two")
    assert sockets(tmp_path / "one") == sockets(tmp_path / "one")
    # A Unix socket has 107 characters, of which ssh and the name take some thirty.
    assert len(sockets(tmp_path / ("long" * 60))) < 60


def test_inventory_without_machines_is_an_error(
    inventory_script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KATAGPU_LAB_STATE", str(tmp_path))
    monkeypatch.setattr("sys.argv", ["hosts.py", "--list"])
    assert inventory_script.main() == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == ["inventories/lab: no lab machine is up. Fix: make lab-up"]
