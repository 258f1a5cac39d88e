# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes the release matrix of the documentation from the release data: python -m tests.docs.releases [--check]"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from tests.conftest import REPOSITORY

from ansible_collections.katagpu.cluster.plugins.plugin_utils import _releases  # isort: skip

PAGE = REPOSITORY / "docs" / "docsite" / "rst" / "guide_releases.rst"
BEGIN = ".. The matrix begins. It is written by make docs from plugins/plugin_utils/_release_data/releases.yml.\n"
END = ".. The matrix ends.\n"

Release = Mapping[str, Any]

LEVELS = {
    "install": "installed by this collection",
    "planned": "pinned for a later version, not installed by this one",
    "recognised_only": "recognised in a cluster, never installed",
}
MEMBERS = {
    "none": "no other member of their IOMMU groups",
    "sole_consumer": "the audio function of the card where it is its only other function",
    "first_consumer": "the first other function of the card, such as its audio function",
}
ACTIONS = {"unbind_then_bind": "unbinds and binds again", "unbind": "unbinds", "nothing": "does nothing"}
# By the name of a part: what installs Kata, and how.
KATA = ("kata_deploy", "coco_operator")


def code(value: Any) -> str:
    return f"``{value}``"


def codes(values: Iterable[Any]) -> str:
    return ", ".join(code(value) for value in values)


def pairs(values: Mapping[str, Any]) -> str:
    return codes(f"{key}={value}" for key, value in values.items())


def sentence(text: str) -> str:
    return text[:1].upper() + text[1:].rstrip(".") + "."


def support(release: Release) -> str:
    found = [sentence(LEVELS[release["support"]["level"]])]
    if release["support"].get("consent"):
        found.append("Only with consent: set ``katagpu_release_consent`` to its name.")
    if release["support"].get("note"):
        found.append(sentence(release["support"]["note"]))
    if release["support"].get("validated_by"):
        found.append(f"Validated by: {release['support']['validated_by']}.")
    return " ".join(found)


def span(found: Mapping[str, str]) -> str:
    return f"{found['min']} to {found['max']}"


def chart(data: Mapping[str, Any]) -> str:
    if "chart_ref" not in data:
        return f"Chart version {code(data['chart_version'])}."
    source = f" of {data['chart_repo_url']}" if data.get("chart_repo_url") else ""
    return f"Chart {code(data['chart_ref'])}{source}, version {code(data['chart_version'])}, in namespace {code(data['namespace'])}."


def gpu_operator(release: Release) -> str:
    data = release.get("gpu_operator")
    if data is None:
        return f"Versions {codes(prefix + '*' for prefix in release['fingerprint']['gpu_operator_charts'])}."
    return chart(data) + values_of(data)


def values_of(data: Mapping[str, Any]) -> str:
    return f" Values of the release: {codes(leaves(data['values']))}." if data.get("values") else ""


def leaves(values: Mapping[str, Any], prefix: str = "") -> list[str]:
    found: list[str] = []
    for key, value in values.items():
        if isinstance(value, Mapping):
            found += leaves(value, f"{prefix}{key}.")
        else:
            found.append(f"{prefix}{key}={str(value).lower() if isinstance(value, bool) else value}")
    return found


def kata(release: Release) -> str:
    if release.get("kata_deploy"):
        data = release["kata_deploy"]
        text = f"By kata-deploy. {chart(data)}{values_of(data)}"
        if "node_selector" in data:
            text += f" Only on nodes with {pairs(data['node_selector'])}; on these it restarts containerd."
        return text
    if release.get("coco_operator"):
        data = release["coco_operator"]
        text = (
            f"By the Confidential Containers operator {data['version']} ({code(data['operator_ref'])}) and its CcRuntime"
            f" ({code(data['runtime_ref'])}). Only on nodes with {pairs(data['node_selector'])}; on these it replaces"
            f" containerd by its own, which reports {code(data['containerd_version'])}, and restarts it."
        )
        if release.get("kata_manager"):
            manager = release["kata_manager"]
            image = f"{manager['repository']}/{manager['image']}:{manager['version']}"
            text += f" The classes for GPUs come from the GPU Operator's Kata manager ({code(image)})."
        return text
    fingerprint = release["fingerprint"]
    if fingerprint.get("cc_runtime"):
        return "By the Confidential Containers operator, with the GPU Operator's Kata manager."
    return "By kata-deploy." if fingerprint.get("kata_deploy") else ""


def order(release: Release) -> str:
    return ", then ".join(code(part) for part in release.get("install_order", []))


def confidential(release: Release) -> str:
    data = release.get("confidential")
    if data is None:
        return "" if release["support"]["level"] != "install" else "None that this collection installs."
    text = "; ".join(
        f"{one['title']}: {code(one['runtime_class'])} on nodes with {pairs(one['node_labels'])}"
        for one in data["variants"].values()
    )
    return (
        f"{text}. Nodes that ask for one get {pairs(data['labels'])} and are ready with {pairs(data['ready'])}; kata-deploy gets the shims and"
        f" {codes(leaves(data['kata_deploy_values']))} besides. {'Validated' if data['validated'] else 'Not validated'}:"
        f" {sentence(data['note'])} Validated hosts: {', '.join(one['name'] for one in data['cpus'])}, Linux {data['kernel']} or newer."
    )


def architectures(release: Release) -> str:
    return ", ".join(release.get("architectures", []))


def runtime_classes(release: Release) -> str:
    if "runtime_classes" not in release:
        return ""
    classes = release["runtime_classes"]
    text = f"For pods with GPUs: {code(classes['gpu'])}."
    others = [
        name
        for name in [
            *classes["operator"],
            *(one for part in KATA for one in release.get(part, {}).get("runtime_classes", [])),
        ]
        if name != classes["gpu"]
    ]
    if others:
        text += f" Created beside it: {codes(others)}."
    return f"{text} For GPU containers: {code(classes['container'])}."


def labels(release: Release) -> str:
    if "labels" not in release:
        return ""
    workload = release["labels"]["workload"]
    ours = {workload["key"]: workload["kata"], **release["labels"].get("kata", {})}
    return f"Kata nodes get {pairs(ours)}, container nodes {pairs({workload['key']: workload['container']})}."


def resource(release: Release) -> str:
    if "resource" not in release:
        return ""
    data = release["resource"]
    if data["naming"] == "alias":
        text = f"{code(data['prefix'] + data['alias'])}, the same name for every model."
    else:
        text = f"{code(data['prefix'] + '<MODEL>')}, a name for each model, for example {code(data['prefix'] + 'GA102GL_A10')}."
    return (
        f"{text} On container nodes {code(data['container'])}. CDI kind {code(data['cdi_kind'])}, written to"
        f" {code(data['cdi_file'])} by {code(data['cdi_written_by'])}."
    )


def vfio(release: Release) -> str:
    if "vfio" not in release:
        return ""
    data = release["vfio"]
    text = (
        f"The GPU Operator binds functions of the classes {codes(data['binds_classes'])} and {MEMBERS[data['binds_members']]}."
        " This collection binds the rest of the groups at boot."
        f" When its pod starts, the operator's vfio manager {ACTIONS[data['at_start']]}; when it stops, it {ACTIONS[data['at_stop']]}."
        f" Accepted drivers: {codes(data['accepted_drivers'])}."
    )
    return text + (
        " With ``katagpu_vfio_owner: host`` this collection binds all of them." if "host" in data["owners"] else ""
    )


def host(release: Release) -> str:
    found = []
    if "vfio" in release:
        found.append(f"Modules {codes(release['vfio']['modules'])}; not loaded: {codes(release['vfio']['blacklist'])}.")
    needs = release.get("kubelet", {})
    if needs:
        found.append(f"Kubelet: {code('runtimeRequestTimeout: ' + needs['runtime_request_timeout'])}")
        found[-1] += "".join(f", {gate(one)}" for one in needs["feature_gates"]) + "."
    return " ".join(found)


def gate(data: Mapping[str, Any]) -> str:
    where = [f"from {data['from']}" if "from" in data else "", f"below {data['below']}" if "below" in data else ""]
    text = f"feature gate {code(data['name'])} with Kubernetes {' and '.join(part for part in where if part)}"
    return text + (", for confidential classes only" if data.get("confidential") else "")


def workload(release: Release) -> str:
    if "workload" not in release:
        return ""
    data = release["workload"]
    key = data.get("memory_annotation")
    memory = f"the annotation {code(key)}" if key else f"{code('resources.limits.memory')}"
    text = f"{code(data['image'])}, with {data['memory_mib']} MiB by {memory}."
    if data["annotations"]:
        text += f" Annotation {codes(f'{name}: {value}' for name, value in data['annotations'].items())}."
    text += f" GPUs of one pod: {'1' if data['max_gpus'] == 1 else 'up to ' + str(data['max_gpus'])}."
    overhead = release["guest"]["overhead_mib"]
    return text + (f" The class adds {overhead} MiB of overhead." if overhead else " The class adds no overhead.")


def ready(release: Release) -> str:
    if "readiness" not in release:
        return ""
    data = release["readiness"]
    text = (
        f"ClusterPolicy is {code(data['cluster_policy']['state'])}, every operand runs on its nodes in its newest generation, and"
        " each Kata node offers its GPUs"
    )
    if data.get("kata_labels"):
        text += f" and carries {pairs(data['kata_labels'])}"
    text += "."
    if data["missing_daemonset_counts_as_ready"]:
        text += " The operator takes a missing DaemonSet for ready, so each is looked for by name."
    return text


def recognised(release: Release) -> str:
    data = release["fingerprint"]
    found = [f"chart gpu-operator {codes(prefix + '*' for prefix in data['gpu_operator_charts'])}"]
    found += ["RuntimeClasses of kata-deploy"] if data.get("kata_deploy") else []
    found += ["a CcRuntime, RuntimeClasses of the Kata manager"] if data.get("cc_runtime") else []
    return sentence("; ".join(found))


def leftovers(release: Release) -> str:
    return codes(release.get("leftovers", []))


def defects(release: Release) -> str:
    return "\n".join(f"- {text}" for text in release.get("defects", []))


ROWS: tuple[tuple[str, Callable[[Release], str]], ...] = (
    ("support", support),
    ("GPU Operator", gpu_operator),
    ("Kata", kata),
    ("order", order),
    ("Kubernetes", lambda release: span(release["kubernetes"])),
    ("containerd", lambda release: span(release["containerd"])),
    ("architectures", architectures),
    ("RuntimeClasses", runtime_classes),
    ("confidential classes", confidential),
    ("labels", labels),
    ("GPU resource", resource),
    ("who binds what", vfio),
    ("hosts", host),
    ("sample workload", workload),
    ("ready when", ready),
    ("recognised by", recognised),
    ("stays after removal", leftovers),
    ("known defects", defects),
)


def table(widths: str, rows: Iterable[Iterable[str]], header: bool = False) -> list[str]:
    lines = [".. list-table::", *(["   :header-rows: 1"] if header else []), f"   :widths: {widths}", ""]
    for row in rows:
        for number, cell in enumerate(row):
            first, *rest = cell.split("\n")
            lines.append(f"   {'*' if number == 0 else ' '} - {first}".rstrip())
            lines += [f"       {line}" for line in rest]
    return [*lines, ""]


def heading(text: str, line: str) -> list[str]:
    return [text, line * len(text), ""]


def matrix(releases: Mapping[str, Release], default: str) -> str:
    """The generated part, between the two comments."""
    overview = [["release", "GPU Operator", "Kata by", "Kubernetes", "containerd", "support"]]
    for name, release in releases.items():
        charts = release.get("gpu_operator", {}).get("chart_version") or ", ".join(
            f"{prefix}*" for prefix in release["fingerprint"]["gpu_operator_charts"]
        )
        fingerprint = release["fingerprint"]
        by = (
            "CoCo operator"
            if fingerprint.get("cc_runtime")
            else "kata-deploy"
            if fingerprint.get("kata_deploy")
            else ""
        )
        overview.append(
            [
                code(name) + (" (default)" if name == default else ""),
                charts,
                " ".join([by, kata_version(release)]).strip(),
                span(release["kubernetes"]),
                span(release["containerd"]),
                release["support"]["level"].replace("_", " ")
                + (", with consent" if release["support"].get("consent") else ""),
            ]
        )
    lines = table("15 20 20 15 15 15", overview, header=True)
    for name, release in releases.items():
        lines += heading(f"Release {name}", "~")
        lines += [sentence(release["title"]), ""]
        lines += table("20 80", [[title, text] for title, row in ROWS if (text := row(release))])
    return "\n".join(lines)


def kata_version(release: Release) -> str:
    if release.get("kata_deploy"):
        return str(release["kata_deploy"]["chart_version"])
    return str(release.get("coco_operator", {}).get("version", ""))


def with_matrix(text: str, generated: str) -> str:
    """The page with its generated part replaced. What stands before and after is written by hand."""
    before, begin, rest = text.partition(BEGIN)
    _old, end, after = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"{PAGE.name} has no place for the matrix: the comments around it are missing.")
    return f"{before}{BEGIN}\n{generated}\n{END}{after}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, and fail if the page differs")
    arguments = parser.parse_args()
    text = PAGE.read_text(encoding="utf-8")
    wanted = with_matrix(text, matrix(_releases.load(), _releases.default_name()))
    if text == wanted:
        return 0
    if arguments.check:
        print(f"{PAGE.relative_to(REPOSITORY)} is not what the release data say. Run: make docs")
        return 1
    PAGE.write_text(wanted, encoding="utf-8")
    print(f"{PAGE.relative_to(REPOSITORY)} written")
    return 0


if __name__ == "__main__":
    sys.exit(main())
