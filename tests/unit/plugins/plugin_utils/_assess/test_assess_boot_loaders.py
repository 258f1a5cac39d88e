# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The judgement of a host whose kernels are started from loader entries."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.unit.assess_host import KERNEL, gpu, ids, judge, machine
from tests.unit.host_stages import LOADED, OURS, READY, without_grub
from tests.unit.plugins.module_utils._boot import loader_host

BOOTED = 1_000_000_000
GRUBENV = "/boot/efi/EFI/rocky/grubenv"


def host(name: str, running: str, configured: str, **more: Any) -> dict[str, Any]:
    """The GPU server with the boot loader of a fixture; C(configured) stands in all that is started next."""
    description = without_grub(machine(gpu(group="12") if "iommu" in running else gpu(), arguments=running, **more))
    fixture = loader_host.load(name)
    files = {path: text for path, text in fixture["files"].items() if path != "/proc/cmdline"}
    for path, text in files.items():
        if "/loader/entries/" in path or path.endswith(("cmdline", "grubenv", "default/grub")):
            files[path] = text.replace("rhgb quiet", f"rhgb {configured}")
    description["files"].update({**files, "/proc/stat": f"btime {BOOTED}\n"})
    read = [path for path in files if "/loader/entries/" in path or path.endswith("grubenv")]
    description["modified"] = dict.fromkeys(read, BOOTED - 100)
    return description


@pytest.mark.parametrize("name", ["rocky8_uefi", "rhel9", "debian12_systemd_boot"])
def test_arguments_are_planned_and_the_reboot_with_them(name: str, tmp_path: Path) -> None:
    answer = judge(host(name, "quiet", "quiet"), tmp_path)
    plan = answer["plan"]["host_iommu"]
    assert plan["kernel_cmdline"]["bootloader"] == "auto" and "intel_iommu=on" in plan["kernel_cmdline"]["present"]
    assert plan["reboot"] and not answer["summary"]["blocked"]


def test_a_boot_that_read_the_entries_and_has_other_arguments_is_told(tmp_path: Path) -> None:
    answer = judge(host("rhel9", "quiet", READY, loaded=LOADED, files=OURS), tmp_path)
    assert "B16" in ids(answer)
    entry = loader_host.load("rhel9")["first"]
    assert any(entry in message for message in answer["summary"]["messages"])


def test_a_change_in_the_environment_block_since_the_boot_needs_a_reboot(tmp_path: Path) -> None:
    """Entries that name a variable stay as they are, so their age says nothing."""
    description = host("rocky8_uefi", "quiet", READY, loaded=LOADED, files=OURS)
    description["files"][GRUBENV] += "#" * 512
    description["links"] = {}
    description["modified"][GRUBENV] = BOOTED + 10
    del description["files"]["/boot/efi/EFI/rocky/grub.cfg"]
    description["files"]["/boot/grub2/grub.cfg"] = "blscfg\n"
    description["files"]["/boot/grub2/grubenv"] = description["files"].pop(GRUBENV)
    description["modified"]["/boot/grub2/grubenv"] = description["modified"].pop(GRUBENV)
    answer = judge(description, tmp_path)
    assert ids(answer) == [] and "kernel_cmdline" not in answer["plan"]["host_iommu"]
    assert answer["summary"]["reboot_needed"]
    description["modified"]["/boot/grub2/grubenv"] = BOOTED - 10
    assert "B16" in ids(judge(description, tmp_path / "again"))


def test_the_saved_entry_is_the_kernel_that_boots_next(tmp_path: Path) -> None:
    description = host("alma10_cloud", READY, READY, loaded=LOADED, files=OURS)
    newest = "/lib/modules/6.12.0-55.32.1.el10_0.x86_64/modules.dep"
    saved = "/lib/modules/6.12.0-55.9.1.el10_0.x86_64/modules.dep"
    complete = description["files"][f"/lib/modules/{KERNEL}/modules.dep"]
    description["files"].update({newest: "", saved: complete})
    assert "B09" not in ids(judge(description, tmp_path / "a"), severity="warn")
    description["files"].update({newest: complete, saved: ""})
    found = judge(description, tmp_path / "b")["findings"]
    evidence = next(item["evidence"] for item in found if item["id"] == "B09")
    assert list(evidence) == [loader_host.load("alma10_cloud")["first"], saved]
