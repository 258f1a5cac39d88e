# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which file is written on which host, and what is refused."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import pytest

from ansible_collections.katagpu.cluster.plugins.module_utils._errors import KatagpuError
from ansible_collections.katagpu.cluster.plugins.module_utils._kubelet.facts import MARKER
from ansible_collections.katagpu.cluster.plugins.plugin_utils._kubelet import arguments
from ansible_collections.katagpu.cluster.plugins.plugin_utils._kubelet.decide import Decision, decide

CONFIG = "/var/lib/kubelet/config.yaml"
HEAD = "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n"
WANTED = {"runtimeRequestTimeout": "20m", "featureGates": {"KubeletPodResourcesGet": True}}
PROCESS = {"unit": "kubelet.service", "pid": "812", "started": "4711", "arguments": ["kubelet", f"--config={CONFIG}"]}
RKE2 = "/etc/rancher/rke2/config.yaml"
OWN = "/etc/rancher/rke2/config.yaml.d/99-katagpu.yaml"


def text(content: str) -> dict[str, Any]:
    return {"text": content, "sha256": hashlib.sha256(content.encode()).hexdigest()}


def kubeadm(config: str = HEAD, **more: Any) -> dict[str, Any]:
    return {
        "units": ["kubelet.service"],
        "process": PROCESS,
        "present": ["/etc/kubernetes/kubelet.conf", "/var/lib/kubelet/kubeadm-flags.env"],
        "config_path": CONFIG,
        "config": text(config),
        **more,
    }


def rancher(files: Mapping[str, str], unit: str = "rke2-agent.service", **more: Any) -> dict[str, Any]:
    found = {
        path: {**text(content), "marked": content.startswith(MARKER), "unclear": False}
        for path, content in files.items()
    }
    process = {"unit": unit, "pid": "9", "started": "1", "arguments": []}
    units = ["rke2-server.service", "rke2-agent.service"] if "rke2" in unit else [unit]
    return {"units": units, "process": process, "arguments": found, **more}


def with_arguments(*words: str) -> dict[str, Any]:
    return {**PROCESS, "arguments": ["kubelet", f"--config={CONFIG}", *words]}


def told(decision: Decision) -> list[tuple[str, Any, str]]:
    return [(".".join(one.path), one.current, one.source) for one in decision.conflicts]


def test_kubeadm_is_recognised_and_its_file_is_edited() -> None:
    decision = decide(kubeadm(), WANTED)
    assert (decision.distribution, decision.unit, decision.kubeadm) == ("kubeadm", "kubelet.service", True)
    assert decision.write and decision.write.path == CONFIG and decision.write.backup
    assert decision.write.sha256 == text(HEAD)["sha256"] and decision.restart_required
    again = decide(kubeadm(decision.write.text), WANTED)
    assert again.write is None and not again.changes and not again.restart_required


def test_a_kubelet_that_does_not_run_needs_no_restart() -> None:
    decision = decide(kubeadm(process=None), WANTED)
    assert decision.write and not decision.restart_required and decision.unit == "kubelet.service"


def test_a_restart_is_pending_for_the_very_process_only() -> None:
    done = decide(kubeadm(), WANTED).write
    assert done
    noted = {"pid": "812", "started": "4711", "path": CONFIG, "backup": "/b"}
    assert decide(kubeadm(done.text, pending=noted), WANTED).restart_required
    assert not decide(kubeadm(done.text, pending={**noted, "started": "4712"}), WANTED).restart_required
    assert not decide(kubeadm(done.text, pending=noted, process=None), WANTED).restart_required
    assert not decide(kubeadm(done.text, pending=None), WANTED).restart_required


def test_flags_have_the_last_word() -> None:
    good = with_arguments("--runtime-request-timeout=30m", "--feature-gates", "A=false,KubeletPodResourcesGet=true")
    assert decide(kubeadm(process=good), WANTED).write is None
    bad = with_arguments("--runtime-request-timeout=2m", "--feature-gates=KubeletPodResourcesGet=false")
    decision = decide(kubeadm(process=bad), WANTED)
    assert decision.write is None
    assert told(decision) == [
        ("runtimeRequestTimeout", "2m", "the kubelet's command line"),
        ("featureGates.KubeletPodResourcesGet", False, "the kubelet's command line"),
    ]


def test_without_a_process_the_files_with_flags_count() -> None:
    flags = {"/etc/default/kubelet": 'KUBELET_EXTRA_ARGS="--runtime-request-timeout=2m --root-dir=/data/kubelet"\n'}
    decision = decide(kubeadm(process=None, flags=flags), WANTED)
    assert told(decision) == [("runtimeRequestTimeout", "2m", "/etc/default/kubelet")]
    assert decision.root_dir == "/data/kubelet"
    # What can be set is set, what cannot be set is told.
    assert [change.key for change in decision.changes] == ["featureGates.KubeletPodResourcesGet"]
    commented = {"/etc/default/kubelet": '# KUBELET_EXTRA_ARGS="--runtime-request-timeout=2m"\n'}
    assert not decide(kubeadm(process=None, flags=commented), WANTED).conflicts


def test_with_a_drop_in_folder_only_our_own_file_is_written() -> None:
    folder = "/etc/kubernetes/kubelet.conf.d"
    drop_ins = {f"{folder}/10-a.conf": text(HEAD + "featureGates:\n  Mine: true\n")}
    facts = kubeadm(HEAD + "maxPods: 9\n", drop_in_dir=folder, drop_ins=drop_ins)
    decision = decide(facts, WANTED)
    assert decision.write and decision.write.path == f"{folder}/99-katagpu.conf" and not decision.write.backup
    # kubeadm writes its own file anew and leaves ours alone.
    assert decision.write.sha256 is None and decision.distribution == "kubeadm" and not decision.kubeadm
    assert decision.write.text == (
        f"{MARKER}\n{HEAD}runtimeRequestTimeout: 20m\nfeatureGates:\n  KubeletPodResourcesGet: true\n"
    )
    written = {**drop_ins, decision.write.path: text(decision.write.text)}
    assert decide({**facts, "drop_ins": written}, WANTED).write is None
    more = decide({**facts, "drop_ins": written}, {**WANTED, "maxPods": 20}).write
    assert more and more.sha256 == text(decision.write.text)["sha256"]
    assert "maxPods: 20" in more.text and "runtimeRequestTimeout: 20m" in more.text


def test_a_later_drop_in_has_the_last_word() -> None:
    folder = "/etc/kubernetes/kubelet.conf.d"
    later = {f"{folder}/99-zz.conf": text(HEAD + "runtimeRequestTimeout: 5m\n")}
    decision = decide(kubeadm(drop_in_dir=folder, drop_ins=later), WANTED)
    assert told(decision) == [("runtimeRequestTimeout", "5m", f"{folder}/99-zz.conf")]
    assert decision.write and "runtimeRequestTimeout" not in decision.write.text


def test_a_file_of_our_name_that_is_not_ours_is_refused() -> None:
    folder = "/etc/kubernetes/kubelet.conf.d"
    with pytest.raises(KatagpuError, match="not written by this collection"):
        decide(kubeadm(drop_in_dir=folder, drop_ins={f"{folder}/99-katagpu.conf": text(HEAD)}), WANTED)
    with pytest.raises(KatagpuError, match="not written by this collection"):
        decide(rancher({OWN: "kubelet-arg: [a=b]\n"}), WANTED)


def test_a_text_that_is_not_whole_is_refused() -> None:
    with pytest.raises(KatagpuError, match="longer than is read"):
        decide(kubeadm(config=HEAD) | {"config": {**text(HEAD), "sha256": "0" * 64}}, WANTED)


@pytest.mark.parametrize(
    ("facts", "distribution", "root_dir"),
    [
        ({"process": {"unit": "k0sworker.service"}, "present": ["/var/lib/k0s"]}, "k0s", "/var/lib/k0s/kubelet"),
        ({"present": ["/var/snap/microk8s"]}, "microk8s", "/var/snap/microk8s/common/var/lib/kubelet"),
    ],
)
def test_k0s_and_microk8s_are_named_and_left_alone(facts: dict[str, Any], distribution: str, root_dir: str) -> None:
    decision = decide(facts, WANTED)
    assert (decision.distribution, decision.supported, decision.write) == (distribution, False, None)
    assert decision.root_dir == root_dir


def test_a_host_without_a_kubelet_has_nothing_to_write() -> None:
    assert decide({}, WANTED).distribution == "none"
    assert decide({"units": ["kubelet.service"], "config_path": None, "config": None}, WANTED).distribution == "none"


def test_what_runs_decides_which_distribution_it_is() -> None:
    left_over = rancher({}, present=["/etc/kubernetes/kubelet.conf"])
    left_over["units"] = ["kubelet.service", *left_over["units"]]
    assert decide(left_over, WANTED).distribution == "rke2"


@pytest.mark.parametrize("path", [("failSwapOn",), ("featureGates",), ("featureGates", "A", "B")])
def test_only_gates_are_truth_values_of_an_argument(path: tuple[str, ...]) -> None:
    with pytest.raises(KatagpuError, match="cannot be given to the kubelet of k3s or RKE2"):
        arguments.render([(path, True)])


def test_rke2_and_k3s_get_a_file_of_our_own() -> None:
    decision = decide(rancher({RKE2: ""}), WANTED)
    assert (decision.distribution, decision.unit) == ("rke2", "rke2-agent.service")
    assert decision.write and decision.write.path == OWN and decision.restart_required
    assert decision.write.text.splitlines()[1:] == [
        "kubelet-arg+:",
        "  - runtime-request-timeout=20m",
        "  - feature-gates+=KubeletPodResourcesGet=true",
    ]
    assert decide(rancher({RKE2: "", OWN: decision.write.text}), WANTED).write is None
    server = decide(rancher({}, unit="k3s.service"), WANTED)
    assert (server.distribution, server.unit) == ("k3s", "k3s.service")
    assert server.write and server.write.path == "/etc/rancher/k3s/config.yaml.d/99-katagpu.yaml"


def test_arguments_that_are_set_already_are_not_set_again() -> None:
    given = "kubelet-arg:\n- feature-gates=A=false,KubeletPodResourcesGet=true\n- --runtime-request-timeout=30m\n"
    assert decide(rancher({RKE2: given}), WANTED).write is None
    half = decide(rancher({RKE2: "kubelet-arg: feature-gates=KubeletPodResourcesGet=true\n"}), WANTED).write
    assert half and "feature-gates" not in half.text and "runtime-request-timeout=20m" in half.text
    unit = {"/etc/systemd/system/rke2-agent.service": ["runtime-request-timeout=20m"]}
    rest = decide(rancher({}, unit_arguments=unit), WANTED).write
    assert rest and "runtime-request-timeout" not in rest.text
    other = {"/usr/lib/systemd/system/rke2-server.service": ["runtime-request-timeout=2m"]}
    assert not decide(rancher({}, unit_arguments=other), WANTED).conflicts


def test_arguments_of_others_that_say_something_else_are_named() -> None:
    decision = decide(rancher({RKE2: "kubelet-arg:\n- runtime-request-timeout=2m\n"}), WANTED)
    assert told(decision) == [("runtimeRequestTimeout", "2m", RKE2)]
    assert decision.write and "runtime-request-timeout" not in decision.write.text


def test_a_later_file_that_replaces_the_list_is_named() -> None:
    later = f"{RKE2}.d/99-zz.yaml"
    decision = decide(rancher({later: "kubelet-arg:\n- max-pods=9\n"}), WANTED)
    assert decision.write is None and {one[2] for one in told(decision)} == {later}
    appended = decide(rancher({later: "kubelet-arg+:\n- max-pods=9\n"}), WANTED)
    assert appended.write and not appended.conflicts


def test_what_rancher_cannot_take_or_say_is_refused() -> None:
    with pytest.raises(KatagpuError, match="maxPods cannot be given"):
        decide(rancher({}), {"maxPods": 9})
    with pytest.raises(KatagpuError, match="in a form that cannot be read"):
        decide(rancher({}) | {"arguments": {RKE2: {"text": "", "unclear": True}}}, WANTED)
    with pytest.raises(KatagpuError, match="the key kubelet-arg is there already"):
        decide(rancher({RKE2: "kubelet-arg: [a=b]\nkubelet-arg: [c=d]\n"}), WANTED)


def test_flag_names_follow_the_keys() -> None:
    assert arguments.flag_of("runtimeRequestTimeout") == "runtime-request-timeout"
    assert arguments.settings({"max-pods": ["9", "20"]}, ["maxPods", "other"]) == {"maxPods": 20}
