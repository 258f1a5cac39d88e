# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What kata-deploy 4.0.0 does on a node: files, containerd, label, restart; as a DaemonSet and as Jobs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import tomllib

from tests.lab.node.behaviours import kata_containerd, kata_deploy, kata_jobs, kata_stages
from tests.lab.standins import facts
from tests.unit.lab.node_context import GPU0, Ctx, pod, start, stop, tick

T = facts.KATA_DEPLOY
LABEL, TRUE = next(iter(facts.value(T, "install.label").items()))
DAEMONSET = "/apis/apps/v1/namespaces/gpu-operator/daemonsets/kata-deploy"
DAEMONSETS = "/apis/apps/v1/daemonsets"
RULES = kata_stages.RULES
SHIM = "qemu-nvidia-gpu"


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """The variables of x86_64, on whatever machine the tests run; and no waiting."""
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    monkeypatch.setattr(kata_stages, "RESTART_SECONDS", 0.0)


def context(root: Path, version: str = "containerd://2.2.1", **environment: str) -> Ctx:
    ctx = Ctx(root, GPU0)
    ctx.container_runtime_version = version
    ctx.environment = {"SHIMS_X86_64": f"{SHIM} {SHIM}-snp", "DAEMONSET_NAME": "kata-deploy", **environment}
    return ctx


def installed(ctx: Ctx) -> Ctx:
    """Up to Ready."""
    assert start(ctx, "kube-kata").state == "running"
    tick(ctx, "kube-kata")
    ctx.memory["stable_at"] = 0.0
    assert tick(ctx, "kube-kata").ready
    return ctx


def main_file(root: Path) -> Path:
    return root / "etc/containerd/config.toml"


def runtimes(path: Path, schema: int = 3) -> dict[str, Any]:
    plugin = facts.value(T, "containerd.plugin")[schema]
    found: dict[str, Any] = tomllib.loads(path.read_text())["plugins"][plugin]["containerd"]["runtimes"]
    return found


# Order and readiness


def test_label_comes_after_the_restart_and_ready_after_the_label(tmp_path: Path) -> None:
    """install.order, install.label, install.label-stable, install.restart"""
    ctx = context(tmp_path)
    outcome = start(ctx, "kube-kata")
    assert (outcome.state, outcome.ready, LABEL in ctx.labels) == ("running", False, False)
    assert len(ctx.restarts) == 1 and ctx.runtime_handlers == {f"kata-{SHIM}", f"kata-{SHIM}-snp"}
    ctx.ready = False
    assert not tick(ctx, "kube-kata").ready and LABEL not in ctx.labels, "the node is not Ready yet"
    ctx.ready = True
    assert not tick(ctx, "kube-kata").ready and ctx.labels[LABEL] == TRUE
    assert not tick(ctx, "kube-kata").ready, "it watches whether the label stays"
    del ctx.labels[LABEL]
    ctx.memory["stable_at"] = 0.0
    assert not tick(ctx, "kube-kata").ready and ctx.labels[LABEL] == TRUE, "set again"
    ctx.memory["stable_at"] = 0.0
    assert tick(ctx, "kube-kata").ready
    assert facts.value(T, "install.label-stable") == kata_deploy.STABLE_SECONDS


def test_a_restarted_pod_restarts_containerd_and_believes_the_label(tmp_path: Path) -> None:
    """install.restart, install.label"""
    ctx = installed(context(tmp_path))
    assert not start(ctx, "kube-kata").ready and len(ctx.restarts) == 2
    assert tick(ctx, "kube-kata").ready


def test_files_below_opt_kata(tmp_path: Path) -> None:
    """install.directory, install.files, runtime.annotations"""
    installed(context(tmp_path, ALLOWED_HYPERVISOR_ANNOTATIONS_X86_64=f"{SHIM}:default_memory,x.*"))
    base = tmp_path / facts.value(T, "install.directory").lstrip("/")
    files = facts.value(T, "install.files")
    assert (base / files["shim"]).is_file() and (base / files["versions"]).is_file()
    text = (base / files["configuration"].format(shim=SHIM)).read_text()
    assert (base / files["link"].format(shim=SHIM)).read_text() == text
    hypervisor = tomllib.loads(text)["hypervisor"]["qemu"]
    allowed = facts.value(T, "runtime.annotations")
    assert hypervisor["enable_annotations"] == [*allowed["plain"], "default_memory", "x.*"]
    other = tomllib.loads((base / files["configuration"].format(shim=f"{SHIM}-snp")).read_text())
    assert other["hypervisor"]["qemu"]["enable_annotations"] == allowed["confidential"]
    assert "Stand-in" in text


# containerd


def test_conf_d_is_used_where_the_main_file_imports_it(tmp_path: Path) -> None:
    """containerd.conf-d, containerd.runtime"""
    main = main_file(tmp_path)
    main.parent.mkdir(parents=True)
    before = "version = 3\nimports = [\n  '/etc/containerd/conf.d/*.toml',\n]\n"
    main.write_text(before)
    ctx = installed(context(tmp_path, SNAPSHOTTER_HANDLER_MAPPING_X86_64=f"{SHIM}-snp:nydus"))
    assert main.read_text() == before
    found = runtimes(tmp_path / facts.value(T, "containerd.conf-d").lstrip("/"))
    fact = facts.value(T, "containerd.runtime")
    assert found[f"kata-{SHIM}"]["runtime_type"] == fact["runtime_type"].format(shim=SHIM)
    assert found[f"kata-{SHIM}"]["pod_annotations"] == fact["pod_annotations"]
    assert found[f"kata-{SHIM}-snp"]["snapshotter"] == facts.value(T, "snapshotter.nydus")["name"]
    configuration = found[f"kata-{SHIM}"]["options"]["ConfigPath"]
    assert (tmp_path / configuration.lstrip("/")).is_file()
    stop(ctx, "kube-kata")
    assert main.read_text() == before and not list((tmp_path / "etc/containerd/conf.d").iterdir())


@pytest.mark.parametrize("version", ["containerd://2.1.4", "containerd://2.2.1"])
def test_otherwise_the_main_file_gets_an_import_and_loses_it(tmp_path: Path, version: str) -> None:
    """containerd.drop-in"""
    main = main_file(tmp_path)
    main.parent.mkdir(parents=True)
    main.write_text('version = 3\nimports = ["/etc/mine.toml"]\nroot = "/x"\n')
    ctx = installed(context(tmp_path, version))
    drop_in = facts.value(T, "containerd.drop-in")
    assert tomllib.loads(main.read_text())["imports"] == ["/etc/mine.toml", drop_in]
    assert f"kata-{SHIM}" in runtimes(tmp_path / drop_in.lstrip("/"))
    start(ctx, "kube-kata")
    assert main.read_text().count(drop_in) == 1
    stop(ctx, "kube-kata")
    assert tomllib.loads(main.read_text()) == {"version": 3, "imports": ["/etc/mine.toml"], "root": "/x"}


def test_containerd_1_gets_them_in_its_main_file_with_a_copy(tmp_path: Path) -> None:
    """containerd.main-file, containerd.plugin"""
    main = main_file(tmp_path)
    main.parent.mkdir(parents=True)
    main.write_text("version = 2\n")
    ctx = installed(context(tmp_path, "containerd://1.7.24"))
    start(ctx, "kube-kata")  # twice does no harm
    assert f"kata-{SHIM}" in runtimes(main, 2)
    assert main.with_name(main.name + facts.value(T, "containerd.main-file")).read_text() == "version = 2\n"
    stop(ctx, "kube-kata")
    assert main.read_text() == "version = 2\n" and [path.name for path in main.parent.iterdir()] == ["config.toml"]


@pytest.mark.parametrize(
    ("version", "schema", "place"),
    [
        ("containerd://2.3.0", 4, "etc/containerd/conf.d/kata-deploy.toml"),
        ("containerd://2.0.5", 3, "opt/kata/containerd/config.d/kata-deploy.toml"),
        ("containerd://1.7.24", 2, "etc/containerd/config.toml"),
    ],
)
def test_without_a_main_file_the_default_becomes_it(tmp_path: Path, version: str, schema: int, place: str) -> None:
    """containerd.default"""
    installed(context(tmp_path, version))
    assert kata_containerd.schema_of(main_file(tmp_path).read_text()) == schema
    assert f"kata-{SHIM}" in runtimes(tmp_path / place, min(schema, 3))


@pytest.mark.parametrize(
    ("version", "environment", "text"),
    [
        ("cri-o://1.34.0", {}, "is not supported"),
        ("containerd://1.6.8", {"SNAPSHOTTER_HANDLER_MAPPING_X86_64": f"{SHIM}:nydus"}, "with containerd 1.7 or newer"),
        ("containerd://2.1.0", {"EXPERIMENTAL_SETUP_SNAPSHOTTER": "nydus,erofs"}, "must be 2.2.0 or newer"),
        ("containerd://2.2.0", {"EXPERIMENTAL_SETUP_SNAPSHOTTER": "stargz"}, "stargz is not a supported snapshotter"),
        ("containerd://1.7.0", {"MULTI_INSTALL_SUFFIX": "dev"}, "Multi installation"),
        ("containerd://2.2.0", {"SHIMS_X86_64": ""}, "no shims"),
    ],
)
def test_what_host_check_refuses(tmp_path: Path, version: str, environment: dict[str, str], text: str) -> None:
    """snapshotter.versions"""
    ctx = context(tmp_path, version, **environment)
    outcome = start(ctx, "kube-kata")
    assert outcome.state == "failed" and text in outcome.message
    assert not (tmp_path / "opt").exists() and not ctx.restarts, "nothing was changed"


def test_a_second_installation_has_its_own_names(tmp_path: Path) -> None:
    """install.directory"""
    ctx = installed(context(tmp_path, MULTI_INSTALL_SUFFIX="dev", DAEMONSET_NAME="kata-deploy-dev"))
    assert ctx.runtime_handlers == {f"kata-{SHIM}-dev", f"kata-{SHIM}-snp-dev"}
    assert (tmp_path / "opt/kata-dev/bin").is_dir()
    assert (tmp_path / "etc/containerd/conf.d/kata-deploy-dev.toml").is_file()


# NFD


def test_rules_of_nfd_are_made_only_where_the_crd_is(tmp_path: Path) -> None:
    """nfd.rule"""
    fact = facts.value(T, "nfd.rule")
    ctx = installed(context(tmp_path))
    assert not [path for path in ctx.replies if path.startswith(RULES)]
    ctx.replies[RULES] = {"items": []}
    classes = [{"metadata": {"name": name}, "overhead": {"podFixed": {"memory": "1Gi"}}} for name in class_names()]
    ctx.replies[kata_stages.CLASSES] = {"items": classes}
    start(ctx, "kube-kata")
    start(ctx, "kube-kata")
    rule = ctx.replies[f"{RULES}/{fact['name']}"]
    assert rule["metadata"]["labels"] == facts.value(T, "classes.labels")
    patched = {path.rpartition("/")[2]: body["overhead"]["podFixed"] for path, body in ctx.patches}
    assert patched == {
        f"kata-{SHIM}-snp": {fact["resources"]["snp"]: "1"},
        f"kata-{SHIM}-tdx": {fact["resources"]["tdx"]: "1"},
    }
    stop(ctx, "kube-kata")
    assert ctx.deleted == [f"{RULES}/{fact['name']}"]


@pytest.mark.parametrize(
    ("mode", "files", "amount"),
    [
        (
            "snp",
            {"sys/module/kvm_amd/parameters/sev_snp": "Y\n", "sys/fs/cgroup/misc.capacity": "sev 410\nsev_es 3\n"},
            3,
        ),
        ("tdx", {"sys/module/kvm_intel/parameters/tdx": "Y\n", "sys/fs/cgroup/misc.capacity": "tdx 2\n"}, 2),
        ("", {"sys/module/kvm_amd/parameters/sev_snp": "N\n"}, 0),
    ],
)
def test_the_worker_of_nfd_goes_by_the_rule(tmp_path: Path, mode: str, files: dict[str, str], amount: int) -> None:
    """nfd.rule; k8s_cc_manager mode.host for the files"""
    fact = facts.value(T, "nfd.rule")
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    ctx = context(tmp_path)
    ctx.replies[RULES] = {"items": []}
    ctx.replies[kata_stages.CLASSES] = {"items": []}
    installed(ctx)
    ctx.replies[RULES] = {"items": [ctx.replies[f"{RULES}/{fact['name']}"]]}
    worker = {"app.kubernetes.io/name": "node-feature-discovery"}
    start(ctx, "worker", worker)
    of_rules = {key: value for key, value in ctx.labels.items() if key.partition(".")[0] in ("amd", "intel")}
    assert of_rules == (fact["labels"][mode] if mode else {})
    wanted = {fact["resources"][mode]: amount} if mode else {}
    assert {name: len(ids) for name, ids in ctx.extended_resources.items()} == wanted
    ctx.replies[RULES] = {"items": []}
    ctx.memory["scanned"] = 0.0
    tick(ctx, "worker", worker)
    assert not [key for key in ctx.labels if key.startswith(("amd.", "intel."))] and not ctx.extended_resources


def class_names() -> list[str]:
    return [f"kata-{SHIM}", f"kata-{SHIM}-snp", f"kata-{SHIM}-tdx", "other-snp"]


# Cleanup


def test_while_the_daemonset_exists_a_stop_changes_nothing(tmp_path: Path) -> None:
    """cleanup.only-without-daemonset"""
    ctx = installed(context(tmp_path))
    ctx.replies[DAEMONSET] = {"metadata": {"name": "kata-deploy"}}
    stop(ctx, "kube-kata")
    assert ctx.labels[LABEL] == TRUE and (tmp_path / "opt/kata").is_dir() and len(ctx.restarts) == 1


@pytest.mark.parametrize("deleted", [True, False])
def test_cleanup_takes_everything_but_the_data_of_nydus(tmp_path: Path, deleted: bool) -> None:
    """cleanup.order, snapshotter.nydus"""
    fact = facts.value(T, "snapshotter.nydus")
    ctx = installed(context(tmp_path, EXPERIMENTAL_SETUP_SNAPSHOTTER="nydus"))
    assert (tmp_path / fact["unit"].lstrip("/")).is_file()
    if deleted:
        ctx.replies[DAEMONSET] = {"metadata": {"name": "kata-deploy", "deletionTimestamp": "now"}}
    ctx.replies[DAEMONSETS] = {"items": [{"metadata": {"name": "nvidia-vfio-manager"}}]}
    stop(ctx, "kube-kata")
    assert LABEL not in ctx.labels and not ctx.runtime_handlers and len(ctx.restarts) == 2
    assert not (tmp_path / "opt/kata").exists() and not (tmp_path / fact["unit"].lstrip("/")).exists()
    assert (tmp_path / fact["data"].lstrip("/")).is_dir()


def test_another_installation_keeps_label_and_runtime(tmp_path: Path) -> None:
    """cleanup.order"""
    ctx = installed(context(tmp_path))
    ctx.replies[DAEMONSETS] = {"items": [{"metadata": {"name": "kata-deploy-dev"}}]}
    stop(ctx, "kube-kata")
    assert ctx.labels[LABEL] == TRUE and len(ctx.restarts) == 1 and not (tmp_path / "opt/kata").exists()


# Job mode


def test_stages_of_a_node_job(tmp_path: Path) -> None:
    """job.mode"""
    stages = facts.value(T, "job.mode")
    label = {stages["label"]: "install"}
    ctx = context(tmp_path)
    for name in stages["stages"]["install"]:
        assert start(ctx, name, label).state in ("completed", "running")
        ctx.memory["stable_at"] = 0.0
        assert tick(ctx, name, label).state in ("completed", "running")
    assert ctx.labels[LABEL] == TRUE and f"kata-{SHIM}" in ctx.runtime_handlers and len(ctx.restarts) == 1
    label = {stages["label"]: "cleanup"}
    for name in stages["stages"]["cleanup"]:
        start(ctx, name, label)
    assert LABEL not in ctx.labels and not ctx.runtime_handlers and not (tmp_path / "opt/kata").exists()
    assert "skipping" in start(ctx, "revert-cri", label).log and len(ctx.restarts) == 2


JOBS = "/apis/batch/v1/namespaces/gpu-operator/jobs"


def dispatcher(ctx: Ctx, *options: str) -> Any:
    item = {
        "name": "dispatcher",
        "command": [
            "/usr/bin/kata-deploy-job-dispatcher",
            "--job-template=/etc/kata-job/install-job.yaml",
            "--name-prefix=kata-deploy-install",
            "--owner-job-name=kata-deploy-install-dispatcher",
            *options,
        ],
    }
    template: dict[str, Any] = {"metadata": {}, "spec": {"template": {"spec": {}}}}
    path = "/api/v1/namespaces/gpu-operator/configmaps/kata-deploy-job-templates"
    ctx.replies[path] = {"data": {"install-job.yaml": json.dumps(template)}}
    ctx.replies["/api/v1/nodes"] = {"items": [{"metadata": {"name": name}} for name in ("Kata_1", "kata-2")]}
    volumes = [{"name": "job-templates", "configMap": {"name": "kata-deploy-job-templates"}}]
    ctx.container, ctx.memory = item, {}
    behaviour = kata_jobs.Dispatcher()
    spec = pod({"kata-deploy/dispatcher": "install"}, volumes=volumes)
    assert behaviour.matches(spec, item) and not behaviour.matches(pod(), item)
    return behaviour, spec


def finish(ctx: Ctx, name: str, kind: str = "Complete") -> None:
    ctx.replies[f"{JOBS}/{name}"]["status"] = {"conditions": [{"type": kind, "status": "True"}]}


def test_dispatcher_makes_one_job_per_node_and_paces_them(tmp_path: Path) -> None:
    """job.mode"""
    ctx = context(tmp_path)
    ctx.replies[f"{JOBS}/kata-deploy-install-dispatcher"] = {
        "metadata": {"name": "kata-deploy-install-dispatcher", "uid": "u"}
    }
    behaviour, spec = dispatcher(ctx, "--parallelism=1", "--node-selector=a=b")
    assert behaviour.start(ctx, spec).state == "running"
    first = ctx.replies[f"{JOBS}/kata-deploy-install-kata-1"]
    assert first["spec"]["template"]["spec"]["nodeName"] == "Kata_1"
    assert first["metadata"]["ownerReferences"][0]["uid"] == "u"
    assert f"{JOBS}/kata-deploy-install-kata-2" not in ctx.replies
    finish(ctx, "kata-deploy-install-kata-1")
    behaviour.tick(ctx, spec)
    behaviour.tick(ctx, spec)
    finish(ctx, "kata-deploy-install-kata-2", "Failed")
    assert behaviour.tick(ctx, spec).message == "1 node(s) failed: kata-2"


def test_dispatcher_adopts_finished_jobs_of_its_own_and_no_others(tmp_path: Path) -> None:
    """job.mode"""
    ctx = context(tmp_path)
    behaviour, spec = dispatcher(ctx, "--parallelism=9", "--nodes=a,b")
    for node, owner in (("a", "kata-deploy-install"), ("b", "somebody")):
        ctx.replies[f"{JOBS}/kata-deploy-install-{node}"] = {"metadata": {"labels": {kata_jobs.OWNER_LABEL: owner}}}
        finish(ctx, f"kata-deploy-install-{node}")
    assert behaviour.start(ctx, spec).message == "1 node(s) failed: b"
    assert len(kata_jobs.job_name("kata-deploy-install", "n" * 60)) <= 63
