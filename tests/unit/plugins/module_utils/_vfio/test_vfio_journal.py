# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs that are killed, that get stuck, and that meet each other."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from ansible_collections.katagpu.cluster.plugins.module_utils._errors import KatagpuError
from ansible_collections.katagpu.cluster.plugins.module_utils._root import HostRoot
from ansible_collections.katagpu.cluster.plugins.module_utils._vfio.apply import BindingFailed
from ansible_collections.katagpu.cluster.plugins.module_utils._vfio.lock import exclusive
from ansible_collections.katagpu.cluster.plugins.module_utils._vfio.model import VfioDesired
from ansible_collections.katagpu.cluster.plugins.module_utils._vfio.processes import Number
from ansible_collections.katagpu.cluster.plugins.module_utils._vfio.run import Refused, run
from ansible_collections.katagpu.cluster.plugins.module_utils._vfio.writer import Outcome
from tests.unit.plugins.module_utils._vfio import vfio_support as support
from tests.unit.plugins.module_utils._vfio.vfio_support import AUDIO, GPU, SimulatedKernel

LIVE = VfioDesired(addresses=(GPU,), members="same_slot", live="idle")
BOOT = VfioDesired(addresses=(GPU,), members="same_slot")
RESTORE = VfioDesired(addresses=(GPU,), members="same_slot", live="idle", state="restored")
# Three writes for each of two functions; killed before each of them, after each of them, and before any.
CUTS = [(write, moment) for write in range(6) for moment in ("before", "after")]


@pytest.fixture
def root(tmp_path: Path) -> HostRoot:
    return support.build(tmp_path)


class DeadlyKernel(SimulatedKernel):
    def __init__(self, root: HostRoot, cut: int, moment: str) -> None:
        super().__init__(root)
        self.cut, self.moment = cut, moment

    def write(self, path: str, text: str) -> Outcome:
        fatal = len(self.writes) == self.cut
        if fatal and self.moment == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        outcome = super().write(path, text)
        if fatal:
            os.kill(os.getpid(), signal.SIGKILL)
        return outcome


def killed(root: HostRoot, cut: int, moment: str, wanted: VfioDesired = LIVE) -> None:
    child = os.fork()
    if child == 0:
        run(support.host(root, DeadlyKernel(root, cut, moment)), wanted, check_mode=False)
        os._exit(1)
    _child, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status), "the run was to die in the middle"


def journal(root: HostRoot) -> dict[str, object] | None:
    text = root.read("/" + support.JOURNAL)
    return None if text is None else json.loads(text)


def bound(kernel: SimulatedKernel) -> list[str | None]:
    return [kernel.driver(GPU), kernel.driver(AUDIO)]


@pytest.mark.parametrize(("cut", "moment"), CUTS)
def test_the_next_run_finishes_what_a_kill_left(root: HostRoot, cut: int, moment: str) -> None:
    killed(root, cut, moment)
    kernel = SimulatedKernel(root)
    assert journal(root) is not None
    before = support.snapshot(root)
    would = run(support.host(root, kernel), LIVE, check_mode=True)
    assert support.snapshot(root) == before and kernel.writes == []
    did = run(support.host(root, kernel), LIVE, check_mode=False)
    assert would["changed"] is did["changed"] and would["recovered"] == did["recovered"]
    assert bound(kernel) == ["vfio-pci", "vfio-pci"] and journal(root) is None
    assert not run(support.host(root, kernel), LIVE, check_mode=False)["changed"]


@pytest.mark.parametrize(("cut", "moment"), CUTS)
def test_a_failure_after_a_kill_takes_both_runs_back(root: HostRoot, cut: int, moment: str) -> None:
    """All functions of the group or none, also where two runs shared the work."""
    killed(root, cut, moment)
    kernel = SimulatedKernel(root)
    kernel.keeps_on_unbind = {GPU}
    if kernel.driver(GPU) == "vfio-pci":
        return  # The run died when everything was done.
    if kernel.driver(GPU) is None:
        # Putting it back succeeds, taking it again does not.
        assert kernel.override(GPU) == "vfio-pci"
    with pytest.raises(BindingFailed, match="did not let go"):
        run(support.host(root, kernel), LIVE, check_mode=False)
    assert bound(kernel) == ["nouveau", "snd_hda_intel"] and journal(root) is None
    assert kernel.override(GPU) == kernel.override(AUDIO) == "(null)"


@pytest.mark.parametrize(("cut", "moment"), CUTS)
def test_a_run_that_only_prepares_puts_back_what_was_halfway(root: HostRoot, cut: int, moment: str) -> None:
    killed(root, cut, moment)
    kernel = SimulatedKernel(root)
    halfway = [address for address in (GPU, AUDIO) if kernel.driver(address) is None]
    result = run(support.host(root, kernel), BOOT, check_mode=False)
    assert set(halfway) <= set(result["recovered"]) and journal(root) is None
    natural = {GPU: "nouveau", AUDIO: "snd_hda_intel"}
    for address in (GPU, AUDIO):
        assert kernel.driver(address) in (natural[address], "vfio-pci")
        assert (kernel.override(address) == "vfio-pci") is (kernel.driver(address) == "vfio-pci")


@pytest.mark.parametrize("cut", range(6))
def test_giving_back_can_be_killed_too(root: HostRoot, cut: int) -> None:
    kernel = SimulatedKernel(root)
    run(support.host(root, kernel), LIVE, check_mode=False)
    killed(root, cut, "after", RESTORE)
    run(support.host(root, kernel), RESTORE, check_mode=False)
    assert bound(kernel) == ["nouveau", "snd_hda_intel"] and journal(root) is None
    assert kernel.override(GPU) == kernel.override(AUDIO) == "(null)" and not root.exists("/" + support.RULES)


def test_a_boot_ends_a_journal(root: HostRoot) -> None:
    killed(root, 1, "after")
    Path(root.path("/proc/sys/kernel/random/boot_id")).write_text("a1b2c3d4-0000-4000-8000-000000000000\n")
    kernel = SimulatedKernel(root)
    result = run(support.host(root, kernel), BOOT, check_mode=False)
    assert result["recovered"] == [] and kernel.writes == []


def test_a_device_that_somebody_took_meanwhile_is_left_to_them(root: HostRoot) -> None:
    killed(root, 1, "after")
    kernel = SimulatedKernel(root, {AUDIO: "other"})
    kernel.write(f"/sys/bus/pci/devices/{AUDIO}/driver_override", "\n")
    kernel.write("/sys/bus/pci/drivers_probe", AUDIO)
    kernel.writes.clear()
    result = run(support.host(root, kernel), BOOT, check_mode=False)
    assert result["recovered"] == [] and kernel.writes == [] and kernel.driver(AUDIO) == "other"


def test_every_step_is_on_the_disk_before_it_is_made(root: HostRoot) -> None:
    kernel = SimulatedKernel(root)
    original = kernel.write
    seen: list[list[str]] = []

    def watched(path: str, text: str) -> Outcome:
        entry = journal(root)
        assert entry is not None and entry["boot_id"] == support.BOOT_ID and entry["state"] == "running"
        steps = entry["steps"]
        assert isinstance(steps, list) and steps[-1]["before"] in ("nouveau", "snd_hda_intel")
        seen.append([step["address"] for step in steps])
        return original(path, text)

    kernel.write = watched  # type: ignore[method-assign]
    run(support.host(root, kernel), LIVE, check_mode=False)
    assert seen == [[AUDIO]] * 3 + [[AUDIO, GPU]] * 3 and journal(root) is None


def wedge(root: HostRoot) -> SimulatedKernel:
    kernel = SimulatedKernel(root)
    kernel.hangs_on_unbind = {GPU}
    with pytest.raises(BindingFailed, match="WEDGED"):
        run(support.host(root, kernel), LIVE, check_mode=False)
    kernel.writes.clear()
    return kernel


@pytest.mark.parametrize("check", [True, False])
@pytest.mark.parametrize("wanted", [LIVE, RESTORE])
def test_after_a_wedge_the_same_boot_binds_nothing_more(root: HostRoot, check: bool, wanted: VfioDesired) -> None:
    kernel = wedge(root)
    entry = journal(root)
    assert entry is not None and (entry["state"], entry["wedged"]) == ("wedged", GPU)
    before = support.snapshot(root)
    with pytest.raises(Refused, match="reboot required") as caught:
        run(support.host(root, kernel), wanted, check_mode=check)
    assert [refusal.id for refusal in caught.value.plan.refusals] == ["C01"]
    assert kernel.writes == [] and support.snapshot(root) == before


def test_after_a_wedge_the_boot_can_be_prepared_and_ends_it(root: HostRoot) -> None:
    kernel = wedge(root)
    result = run(support.host(root, kernel), BOOT, check_mode=False)
    assert result["changed"] and result["reboot_required"] and kernel.writes == []
    assert journal(root) is not None, "it still holds for this boot"
    Path(root.path("/proc/sys/kernel/random/boot_id")).write_text("a1b2c3d4-0000-4000-8000-000000000000\n")
    kernel.hangs_on_unbind = set()
    assert run(support.host(root, kernel), LIVE, check_mode=False)["changed"] and journal(root) is None


@pytest.mark.parametrize(("stuck", "left"), [(AUDIO, [AUDIO]), (GPU, [GPU, AUDIO])])
def test_a_wedge_while_putting_back_names_all_that_is_left(root: HostRoot, stuck: str, left: list[str]) -> None:
    kernel = SimulatedKernel(root)
    kernel.ignores_probe = {GPU}
    original = kernel.write

    def write(path: str, text: str) -> Outcome:
        if stuck in path and path.endswith("driver_override") and text != "vfio-pci\n":
            kernel.writes.append((path, text))
            return Outcome(False, wedged=True, error="the write did not return within 30 seconds")
        if text == GPU and len(kernel.writes) > 6:
            kernel.ignores_probe = set()
        return original(path, text)

    kernel.write = write  # type: ignore[method-assign]
    with pytest.raises(BindingFailed, match="WEDGED while it was put back") as caught:
        run(support.host(root, kernel), LIVE, check_mode=False)
    assert (caught.value.wedged, caught.value.left) == (stuck, left)
    assert stuck in kernel.writes[-1][0], "nothing is touched any more"
    entry = journal(root)
    assert entry is not None and (entry["state"], entry["wedged"]) == ("wedged", stuck)


def test_what_could_not_be_put_back_is_tried_again_by_the_next_run(root: HostRoot) -> None:
    kernel = SimulatedKernel(root)
    kernel.ignores_probe = {GPU}
    with pytest.raises(BindingFailed):
        run(support.host(root, kernel), LIVE, check_mode=False)
    entry = journal(root)
    assert entry is not None and entry["state"] == "left" and kernel.driver(GPU) is None
    kernel.ignores_probe = set()
    result = run(support.host(root, kernel), BOOT, check_mode=False)
    assert result["recovered"] == [GPU] and kernel.driver(GPU) == "nouveau"
    assert result["diff"][0]["prepared"].startswith(f"{GPU}: put back to nouveau first\n{GPU}: nouveau -> vfio-pci")


def test_a_refusal_says_what_a_killed_run_left_and_touches_nothing(root: HostRoot) -> None:
    killed(root, 1, "after")
    before = support.snapshot(root)
    with pytest.raises(Refused, match=f"left {AUDIO} between two drivers"):
        run(support.host(root, SimulatedKernel(root)), VfioDesired(addresses=(GPU,), live="idle"), check_mode=False)
    assert support.snapshot(root) == before


@pytest.mark.parametrize("text", ["", "{", "[]", '{"schema": 2}', '{"schema": 1, "steps": [{}]}'])
def test_a_journal_that_cannot_be_understood_stops_live_binding_only(root: HostRoot, text: str) -> None:
    root.write_atomic("/" + support.JOURNAL, text)
    with pytest.raises(Refused, match="cannot be understood"):
        run(support.host(root, SimulatedKernel(root)), LIVE, check_mode=False)
    assert run(support.host(root, SimulatedKernel(root)), BOOT, check_mode=False)["changed"]


def test_two_runs_do_not_meet(root: HostRoot) -> None:
    kernel, before = SimulatedKernel(root), support.snapshot(root)
    with exclusive(root), pytest.raises(KatagpuError, match="Another run"):
        run(support.host(root, kernel), LIVE, check_mode=False)
    assert support.snapshot(root) == before and kernel.writes == []
    assert run(support.host(root, kernel), LIVE, check_mode=False)["changed"]


def test_a_user_that_comes_after_the_scans_stops_the_unbind(root: HostRoot) -> None:
    kernel = SimulatedKernel(root)
    original = kernel.write

    def write(path: str, text: str) -> Outcome:
        if GPU in path and path.endswith("driver_override"):
            support.open_node(root, 812, "nvtop", "/dev/dri/card1")
        return original(path, text)

    kernel.write = write  # type: ignore[method-assign]
    stat_node = support.nodes_by_name({"/dev/dri/card1": Number("char", 226, 1)})
    with pytest.raises(BindingFailed, match=r"in use now: process 812 \(nvtop\)"):
        run(support.host(root, kernel, stat_node=stat_node), LIVE, check_mode=False)
    assert not [path for path, text in kernel.writes if path.endswith("unbind") and text == GPU]
    assert bound(kernel) == ["nouveau", "snd_hda_intel"] and kernel.override(GPU) == "(null)" and journal(root) is None
