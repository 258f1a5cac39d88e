# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What upstream's containers do on a node, on trees of plain files; the kernel's part is played by SimulatedSysfs."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.lab.node.behaviour import Outcome
from tests.lab.node.behaviours import driver_manager, kata_manager, sandbox_plugin, workload
from tests.lab.standins import facts
from tests.unit.lab.node_context import AUDIO, GPU0, NIC, PLUGIN, REGISTRY, VALIDATOR, VGA, Ctx, bound, find, pod, start

# vfio-manager and its init container


def test_vfio_manager_binds_gpus_and_leaves_siblings(tmp_path: Path) -> None:
    """gpu_operator vfio-manager.binds"""
    audio = {**AUDIO, "driver": "snd_hda_intel"}
    ctx = bound(Ctx(tmp_path, GPU0, VGA, audio, NIC))
    assert [ctx.driver(one) for one in (GPU0, VGA, AUDIO, NIC)] == ["vfio-pci", "vfio-pci", "snd_hda_intel", "igb"]
    assert ctx.override(GPU0) == "vfio-pci"


def test_vfio_manager_takes_a_gpu_from_its_driver(tmp_path: Path) -> None:
    ctx = bound(Ctx(tmp_path, {**GPU0, "driver": "nouveau"}))
    assert ctx.driver(GPU0) == "vfio-pci"


def test_a_failed_bind_ends_the_container_and_later_gpus_are_not_tried(tmp_path: Path) -> None:
    """vfio-manager.binds: without an IOMMU the kernel refuses."""
    no_iommu = {key: value for key, value in VGA.items() if key != "group"}
    ctx = Ctx(tmp_path, no_iommu, GPU0)
    outcome = start(ctx, "nvidia-vfio-manager")
    assert (outcome.state, ctx.driver(GPU0)) == ("failed", "")
    assert "0000:17:00.0" in outcome.message and "Invalid argument" in outcome.message


def test_stopping_vfio_manager_leaves_gpus_without_a_driver(tmp_path: Path) -> None:
    """vfio-manager.unbinds"""
    ctx = bound(Ctx(tmp_path, GPU0))
    find("nvidia-vfio-manager").stop(ctx, pod())  # type: ignore[arg-type]
    assert (ctx.driver(GPU0), ctx.override(GPU0)) == ("", "(null)")


def test_driver_manager_sends_operands_away_unbinds_and_brings_them_back(tmp_path: Path) -> None:
    """driver-manager.evicts, driver-manager.unbind, driver-manager.empty-labels"""
    deploy = driver_manager.DEPLOY
    ctx = bound(Ctx(tmp_path, GPU0, labels={f"{deploy}sandbox-validator": "true"}))
    ctx.pods = [pod(VALIDATOR)]
    outcome = start(ctx, "k8s-driver-manager")
    assert outcome.state == "running", "it waits for the validator's pod"
    assert ctx.labels[f"{deploy}sandbox-validator"] == "paused-for-driver-upgrade"
    assert ctx.driver(GPU0) == "vfio-pci"
    ctx.pods = [pod({"name": "nvidia-kata-manager"})]
    outcome = find("k8s-driver-manager").tick(ctx, pod())  # type: ignore[arg-type]
    assert outcome.state == "completed"
    assert (ctx.driver(GPU0), ctx.override(GPU0)) == ("", "(null)")
    assert ctx.labels[f"{deploy}sandbox-validator"] == "true"
    assert ctx.labels[facts.value(facts.GPU_OPERATOR, "driver-manager.empty-labels")] == ""


def test_driver_manager_gives_up_where_a_host_driver_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """driver-manager.host-driver"""
    ctx = bound(Ctx(tmp_path, GPU0))
    (tmp_path / "usr/bin").mkdir(parents=True)
    (tmp_path / "usr/bin/nvidia-smi").touch()
    ctx.system.load("nvidia")
    assert start(ctx, "k8s-driver-manager").state == "running"
    assert ctx.labels["nvidia.com/gpu.deploy.driver"] == "pre-installed"
    ctx.memory["fail_at"] = 0.0
    assert find("k8s-driver-manager").tick(ctx, pod()).state == "failed"  # type: ignore[arg-type]
    assert ctx.driver(GPU0) == "vfio-pci", "it never gets to the unbind"


@pytest.mark.parametrize(
    ("value", "away"),
    [("true", "paused-for-driver-upgrade"), ("false", "false"), ("", ""), ("x", "x_paused-for-driver-upgrade")],
)
def test_paused_labels_come_back(value: str, away: str) -> None:
    assert driver_manager.paused(value) == away
    assert driver_manager.paused(away) == away
    assert driver_manager.resumed(away) == value


# Validators and the plugin


def test_validation_demands_every_gpu_on_the_literal_driver(tmp_path: Path) -> None:
    """validator.all-gpus, validator.files"""
    ctx = Ctx(tmp_path, {**GPU0, "driver": "vfio-pci"}, {**VGA, "driver": "nvgrace_gpu_vfio_pci"})
    outcome = start(ctx, "vfio-pci-validation", VALIDATOR)
    assert outcome.message == (
        facts.value(facts.GPU_OPERATOR, "validator.all-gpus") % ("0000:17:00.0", "nvgrace_gpu_vfio_pci")
    )
    files = ctx.run_root / "nvidia/validations"
    assert sorted(os.listdir(files)) == ["workload-type"]
    assert (files / "workload-type").read_text() == "vm-passthrough\n"


def test_validation_success_and_pre_stop(tmp_path: Path) -> None:
    """validator.files, validator.pre-stop"""
    ctx = bound(Ctx(tmp_path, GPU0))
    assert start(ctx, "vfio-pci-validation", VALIDATOR).state == "completed"
    files = ctx.run_root / "nvidia/validations"
    assert sorted(os.listdir(files)) == ["vfio-pci-ready", "workload-type"]
    find("nvidia-sandbox-validator", VALIDATOR).stop(ctx, pod(VALIDATOR))  # type: ignore[arg-type]
    assert os.listdir(files) == []


def test_a_node_without_label_is_validated_as_the_default_workload(tmp_path: Path) -> None:
    """validator.default-workload"""
    ctx = Ctx(tmp_path, GPU0)
    ctx.labels = {}
    ctx.environment = {"DEFAULT_GPU_WORKLOAD_CONFIG": "vm-passthrough"}
    assert start(ctx, "vfio-pci-validation", VALIDATOR).state == "failed"
    ctx.environment = {}
    assert start(ctx, "vfio-pci-validation", VALIDATOR).state == "completed"


def test_plugin_waits_for_the_files_and_a_stale_one_will_do(tmp_path: Path) -> None:
    """sandbox-plugin.waits"""
    ctx = bound(Ctx(tmp_path, GPU0))
    assert start(ctx, "vfio-pci-validation", PLUGIN).state == "running"
    start(ctx, "vfio-pci-validation", VALIDATOR)
    find("nvidia-vfio-manager").stop(ctx, pod())  # type: ignore[arg-type]
    assert start(ctx, "vfio-pci-validation", PLUGIN).state == "completed"


def test_plugin_scans_once(tmp_path: Path) -> None:
    """device_plugin scan.once, device.id"""
    ctx = bound(Ctx(tmp_path, GPU0))
    start(ctx, "nvidia-sandbox-device-plugin-ctr", PLUGIN)
    memory = ctx.memory
    assert ctx.extended_resources == {"nvidia.com/GA102GL_A10": ["12"]}
    find("nvidia-vfio-manager").stop(ctx, pod())  # type: ignore[arg-type]
    find("nvidia-sandbox-device-plugin-ctr").tick(ctx, pod())  # type: ignore[arg-type]
    assert ctx.extended_resources == {"nvidia.com/GA102GL_A10": ["12"]}, "it does not look again"
    ctx.memory = memory
    find("nvidia-sandbox-device-plugin-ctr").stop(ctx, pod())  # type: ignore[arg-type]
    assert ctx.extended_resources == {}


@pytest.mark.parametrize(("name", "resource"), sorted(facts.value(facts.DEVICE_PLUGIN, "resource.name").items()))
def test_resource_names(name: str, resource: str) -> None:
    """device_plugin resource.name"""
    assert sandbox_plugin.resource_name(name) == resource


def test_audio_in_the_group_of_its_gpu_adds_nothing_alone_it_is_a_resource(tmp_path: Path) -> None:
    """device_plugin scan.group, scan.driver"""
    on = {"driver": "vfio-pci"}
    one_group = Ctx(tmp_path / "a", VGA | on, AUDIO | on).system.functions()
    assert sandbox_plugin.scan(one_group) == {"nvidia.com/GA102GL_RTX_A6000": ["5"]}
    apart = Ctx(tmp_path / "b", VGA | on, AUDIO | on | {"group": "6"}).system.functions()
    assert sandbox_plugin.scan(apart)["nvidia.com/GA102_HIGH_DEFINITION_AUDIO_CONTROLLER"] == ["6"]
    only_audio = Ctx(tmp_path / "c", VGA, AUDIO | on).system.functions()
    assert sandbox_plugin.scan(only_audio) == {"nvidia.com/GA102_HIGH_DEFINITION_AUDIO_CONTROLLER": ["5"]}
    unknown = Ctx(tmp_path / "d", GPU0 | on | {"device": "abcd"}).system.functions()
    assert sandbox_plugin.scan(unknown) == {"nvidia.com/abcd": ["12"]}


# kata-manager and CoCo


def kata_context(root: Path, *functions: dict[str, Any]) -> Ctx:
    ctx = bound(Ctx(root, *functions))
    config = facts.value(facts.GPU_OPERATOR, "values.kata-manager")["config"]
    path = f"/api/v1/namespaces/gpu-operator/configmaps/{kata_manager.CONFIG_MAP}"
    ctx.replies[path] = {"data": {"config.yaml": json.dumps(config)}}
    return ctx


def test_kata_manager_waits_then_writes_cdi_artifacts_and_runtimes(tmp_path: Path) -> None:
    """kata-manager.waits; kata_manager cdi.*, artifacts, runtimes, modules, stop"""
    ctx = kata_context(tmp_path, GPU0)
    assert not start(ctx, "nvidia-kata-manager").ready and not ctx.runtime_handlers
    start(ctx, "vfio-pci-validation", VALIDATOR)
    assert start(ctx, "nvidia-kata-manager").ready
    classes = {"kata-qemu-nvidia-gpu", "kata-qemu-nvidia-gpu-snp"}
    assert ctx.runtime_handlers == classes and len(ctx.restarts) == 1
    directory = tmp_path / "opt/nvidia-gpu-operator/artifacts/runtimeclasses/kata-qemu-nvidia-gpu"
    for pattern in facts.value(facts.KATA_MANAGER, "artifacts")["files"]:
        assert len(list(directory.glob(pattern))) == 1, pattern
    assert "Stand-in" in (directory / "configuration-nvidia-gpu-qemu.toml").read_text()
    fact = facts.value(facts.KATA_MANAGER, "cdi.file")
    text = (ctx.run_root / "cdi" / Path(fact["path"]).name).read_text()
    spec = facts.yaml.safe_load(text)
    assert spec == {
        "cdiVersion": fact["cdiVersion"],
        "containerEdits": {},
        "devices": [{"containerEdits": {"deviceNodes": [{"path": "/dev/vfio/12"}]}, "name": "0"}],
        "kind": fact["kind"],
    }
    assert all(ctx.system.loaded(name) for name in facts.value(facts.KATA_MANAGER, "modules"))
    find("nvidia-kata-manager").stop(ctx, pod())  # type: ignore[arg-type]
    assert not ctx.runtime_handlers and directory.is_dir()


def test_cdi_names_are_positions_among_all_gpus(tmp_path: Path) -> None:
    """kata_manager cdi.names"""
    ctx = Ctx(tmp_path, VGA, {**GPU0, "driver": "vfio-pci"})
    (tmp_path / "run/cdi").mkdir()
    (tmp_path / "run/cdi/x.yaml").write_text(kata_manager.cdi_spec(ctx.system.gpus()))
    assert workload.cdi_devices(tmp_path / "run/cdi", "nvidia.com/pgpu") == {"1": "/dev/vfio/12"}
    assert workload.cdi_devices(tmp_path / "run/cdi", "other") == {}


def test_coco_replaces_containerd_and_gives_it_back(tmp_path: Path) -> None:
    """coco host.pre-install, host.drop-in, host.containerd-version, host.install, host.post-uninstall"""
    table = facts.COCO_OPERATOR
    ctx = Ctx(tmp_path, NIC)
    start(ctx, "cc-runtime-pre-install-pod")
    fact = facts.value(table, "host.pre-install")
    assert all((tmp_path / path.lstrip("/")).is_file() for path in fact["files"])
    assert facts.value(table, "host.drop-in") in (tmp_path / fact["files"][1].lstrip("/")).read_text()
    assert ctx.container_runtime_version == facts.value(table, "host.containerd-version")
    assert ctx.labels["cc-preinstall/done"] == "true"
    start(ctx, "cc-runtime-pre-install-pod")  # a reboot runs it again

    install = {"name": "cc-operator-daemon-install"}
    start(ctx, "cc-runtime-install-pod", install)
    assert ctx.runtime_handlers == set(facts.value(table, "sample")["runtimeClassNames"])
    assert ctx.labels["katacontainers.io/kata-runtime"] == "true"
    start(ctx, "cc-runtime-install-pod", {"name": "cc-operator-daemon-uninstall"})
    assert not ctx.runtime_handlers and ctx.labels["katacontainers.io/kata-runtime"] == "cleanup"
    start(ctx, "cc-runtime-post-uninstall-pod")
    assert ctx.container_runtime_version == "containerd://1.7.24"
    assert not any((tmp_path / path.lstrip("/")).exists() for path in fact["files"])
    find("cc-runtime-install-pod", install).stop(ctx, pod(install))  # type: ignore[arg-type]
    assert "katacontainers.io/kata-runtime" not in ctx.labels


def test_nfd_labels_by_vendor_and_takes_labels_back(tmp_path: Path) -> None:
    """gpu_operator nfd.gpu-label"""
    worker = {"app.kubernetes.io/name": "node-feature-discovery"}
    prefix = "feature.node.kubernetes.io/"
    ctx = Ctx(tmp_path, GPU0, NIC, labels={f"{prefix}pci-1af4.present": "true"})
    start(ctx, "worker", worker)
    present = {key: value for key, value in ctx.labels.items() if key.startswith(f"{prefix}pci-")}
    assert present == {f"{prefix}pci-10de.present": "true", f"{prefix}pci-8086.present": "true"}
    assert REGISTRY.find(pod({"app": "mine"}), {"name": "worker"}) is None


# The sample workload


def vectoradd(ctx: Ctx, resource: str = "nvidia.com/GA102GL_A10", **changes: Any) -> Outcome:
    item = {"name": "cuda-vectoradd", "image": "nvcr.io/nvidia/k8s/cuda-sample:vectoradd-cuda11.7.1-ubuntu20.04"}
    ctx.container = {**item, "resources": {"limits": {resource: "1"}}}
    ctx.memory = {}
    handler = changes.pop("handler", "kata-qemu-nvidia-gpu")
    ctx.replies[f"/apis/node.k8s.io/v1/runtimeclasses/{handler}"] = {"handler": handler}
    spec = pod(runtimeClassName=handler)
    spec["metadata"]["annotations"] = changes.pop("annotations", {"cdi.k8s.io/gpu": "nvidia.com/pgpu=0"})
    behaviour = find("any", image=item["image"])
    outcome = behaviour.start(ctx, spec)  # type: ignore[arg-type]
    if "until" in ctx.memory:
        ctx.memory["until"] = 0.0
        outcome = behaviour.tick(ctx, spec)  # type: ignore[arg-type]
    return outcome


def ready(root: Path, *functions: dict[str, Any]) -> Ctx:
    ctx = kata_context(root, *functions)
    start(ctx, "vfio-pci-validation", VALIDATOR)
    start(ctx, "nvidia-kata-manager")
    start(ctx, "nvidia-sandbox-device-plugin-ctr", PLUGIN)
    ctx.given = ctx.extended_resources
    return ctx


def test_the_sample_passes_where_everything_is_right_and_says_what_it_is(tmp_path: Path) -> None:
    ctx = ready(tmp_path, GPU0)
    outcome = vectoradd(ctx)
    assert outcome.state == "completed"
    assert outcome.log.splitlines()[-2:] == ["Test PASSED", "Done"]
    assert "stand-in for the CUDA sample" in ctx.logs[-1]


def test_a_sibling_on_a_host_driver_makes_the_group_unviable(tmp_path: Path) -> None:
    """failure mode A05"""
    resource = "nvidia.com/GA102GL_RTX_A6000"
    ctx = ready(tmp_path, VGA, AUDIO | {"driver": "snd_hda_intel"})
    outcome = vectoradd(ctx, resource)
    assert outcome.state == "waiting" and "group 5 is not viable" in outcome.message
    assert ctx.events[0].startswith("Warning FailedCreatePodSandBox")
    ctx.system.unbind(ctx.system.function(str(AUDIO["address"])))
    assert vectoradd(ctx, resource).state == "completed", "without a driver the sibling does no harm"
    (tmp_path / "sys/bus/pci/drivers/pci-stub").mkdir(parents=True)
    ctx.system.bind(ctx.system.function(str(AUDIO["address"])), "pci-stub")
    assert vectoradd(ctx, resource).state == "completed"


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"annotations": {"cdi.k8s.io/gpu": "nvidia.com/pgpu=1"}}, "unresolvable CDI devices nvidia.com/pgpu=1"),
        ({"handler": "kata-qemu"}, "port is not set"),
        ({"resource": "nvidia.com/other"}, "Operation not permitted (the pod was allocated nothing)"),
    ],
)
def test_what_keeps_the_sandbox_from_starting(tmp_path: Path, change: dict[str, Any], text: str) -> None:
    outcome = vectoradd(ready(tmp_path, GPU0), **change)
    assert outcome.state == "waiting" and text in outcome.message


def test_a_stale_cdi_file_does_not_help_after_an_unbind(tmp_path: Path) -> None:
    ctx = ready(tmp_path, GPU0)
    find("nvidia-vfio-manager").stop(ctx, pod())  # type: ignore[arg-type]
    assert "error opening /dev/vfio/12" in vectoradd(ctx).message


def test_without_the_annotation_there_is_no_gpu_in_the_vm(tmp_path: Path) -> None:
    outcome = vectoradd(ready(tmp_path, GPU0), annotations={})
    assert outcome.state == "failed" and "no CUDA-capable device" in outcome.message


# Container node


def test_container_operands_come_up_in_order(tmp_path: Path) -> None:
    ctx = Ctx(tmp_path, GPU0)
    validator = {"app": "nvidia-operator-validator"}
    assert start(ctx, "driver-validation", {"app": "nvidia-container-toolkit-daemonset"}).state == "running"
    start(ctx, "nvidia-driver-ctr")
    assert start(ctx, "driver-validation", {"app": "nvidia-container-toolkit-daemonset"}).state == "completed"
    assert start(ctx, "toolkit-validation", {"app": "nvidia-device-plugin-daemonset"}).state == "running"
    start(ctx, "nvidia-container-toolkit-ctr")
    assert ctx.runtime_handlers == {"nvidia"}
    assert start(ctx, "toolkit-validation", validator).state == "completed"
    assert start(ctx, "toolkit-validation", {"app": "nvidia-device-plugin-daemonset"}).state == "completed"
    assert start(ctx, "plugin-validation", validator).state == "running"
    start(ctx, "nvidia-device-plugin")
    assert start(ctx, "plugin-validation", validator).state == "completed"
    assert len(ctx.extended_resources["nvidia.com/gpu"]) == 1
    start(ctx, "gpu-feature-discovery")
    assert ctx.labels["nvidia.com/gpu.product"] == "NVIDIA-A10"
