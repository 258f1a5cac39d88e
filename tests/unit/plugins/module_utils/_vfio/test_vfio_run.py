# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.katagpu.cluster.plugins.module_utils._errors import KatagpuError
from ansible_collections.katagpu.cluster.plugins.module_utils._root import HostRoot
from ansible_collections.katagpu.cluster.plugins.module_utils._vfio.apply import BindingFailed
from ansible_collections.katagpu.cluster.plugins.module_utils._vfio.model import VfioDesired
from ansible_collections.katagpu.cluster.plugins.module_utils._vfio.processes import Number
from ansible_collections.katagpu.cluster.plugins.module_utils._vfio.run import Refused, desired_from, run
from ansible_collections.katagpu.cluster.plugins.module_utils._vfio.writer import Outcome
from tests.unit.plugins.module_utils._vfio import vfio_support as support
from tests.unit.plugins.module_utils._vfio.vfio_support import AUDIO, GPU, Clock, SimulatedKernel

LIVE = VfioDesired(addresses=(GPU,), members="same_slot", live="idle")
BOOT = VfioDesired(addresses=(GPU,), members="same_slot")
RESTORE = VfioDesired(addresses=(GPU,), members="same_slot", live="idle", state="restored")


@pytest.fixture
def root(tmp_path: Path) -> HostRoot:
    return support.build(tmp_path)


def test_live_binds_siblings_first_and_only_once(root: HostRoot) -> None:
    kernel, clock = SimulatedKernel(root), Clock()
    result = run(support.host(root, kernel, clock), LIVE, check_mode=False)
    assert result["changed"] and not result["reboot_required"] and not result["warnings"]
    assert kernel.driver(GPU) == kernel.driver(AUDIO) == "vfio-pci"
    assert [path.rpartition("/")[2] for path, _text in kernel.writes] == [
        "driver_override",
        "unbind",
        "drivers_probe",
    ] * 2
    assert AUDIO in kernel.writes[0][0] and GPU in kernel.writes[3][0]
    assert clock.slept[0] >= 2.0, "two scans, two seconds apart"
    assert result["commands"] == [["modprobe", "vfio_pci"], ["udevadm", "control", "--reload"]]
    kernel.writes.clear()
    before = support.snapshot(root)
    again = run(support.host(root, kernel), LIVE, check_mode=False)
    assert not again["changed"] and kernel.writes == [] and support.snapshot(root) == before


def test_boot_binding_writes_files_only(root: HostRoot) -> None:
    kernel = SimulatedKernel(root)
    result = run(support.host(root, kernel), BOOT, check_mode=False)
    assert result["changed"] and result["reboot_required"] and kernel.writes == []
    again = run(support.host(root, kernel), BOOT, check_mode=False)
    assert not again["changed"] and again["reboot_required"], "the files are there, the boot is not"


@pytest.mark.parametrize("wanted", [LIVE, BOOT, RESTORE])
def test_check_mode_leaves_the_tree_as_it_is(root: HostRoot, wanted: VfioDesired) -> None:
    kernel, before = SimulatedKernel(root), support.snapshot(root)
    result = run(support.host(root, kernel), wanted, check_mode=True)
    assert support.snapshot(root) == before and kernel.writes == []
    assert result["changed"] is (wanted is not RESTORE)


def test_diff_reads_like_the_change(root: HostRoot) -> None:
    result = run(support.host(root, SimulatedKernel(root)), LIVE, check_mode=True)
    assert result["diff"][0]["prepared"] == f"{GPU}: nouveau -> vfio-pci\n{AUDIO}: snd_hda_intel -> vfio-pci\n"
    assert result["diff"][1]["after_header"] == "/" + support.RULES and GPU in result["diff"][1]["after"]


def test_restored_gives_back(root: HostRoot) -> None:
    before = support.snapshot(root)
    kernel = SimulatedKernel(root)
    run(support.host(root, kernel), LIVE, check_mode=False)
    result = run(support.host(root, kernel), RESTORE, check_mode=False)
    assert kernel.driver(GPU) == "nouveau" and kernel.driver(AUDIO) == "snd_hda_intel"
    assert kernel.override(GPU) == "(null)" and not root.exists("/" + support.RULES)
    assert [(each["before"], each["after"], each["when"]) for each in result["bindings"]] == [
        ("vfio-pci", None, "now")
    ] * 2
    left = {path for path in support.snapshot(root) if path not in before}
    assert {path.replace(root.root, "") for path in left} == {
        "/dev/vfio/12", "/etc", "/etc/udev", "/etc/udev/rules.d", "/etc/modules-load.d",
        "/etc/systemd", "/etc/systemd/system", "/etc/systemd/system/multi-user.target.d", "/var", "/var/lib", "/var/lib/katagpu",
    }  # fmt: skip
    assert not run(support.host(root, kernel), RESTORE, check_mode=False)["changed"]


def test_success_of_a_write_is_not_believed(root: HostRoot) -> None:
    """Row B08: every write succeeds and nothing is bound."""
    kernel, before = SimulatedKernel(root), support.snapshot(root)
    original = kernel.write

    def forgetful(path: str, text: str):  # type: ignore[no-untyped-def]
        probes = [entry for entry in kernel.writes if entry[0].endswith("drivers_probe")]
        kernel.ignores_probe = {GPU} if len(probes) == 1 else set()
        return original(path, text)

    kernel.write = forgetful  # type: ignore[method-assign]
    with pytest.raises(BindingFailed, match="accepted the writes, but its driver is None") as caught:
        run(support.host(root, kernel), LIVE, check_mode=False)
    assert caught.value.left == [] and "Put back" in str(caught.value)
    assert kernel.driver(GPU) == "nouveau" and kernel.driver(AUDIO) == "snd_hda_intel", "the first device too"
    changed = {path for path, text in support.snapshot(root).items() if before.get(path) != text}
    assert not [path for path in changed if path.endswith(("/driver", "driver_override", ".rules", ".conf"))]


def test_what_cannot_be_put_back_is_named(root: HostRoot) -> None:
    kernel = SimulatedKernel(root)
    kernel.ignores_probe = {GPU}
    with pytest.raises(BindingFailed) as caught:
        run(support.host(root, kernel), LIVE, check_mode=False)
    assert caught.value.left == [GPU] and f"Not put back: {GPU}" in str(caught.value)
    assert kernel.driver(AUDIO) == "snd_hda_intel"


def test_an_unbind_without_effect_is_a_failure(root: HostRoot) -> None:
    kernel = SimulatedKernel(root)
    kernel.keeps_on_unbind = {GPU}
    with pytest.raises(BindingFailed, match="driver nouveau did not let go"):
        run(support.host(root, kernel), LIVE, check_mode=False)
    assert kernel.driver(AUDIO) == "snd_hda_intel" and kernel.override(GPU) == "(null)"


def test_a_hanging_unbind_is_wedged_and_nothing_follows(root: HostRoot) -> None:
    kernel = SimulatedKernel(root)
    kernel.hangs_on_unbind = {GPU}
    with pytest.raises(BindingFailed, match="WEDGED") as caught:
        run(support.host(root, kernel), LIVE, check_mode=False)
    assert caught.value.wedged == GPU and kernel.writes[-1] == (f"/sys/bus/pci/devices/{GPU}/driver/unbind", GPU)
    assert kernel.driver(AUDIO) == "vfio-pci", "a second unbind would queue behind the first"
    assert not root.exists("/" + support.RULES)


def test_a_user_seen_in_the_second_scan_only(root: HostRoot) -> None:
    kernel, clock = SimulatedKernel(root), Clock()
    clock.on_sleep = lambda: support.open_node(root, 812, "nvtop", "/dev/dri/card1")
    stat_node = support.nodes_by_name({"/dev/dri/card1": Number("char", 226, 1)})
    before = support.snapshot(root)
    with pytest.raises(Refused, match=r"process 812 \(nvtop\) has /dev/dri/card1") as caught:
        run(support.host(root, kernel, clock, stat_node=stat_node), LIVE, check_mode=False)
    assert kernel.writes == [] and [refusal.id for refusal in caught.value.plan.refusals] == ["C01"]
    assert {path for path in support.snapshot(root) if path not in before and "/proc/" not in path} == set()


def test_message_names_host_device_group_reason_and_way_out(root: HostRoot) -> None:
    with pytest.raises(Refused) as caught:
        run(support.host(root, SimulatedKernel(root)), VfioDesired(addresses=(GPU,)), check_mode=False)
    assert str(caught.value) == (
        f"[A05][block] gpu-03: GPU {GPU} shares IOMMU group 12 with {AUDIO} (audio function, driver snd_hda_intel). "
        "A group can be passed on only as a whole, so the virtual machine would not start. Nothing was changed. "
        f"Fix: bind it too (members: same_slot), or name its owner (foreign_owner: [{AUDIO}]). "
        "Evidence: /sys/kernel/iommu_groups/12/devices"
    )


@pytest.mark.parametrize("failing", ["modprobe", "udevadm"])
def test_a_failing_command_takes_the_files_back(root: HostRoot, failing: str) -> None:
    def execute(command: list[str]) -> None:
        if command[0] == failing:
            raise KatagpuError(f"{command[0]} failed")

    kernel = SimulatedKernel(root)
    with pytest.raises(KatagpuError, match=f"{failing} failed"):
        run(support.host(root, kernel, execute=execute), LIVE, check_mode=False)
    assert not root.exists("/" + support.RULES) and kernel.writes == []


def test_another_root_gets_files_and_no_commands(root: HostRoot) -> None:
    kernel = SimulatedKernel(root)
    executed: list[list[str]] = []
    result = run(support.host(root, kernel, execute=executed.append, runs_here=False), LIVE, check_mode=False)
    assert result["changed"] and root.exists("/" + support.RULES) and kernel.writes == [] and executed == []
    assert result["commands"] and [step["address"] for step in result["live_steps"]] == [AUDIO, GPU]
    assert not run(support.host(root, kernel, runs_here=False), LIVE, check_mode=False)["changed"]


def test_operator_takes_the_gpu_after_us(root: HostRoot) -> None:
    """What the role does for owner operator: only the audio function is ours."""
    kernel = SimulatedKernel(root)
    wanted = VfioDesired(addresses=(AUDIO,), foreign_owner=(GPU,), live="idle")
    run(support.host(root, kernel), wanted, check_mode=False)
    assert kernel.driver(AUDIO) == "vfio-pci" and kernel.driver(GPU) == "nouveau"
    kernel.write(f"/sys/bus/pci/devices/{GPU}/driver_override", "vfio-pci")
    kernel.write(f"/sys/bus/pci/devices/{GPU}/driver/unbind", GPU)
    kernel.write("/sys/bus/pci/drivers_probe", GPU)
    again = run(support.host(root, kernel), wanted, check_mode=False)
    assert not again["changed"] and again["asserted"][0]["viable"]


@pytest.mark.parametrize(("node", "missing"), [("devices/vfio0", False), ("devices/vfio1", True), ("13", True)])
def test_a_kernel_with_nodes_of_devices_only(root: HostRoot, node: str, missing: bool) -> None:
    """Without CONFIG_VFIO_GROUP there is no node of the group."""
    kernel, clock = SimulatedKernel(root), Clock()
    for address in (GPU, AUDIO):
        (Path(root.path(f"/sys/bus/pci/devices/{address}")).resolve() / "vfio-dev/vfio0").mkdir(parents=True)
    (Path(root.path("/dev/vfio")) / node).parent.mkdir(exist_ok=True)
    (Path(root.path("/dev/vfio")) / node).touch()
    original = kernel.write

    def without_groups(path: str, text: str) -> Outcome:
        outcome = original(path, text)
        Path(root.path("/dev/vfio/12")).unlink(missing_ok=True)
        return outcome

    kernel.write = without_groups  # type: ignore[method-assign]
    result = run(support.host(root, kernel, clock), LIVE, check_mode=False)
    assert bool(result["warnings"]) is missing and (clock.now > 10) is missing


def test_a_variant_driver_is_spelled_as_the_kernel_spells_it(tmp_path: Path) -> None:
    """Row B08: modules.alias has underscores; what driver_override has to say shows when the module is loaded."""
    root = support.build(tmp_path, support.change(support.description(), GPU, device="2342"))

    def execute(command: list[str]) -> None:
        if command == ["modprobe", "nvgrace_gpu_vfio_pci"]:
            Path(root.path("/sys/bus/pci/drivers/nvgrace-gpu-vfio-pci")).mkdir()

    kernel = SimulatedKernel(root)
    run(support.host(root, kernel, execute=execute), LIVE, check_mode=False)
    assert kernel.driver(GPU) == kernel.override(GPU) == "nvgrace-gpu-vfio-pci"
    assert 'ATTR{driver_override}="nvgrace-gpu-vfio-pci"' in (root.read("/" + support.RULES) or "")
    assert not run(support.host(root, kernel), LIVE, check_mode=False)["changed"]


@pytest.mark.parametrize(
    "params", [{"addresses": ["65:00"]}, {"addresses": [GPU], "members": {"a": 1}}, {"ids": ["10de"]}]
)
def test_bad_options_are_named(params: dict[str, object]) -> None:
    with pytest.raises(KatagpuError, match="Fix:"):
        desired_from(params)


def test_options_become_canonical() -> None:
    wanted = desired_from({"addresses": ["65:00.0"], "ids": ["10DE:2236"], "members": ["65:00.1"]})
    assert wanted == VfioDesired(addresses=(GPU,), ids=("10de:2236",), members=(AUDIO,))
