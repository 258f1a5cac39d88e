# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import base64
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.katagpu.cluster.plugins.module_utils._boot import gvariant, ostree, plan, tokens
from ansible_collections.katagpu.cluster.plugins.module_utils._errors import KatagpuError
from tests.unit.plugins.module_utils._boot import grub_host, loader_host

WANTED = ["intel_iommu=on", "console=ttyS1"]
UNWANTED = ["mitigations", "iommu=off"]
STAGED = "run/ostree/staged-deployment"
# Serialised by GLib: a staged deployment whose arguments are those of the one it was made from.
WITHOUT_ARGUMENTS = (
    "dGFyZ2V0AABuYW1lAAAAADIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIy"
    "MjIyMjIuMAAAcwUAAG9zbmFtZQAAZmVkb3JhLWNvcmVvcwAAcwcAAAAAAAAAYm9vdGNzdW0AAAAAAAAAADIyMjIyMjIyMjIyMjIy"
    "MjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIAAHMJTmnEAGF7c3Z9BwAAbWVyZ2UtZGVw"
    "bG95bWVudAAAAAAAAAAAbmFtZQAAAAAxMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTEx"
    "MTExMTExMTExMTExLjAAAHMFAABvc25hbWUAAGZlZG9yYS1jb3Jlb3MAAHMHAAAAAAAAAGJvb3Rjc3VtAAAAAAAAAAAxMTExMTEx"
    "MTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExAABzCU5pxABhe3N2fRHWAL4B"
)


@pytest.mark.parametrize("name", ["coreos43", "coreos43_staged"])
def test_the_deployment_that_boots_next_is_changed_by_one_command(name: str, tmp_path: Path) -> None:
    host = loader_host.Host(loader_host.build(name, tmp_path))
    found = host.facts()
    assert (found["bootloader"], found["supported"]) == ("rpm_ostree", True)
    assert [path for path, lines in found["generated"].items() if lines[0]["managed"]] == [
        loader_host.load(name)["first"]
    ]
    before = grub_host.snapshot(tmp_path)
    planned = host.ensure(WANTED, UNWANTED, check=True)
    assert grub_host.snapshot(tmp_path) == before and host.commands == []
    result = host.ensure(WANTED, UNWANTED)
    assert host.commands == planned["commands"] == result["commands"]
    assert host.commands == [
        [
            "rpm-ostree",
            "kargs",
            "--delete-if-present=mitigations=auto,nosmt",
            "--append-if-missing=intel_iommu=on",
            "--append-if-missing=console=ttyS1",
        ]
    ]
    assert result["changed"] and result["files"] == [] and result["configured"].endswith("intel_iommu=on console=ttyS1")
    assert result["diff"][0]["after_header"] == "configured kernel arguments"
    second = host.ensure(WANTED, UNWANTED)
    assert (second["changed"], second["commands"], len(host.commands)) == (False, [], 1)


def test_a_pending_deployment_is_told(tmp_path: Path) -> None:
    assert loader_host.Host(loader_host.build("coreos43", tmp_path / "a")).ensure([], [])["uncertain"] == []
    told = loader_host.Host(loader_host.build("coreos43_staged", tmp_path / "b")).ensure([], [])["uncertain"]
    assert told == ["another deployment than the one that runs is pending, and the next boot starts it"]
    host = loader_host.Host(loader_host.build("coreos43", tmp_path / "c"))
    line = tmp_path / "c/proc/cmdline"
    line.write_text(line.read_text().replace("boot.1", "boot.0"))
    assert host.ensure([], [])["uncertain"] == []
    line.write_text(line.read_text().replace("1" * 64, "7" * 64))
    assert host.ensure([], [])["uncertain"] == told


def test_the_arguments_of_a_staged_deployment_are_read_from_what_glib_wrote() -> None:
    data = base64.b64decode(loader_host.load("coreos43_staged")["binary"]["/" + STAGED])
    assert gvariant.dictionary(data) == {
        "target": None,
        "merge-deployment": None,
        "kargs": [
            "rw",
            "mitigations=auto,nosmt",
            "ignition.platform.id=metal",
            "console=tty0",
            "console=ttyS0,115200n8",
            "root=UUID=34bfd606-f2cd-43f9-9b54-9e62aec79722",
            "rootflags=prjquota",
        ],
    }


@pytest.mark.parametrize("content", [b"", b"nonsense", base64.b64decode(WITHOUT_ARGUMENTS)])
def test_a_staged_deployment_that_cannot_be_read_is_refused(content: bytes, tmp_path: Path) -> None:
    host = loader_host.Host(loader_host.build("coreos43", tmp_path))
    (tmp_path / STAGED).parent.mkdir(parents=True)
    (tmp_path / STAGED).write_bytes(content)
    before = grub_host.snapshot(tmp_path)
    with pytest.raises(KatagpuError, match=r"A deployment is staged.*Fix: boot it.*Nothing was changed"):
        host.ensure(WANTED, [])
    assert grub_host.snapshot(tmp_path) == before and host.commands == []


def test_a_host_without_deployments_is_refused(tmp_path: Path) -> None:
    host = loader_host.Host(loader_host.build("coreos43", tmp_path))
    for path in (tmp_path / "boot/loader/entries").iterdir():
        path.unlink()
    with pytest.raises(KatagpuError, match="has no deployment"):
        host.ensure(WANTED, [])


def test_where_another_value_has_the_last_word_a_second_one_is_appended(tmp_path: Path) -> None:
    host = loader_host.Host(loader_host.build("coreos43", tmp_path))
    path = tmp_path / loader_host.load("coreos43")["first"][1:]
    path.write_text(path.read_text().replace(" rw ", " rw intel_iommu=on intel_iommu=off ", 1))
    host.ensure(["intel_iommu=on"], [])
    assert host.commands == [["rpm-ostree", "kargs", "--append=intel_iommu=on"]]


def test_values_with_spaces_are_refused(tmp_path: Path) -> None:
    host = loader_host.Host(loader_host.build("coreos43", tmp_path))
    with pytest.raises(KatagpuError, match="has quotes, which some versions of ostree split"):
        host.ensure(['dyndbg="file a +p"'], [])


def test_a_command_that_leaves_the_arguments_as_they_were_is_not_believed(tmp_path: Path) -> None:
    host = loader_host.Host(loader_host.build("coreos43", tmp_path))
    host.run = lambda command: (0, "", "")  # type: ignore[method-assign]
    with pytest.raises(KatagpuError, match=r"\[B16\]\[block\] .*would lack intel_iommu=on"):
        host.ensure(["intel_iommu=on"], [])


def test_below_another_root_the_command_is_returned(tmp_path: Path) -> None:
    host = loader_host.Host(loader_host.build("coreos43", tmp_path))
    result = host.ensure(["intel_iommu=on"], [], execute=False)
    assert (result["changed"], host.commands) == (False, [])
    assert result["commands"] == [["rpm-ostree", "kargs", "--append-if-missing=intel_iommu=on"]]


WORDS = st.lists(st.sampled_from(["quiet", "a=1", "a=2", "iommu=off", "console=tty0", "b-c=1"]), max_size=7)
SPECS = st.lists(st.sampled_from(["quiet", "a=1", "b_c=1", "console=tty0", "e=5"]), max_size=3, unique=True)


@given(WORDS, SPECS, st.lists(st.sampled_from(["iommu=off", "iommu", "a=2", "z"]), max_size=2, unique=True))
def test_applying_twice_is_applying_once(words: list[str], present: list[str], absent: list[str]) -> None:
    def state(arguments: str) -> dict[str, object]:
        entry = f"version 1\noptions {arguments}\nlinux /v\n"
        generated = ostree.deployments({"/boot/loader/entries/ostree-1.conf": entry}, None)
        common = {"bootloader": "rpm_ostree", "supported": True, "reason": "", "running": "", "notes": [], "files": {}}
        return {**common, "generated": generated}

    first = plan.plan(state(" ".join(words)), present, absent)
    second = plan.plan(state(first.configured_after), present, absent)
    assert second.commands == []
    line = tokens.parse(first.configured_after)
    assert all(tokens.carries(line, tokens.token(text)) for text in present)
    assert not any(tokens.contains(line, tokens.token(text)) for text in absent)
