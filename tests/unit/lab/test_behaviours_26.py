# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the containers of GPU Operator 26.7 do on a node, on trees of plain files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.lab.node.behaviours import (
    cc_manager,
    driver_manager_go,
    images,
    kata_devices,
    kata_sandbox_plugin,
    sysfs,
    vfio_manage,
)
from tests.lab.standins import facts
from tests.unit.lab.node_context import AUDIO, GO_26, GPU0, KATA_PLUGIN, NIC, VALIDATOR, VGA, Ctx, start, stop, tick

DM, CC, PLUGIN = facts.DRIVER_MANAGER, facts.CC_MANAGER, facts.KATA_PLUGIN
DEPLOY = "nvidia.com/gpu.deploy."
H100 = {**GPU0, "device": "2331"}
SWITCH = {"address": "0000:a0:00.0", "class": "068000", "vendor": "10de", "device": "22a3", "group": "40"}
VFIO = {"driver": "vfio-pci"}
HOST_CC = "sys/module/kvm_amd/parameters/sev_snp"


def context(root: Path, *functions: dict[str, Any], **more: Any) -> Ctx:
    ctx = Ctx(root, *functions, **more)
    ctx.images = GO_26
    return ctx


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def link_consumer(root: Path, supplier: dict[str, Any], *consumers: str) -> None:
    """The kernel's links from a display function to the functions that depend on it."""
    for address in consumers:
        write(root / f"sys/bus/pci/devices/{supplier['address']}/consumer:pci:{address}/status", "active\n")


# Without a vfio-manager


def test_what_the_host_has_bound_is_validated_and_offered(tmp_path: Path) -> None:
    """validator.all-gpus: neither the validator nor the plugin asks who has bound the GPU."""
    workload = {"nvidia.com/gpu.workload.config": "vm-passthrough"}
    ctx = context(tmp_path, GPU0 | VFIO, labels=workload)
    assert start(ctx, "vfio-pci-validation", KATA_PLUGIN).state == "running", "it waits for the validator's file"
    assert start(ctx, "vfio-pci-validation", VALIDATOR).state == "completed"
    assert tick(ctx, "vfio-pci-validation", KATA_PLUGIN).state == "completed"
    start(ctx, "nvidia-kata-sandbox-device-plugin-ctr", KATA_PLUGIN)
    assert list(ctx.extended_resources) == ["nvidia.com/pgpu"]
    unbound = context(tmp_path / "unbound", GPU0, labels=workload)
    assert start(unbound, "vfio-pci-validation", VALIDATOR).state == "failed"


# vfio-manager and its init container


def test_binding_all_gpus_and_the_first_consumer_of_a_display(tmp_path: Path) -> None:
    """bind.devices, bind.auxiliary: neither the second consumer nor the NVSwitch."""
    audio, usb = {**AUDIO, "driver": "snd_hda_intel"}, {**AUDIO, "address": "0000:17:00.2", "class": "0c0330"}
    ctx = context(tmp_path, GPU0, VGA, audio, usb, SWITCH, NIC)
    link_consumer(tmp_path, VGA, "0000:17:00.2", "0000:17:00.1")
    assert start(ctx, "nvidia-vfio-manager").state == "running"
    drivers = [ctx.driver(one) for one in (GPU0, VGA, audio, usb, SWITCH, NIC)]
    assert drivers == ["vfio-pci", "vfio-pci", "vfio-pci", "", "", "igb"]


def test_a_failed_bind_is_only_a_warning_and_the_others_are_tried(tmp_path: Path) -> None:
    """bind.failure: the pod runs although nothing is bound."""
    no_iommu = {key: value for key, value in VGA.items() if key != "group"}
    ctx = context(tmp_path, no_iommu, GPU0)
    assert start(ctx, "nvidia-vfio-manager").state == "running"
    assert (ctx.driver(VGA), ctx.driver(GPU0)) == ("", "vfio-pci")
    assert "level=warning msg=Failed to bind device 0000:17:00.0: Invalid argument" in ctx.logs


def test_nvswitches_are_bound_only_where_the_container_is_told(tmp_path: Path) -> None:
    """bind.devices"""
    ctx = context(tmp_path, SWITCH)
    ctx.environment = {facts.value(DM, "bind.devices")["switches_env"]: "true"}
    start(ctx, "nvidia-vfio-manager")
    assert ctx.driver(SWITCH) == "vfio-pci"
    stop(ctx, "nvidia-vfio-manager")
    assert ctx.driver(SWITCH) == ""


def test_stopping_unbinds_gpu_and_consumer(tmp_path: Path) -> None:
    """vfio-manager.pre-stop, unbind"""
    ctx = context(tmp_path, VGA | VFIO, AUDIO | VFIO)
    link_consumer(tmp_path, VGA, str(AUDIO["address"]))
    stop(ctx, "nvidia-vfio-manager")
    assert (ctx.driver(VGA), ctx.driver(AUDIO), ctx.override(VGA)) == ("", "", "(null)")


def test_a_variant_driver_is_chosen_by_alias(tmp_path: Path) -> None:
    """bind.driver"""
    aliases = (
        "alias pci:v000010DEd*sv*sd*bc03sc*i* nouveau\n"
        "alias vfio_pci:v*d*sv*sd*bc*sc*i* vfio_pci\n"
        "alias vfio_pci:v000010DEd00002342sv*sd*bc*sc*i* nvgrace_gpu_vfio_pci\n"
    )
    grace = "pci:v000010DEd00002342sv000010DEsd000016EBbc03sc02i00"
    assert vfio_manage.best_module(grace, aliases) == "nvgrace_gpu_vfio_pci"
    assert vfio_manage.best_module(grace.replace("2342", "2236"), aliases) == "vfio_pci"
    assert vfio_manage.best_module(grace, "") == ""
    ctx = context(tmp_path, {**GPU0, "files": {"modalias": grace.replace("2342", "2236") + "\n"}})
    write(tmp_path / "proc/sys/kernel/osrelease", "6.12.0\n")
    write(tmp_path / "lib/modules/6.12.0/modules.alias", aliases)
    (tmp_path / "sys/bus/pci/drivers/vfio-pci").mkdir(parents=True)
    start(ctx, "nvidia-vfio-manager")
    assert ctx.driver(GPU0) == "vfio-pci", "the directory of the driver has a dash"


def test_init_container_unbinds_at_every_start_and_evicts_nobody_without_a_driver(tmp_path: Path) -> None:
    """evict.only-with-driver, order, reschedule.labels, reschedule.nvsm"""
    before = {f"{DEPLOY}sandbox-validator": "true", f"{DEPLOY}kata-sandbox-device-plugin": "true"}
    ctx = context(tmp_path, GPU0 | VFIO, labels=before)
    ctx.pods = [{"metadata": {"labels": VALIDATOR}}]
    assert start(ctx, "k8s-driver-manager").state == "completed"
    assert ctx.driver(GPU0) == ""
    assert ctx.labels[f"{DEPLOY}sandbox-validator"] == ctx.labels[f"{DEPLOY}kata-sandbox-device-plugin"] == "true"
    empty = {key for key, value in ctx.labels.items() if value == ""}
    assert empty == set(facts.value(DM, "reschedule.labels")) - set(before)
    assert facts.value(DM, "reschedule.nvsm") in empty


def test_init_container_waits_for_operands_where_a_driver_is_loaded(tmp_path: Path) -> None:
    """evict.labels, evict.pods: not for the plugin of mode kata."""
    ctx = context(tmp_path, GPU0 | VFIO, labels={f"{DEPLOY}sandbox-validator": "true"})
    ctx.system.load("nvidia")
    ctx.pods = [{"metadata": {"labels": VALIDATOR}}, {"metadata": {"labels": KATA_PLUGIN}}]
    assert start(ctx, "k8s-driver-manager").state == "running"
    assert ctx.labels[f"{DEPLOY}sandbox-validator"] == facts.value(DM, "evict.labels")["paused"]
    assert ctx.driver(GPU0) == "vfio-pci"
    ctx.pods = [{"metadata": {"labels": KATA_PLUGIN}}]
    assert tick(ctx, "k8s-driver-manager").state == "completed"
    assert (ctx.driver(GPU0), ctx.labels[f"{DEPLOY}sandbox-validator"]) == ("", "true")


def test_init_container_gives_up_where_a_host_driver_is(tmp_path: Path) -> None:
    """host-driver"""
    ctx = context(tmp_path, GPU0 | VFIO)
    write(tmp_path / "usr/bin/nvidia-smi", "")
    ctx.system.load("nvidia")
    assert start(ctx, "k8s-driver-manager").state == "running"
    assert ctx.labels[f"{DEPLOY}driver"] == "pre-installed"
    ctx.memory["fail_at"] = 0.0
    assert tick(ctx, "k8s-driver-manager").state == "failed"


def test_init_container_unloads_nouveau_or_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """order"""
    ctx = context(tmp_path, GPU0)
    ctx.system.load("nouveau")
    assert start(ctx, "k8s-driver-manager").state == "completed" and not ctx.system.loaded("nouveau")
    ctx.system.load("nouveau")
    monkeypatch.setattr(sysfs.SimulatedSysfs, "unload", lambda self, module: "Module nouveau is in use")
    assert "in use" in start(ctx, "k8s-driver-manager").message


@pytest.mark.parametrize(
    ("image", "new"),
    [
        ("nvcr.io/nvidia/cloud-native/k8s-driver-manager:v0.6.2", False),
        ("mirror.example.com:5000/a/k8s-driver-manager:v0.12.0", True),
        ("mirror.example.com/k8s-driver-manager@sha256:00", True),
        ("nvcr.io/nvidia/cuda:12.3.2-base-ubi8", False),
    ],
)
def test_images_tell_the_releases_apart(image: str, new: bool) -> None:
    assert images.is_vfio_manage({"image": image}) is new


# Validators and the plugin


def test_validation_takes_the_grace_driver_too_and_the_plugin_does_not(tmp_path: Path) -> None:
    """validator.all-gpus, scan.devices"""
    grace = {**VGA, "driver": "nvgrace_gpu_vfio_pci"}
    ctx = context(tmp_path, GPU0 | VFIO, grace)
    assert start(ctx, "vfio-pci-validation", VALIDATOR).state == "completed"
    start(ctx, "nvidia-kata-sandbox-device-plugin-ctr", KATA_PLUGIN)
    assert ctx.extended_resources == {"nvidia.com/pgpu": ["12"]}


def test_cc_validation_is_skipped_without_a_label_that_nobody_writes(tmp_path: Path) -> None:
    """validator.cc-manager"""
    fact = facts.value(facts.GPU_OPERATOR_26, "validator.cc-manager")
    ctx = context(tmp_path, GPU0)
    assert "skipping" in start(ctx, "cc-manager-validation", VALIDATOR).log
    ctx.labels.update(fact["label"])
    assert start(ctx, "cc-manager-validation", VALIDATOR).state == "running"
    write(tmp_path / "run/nvidia/validations" / fact["waits_for"], "")
    assert tick(ctx, "cc-manager-validation", VALIDATOR).state == "completed"
    assert (tmp_path / "run/nvidia/validations/cc-manager-ready").exists()


def test_plugin_of_mode_kata_waits_for_the_validator(tmp_path: Path) -> None:
    """sandbox-plugin.waits"""
    ctx = context(tmp_path, GPU0 | VFIO)
    assert start(ctx, "vfio-pci-validation", KATA_PLUGIN).state == "running"
    start(ctx, "vfio-pci-validation", VALIDATOR)
    assert start(ctx, "vfio-pci-validation", KATA_PLUGIN).state == "completed"


def plugin(ctx: Ctx, **environment: str) -> dict[str, list[str]]:
    ctx.environment = environment
    start(ctx, "nvidia-kata-sandbox-device-plugin-ctr", KATA_PLUGIN)
    return ctx.extended_resources


def test_plugin_writes_cdi_by_group_number_and_scans_once(tmp_path: Path) -> None:
    """cdi.file, cdi.names, device.id, scan.once"""
    ctx = context(tmp_path, GPU0 | VFIO, VGA | VFIO, AUDIO | VFIO, SWITCH | VFIO)
    assert plugin(ctx) == {"nvidia.com/pgpu": ["12"], "nvidia.com/nvswitch": ["40"]}
    fact = facts.value(PLUGIN, "cdi.file")
    spec = yaml.safe_load((ctx.run_root / "cdi" / Path(fact["path"]).name).read_text())
    assert (spec["cdiVersion"], spec["kind"]) == (fact["cdiVersion"], fact["kind"])
    assert [one["name"] for one in spec["devices"]] == ["5", "12"], "in the order of their numbers, audio is no device"
    nodes = [node["path"] for node in spec["devices"][1]["containerEdits"]["deviceNodes"]]
    assert nodes == ["/dev/vfio/vfio", "/dev/vfio/12"]
    assert sorted(os.listdir(ctx.run_root / "cdi")) == ["nvidia.com-nvswitch.yaml", "nvidia.com-pgpu.yaml"]
    memory = ctx.memory
    stop(ctx, "nvidia-vfio-manager")
    tick(ctx, "nvidia-kata-sandbox-device-plugin-ctr", KATA_PLUGIN)
    assert ctx.extended_resources["nvidia.com/pgpu"] == ["12"], "it does not look again"
    ctx.memory = memory
    stop(ctx, "nvidia-kata-sandbox-device-plugin-ctr", KATA_PLUGIN)
    assert ctx.extended_resources == {}
    assert (ctx.run_root / "cdi/nvidia.com-pgpu.yaml").exists(), "the file stays"


def test_two_models_under_one_alias_take_each_others_place(tmp_path: Path) -> None:
    """alias: with an empty one each model has its resource."""
    ctx = context(tmp_path, GPU0 | VFIO, VGA | VFIO)
    assert plugin(ctx) == {"nvidia.com/pgpu": ["12"]}, "the model that registers last"
    ctx.extended_resources.clear()
    assert plugin(ctx, P_GPU_ALIAS="") == {"nvidia.com/GA102GL_RTX_A6000": ["5"], "nvidia.com/GA102GL_A10": ["12"]}
    ctx.extended_resources.clear()
    assert plugin(context(tmp_path / "b", GPU0 | VFIO), P_GPU_ALIAS="gpu") == {"nvidia.com/gpu": ["12"]}


def test_with_iommufd_a_device_goes_by_its_character_device(tmp_path: Path) -> None:
    """device.id, cdi.names"""
    ctx = context(tmp_path, GPU0 | VFIO)
    write(tmp_path / "dev/iommu", "")
    assert plugin(ctx) == {"nvidia.com/pgpu": ["12"]}, "the kernel has no character device for it"
    write(tmp_path / "sys/bus/pci/devices/0000:65:00.0/vfio-dev/vfio3/dev", "240:3\n")
    assert plugin(ctx) == {"nvidia.com/pgpu": ["3"]}
    known = kata_devices.cdi_nodes([ctx.run_root / "cdi"], "nvidia.com/pgpu")
    assert known == {"3": ["/dev/vfio/devices/vfio3"]}
    assert kata_devices.problem(ctx.system, {"nvidia.com/pgpu": ["3"]}) == ""


@pytest.mark.parametrize(("name", "resource"), sorted(facts.value(PLUGIN, "resource.name").items()))
def test_class_names(name: str, resource: str) -> None:
    """resource.name"""
    assert kata_sandbox_plugin.class_name(name) == resource


# cc-manager


def cc(ctx: Ctx, default: str = "on") -> str:
    ctx.environment = {"DEFAULT_CC_MODE": default}
    return start(ctx, "nvidia-cc-manager").state


def states(ctx: Ctx) -> tuple[str | None, str | None]:
    fact = facts.value(CC, "state.labels")
    return ctx.labels.get(fact["state"]), ctx.labels.get(fact["ready"])


def test_default_on_becomes_off_on_a_host_without_tee(tmp_path: Path) -> None:
    """mode.host, mode.no-capable, ready.file"""
    ctx = context(tmp_path, GPU0)
    assert cc(ctx) == "running" and states(ctx) == ("off", "false")
    ready = Path(facts.value(CC, "ready.file")).name
    assert (tmp_path / "run/nvidia/validations" / ready).exists()
    assert not [key for key in ctx.labels if key.startswith(DEPLOY)], "nobody was paused"
    stop(ctx, "nvidia-cc-manager")
    assert not (tmp_path / "run/nvidia/validations" / ready).exists()


@pytest.mark.parametrize("label", ["on", "devtools", "ppcie"])
def test_a_gpu_without_the_mode_makes_it_crash(tmp_path: Path, label: str) -> None:
    """mode.incapable"""
    ctx = context(tmp_path, GPU0, H100 | {"address": "0000:66:00.0"}, labels={"nvidia.com/cc.mode": label})
    ctx.environment = {"DEFAULT_CC_MODE": "off"}
    outcome = start(ctx, "nvidia-cc-manager")
    assert (outcome.state, outcome.exit_code) == ("failed", facts.value(CC, "mode.incapable"))
    assert "0000:65:00.0" in outcome.message and "0000:66" not in outcome.message and states(ctx) == (None, None)


def test_default_on_with_an_incapable_gpu_crashes_on_a_host_with_tee(tmp_path: Path) -> None:
    """mode.incapable"""
    ctx = context(tmp_path, GPU0)
    write(tmp_path / HOST_CC, "Y\n")
    assert cc(ctx) == "failed"
    ctx.labels[facts.value(CC, "mode.label")["label"]] = "off"
    assert cc(ctx) == "running" and states(ctx) == ("off", "false")


def test_a_change_pauses_operands_and_stamps_absent_labels_empty(tmp_path: Path) -> None:
    """evict.labels, evict.pods: nobody waits for the vfio-manager, whose pods carry no app label."""
    before = {f"{DEPLOY}vfio-manager": "true", f"{DEPLOY}sandbox-validator": "true"}
    ctx = context(tmp_path, H100, labels=before)
    write(tmp_path / HOST_CC, "1\n")
    ctx.pods = [{"metadata": {"labels": VALIDATOR}}, {"metadata": {"labels": {"name": "nvidia-vfio-manager"}}}]
    assert cc(ctx) == "running" and states(ctx) == (None, None)
    assert ctx.labels[f"{DEPLOY}vfio-manager"] == facts.value(CC, "evict.labels")["paused"]
    ctx.pods = ctx.pods[1:]
    assert tick(ctx, "nvidia-cc-manager").state == "running" and states(ctx) == ("on", "true")
    assert {key: value for key, value in ctx.labels.items() if key.startswith(DEPLOY)} == {
        **dict.fromkeys(facts.value(CC, "evict.labels")["labels"], ""),
        **before,
    }
    assert cc(ctx) == "running" and "skipping" in ctx.logs[-2], "the card keeps its mode over a restart"


@pytest.mark.parametrize(("mode", "ready"), [("devtools", ""), ("on", "true"), ("off", "false")])
def test_states_of_the_modes(tmp_path: Path, mode: str, ready: str) -> None:
    """state.labels"""
    ctx = context(tmp_path, H100, labels={"nvidia.com/cc.mode": mode})
    assert cc(ctx) == "running" and states(ctx) == (mode, ready)
    ctx.labels["nvidia.com/cc.mode"] = "off"
    tick(ctx, "nvidia-cc-manager")
    assert states(ctx) == ("off", "false"), "the label is watched"


def test_without_gpus_it_says_nothing(tmp_path: Path) -> None:
    """mode.no-capable"""
    ctx = context(tmp_path, NIC)
    assert cc(ctx) == "running" and states(ctx) == (None, None)


# Container node


def test_toolkit_adds_the_handlers_of_cdi(tmp_path: Path) -> None:
    """toolkit.handlers"""
    ctx = context(tmp_path, GPU0)
    ctx.environment = {"CDI_ENABLED": "true"}
    start(ctx, "nvidia-container-toolkit-ctr")
    assert sorted(ctx.runtime_handlers) == facts.value(facts.GPU_OPERATOR_26, "toolkit.handlers")
    stop(ctx, "nvidia-container-toolkit-ctr")
    assert not ctx.runtime_handlers


# Constants of the behaviours, which run in a guest without the tables


def test_constants_are_facts() -> None:
    assert [DEPLOY + name for name in driver_manager_go.EVICTED] == facts.value(DM, "evict.labels")["labels"]
    assert [DEPLOY + name for name in driver_manager_go.RESCHEDULED] == facts.value(DM, "reschedule.labels")
    assert list(driver_manager_go.WAITED_FOR) == facts.value(DM, "evict.pods")
    assert facts.value(DM, "bind.auxiliary") == sysfs.CONSUMER
    devices = facts.value(DM, "bind.devices")
    assert (list(sysfs.GPU_CLASSES), sysfs.NVSWITCH_CLASS) == (devices["classes"], devices["nvswitch"])
    assert facts.value(CC, "evict.pods") == cc_manager.EVICTED
    assert [f"/{path}" for path in cc_manager.HOST_FILES] == facts.value(CC, "mode.host")["files"]
    assert facts.value(CC, "state.labels")["values"] == cc_manager.READY
    assert list(cc_manager.CAPABLE) == facts.value(CC, "capable.devices")
    alias = facts.value(PLUGIN, "alias")
    assert (alias["gpu"]["env"], alias["gpu"]["default"]) == kata_sandbox_plugin.GPU_ALIAS
    assert (alias["nvswitch"]["env"], alias["nvswitch"]["default"]) == kata_sandbox_plugin.SWITCH_ALIAS
    assert facts.value(PLUGIN, "scan.devices") == kata_sandbox_plugin.DRIVER
