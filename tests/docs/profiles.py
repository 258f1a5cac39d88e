# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes the page of the machine profiles. What the runs since have recorded replaces what is kept of the runs before:
python -m tests.docs.profiles
"""

from __future__ import annotations

import json
import textwrap
from typing import Any

import yaml

from tests.conftest import REPOSITORY
from tests.integration.profiles.machine import OUTPUT, RESULTS

PAGE = REPOSITORY / "docs" / "docsite" / "rst" / "guide_profiles.rst"
FILES = REPOSITORY / "tests" / "integration" / "profiles"
# As the report breaks its lines.
WIDTH = 100

Json = dict[str, Any]

LICENSE = """\
# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
---
# Written by python -m tests.docs.profiles from runs of tests/integration/profiles. Correct those, not this file.
"""

HEAD = """\
..
  Copyright (c) 2026, katagpu contributors
  GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
  SPDX-License-Identifier: GPL-3.0-or-later

.. Written by python -m tests.docs.profiles from runs of tests/integration/profiles. Correct those, not this page.

.. _ansible_collections.katagpu.cluster.docsite.guide_profiles:

Kinds of machines and what comes of them
========================================

Each row is a machine of the :ref:`lab <ansible_collections.katagpu.cluster.docsite.guide_lab>` that was really booted: what ``preflight.yml`` finds on it, and
what comes of the run that follows. The last run of each profile stands here, and its test compares on every run.

Real in these runs: the kernel with its IOMMU groups, GRUB, the initramfs, udev and systemd of the guest, its reboots, SSH, etcd, the API server and its
controllers. Stand-ins: the GPUs, which are PCI identities, and the kubelet. Nothing of a stack is installed in them, because what a kind of machine decides is
decided before: ``site.yml`` begins with the plays of ``hosts.yml``, and a host that these refuse is not in the rest of its run. That is why the runs
here are of ``hosts.yml``. The whole ``site.yml`` is run on the machines ``a10`` and ``workstation``.

What each id means stands in :ref:`Findings <ansible_collections.katagpu.cluster.docsite.guide_findings>`.

.. list-table::
   :header-rows: 1
   :widths: 12 28 25 35

   * - profile
     - machine
     - findings of preflight
     - outcome
"""
AFTER = """
These runs took {least} to {most} seconds on two cores without usable KVM, of which other guests had their part, with the start of the control plane and
of the machine. ``make profiles`` runs all of them, ``make profiles PROFILE=hgx`` one. ``make test`` runs one, chosen by the commit, and ``make test-all`` all.

Messages of the refusals
------------------------
"""
WAITING = """\
Not kept yet is a run of {names}; ``make test`` chooses among the others.
"""
STATES = {
    "open": "",
    "accepted": ", accepted",
    "will_be_fixed_by": ", will be fixed",
    "unknown_until": ", unknown until the reboot",
}


def names() -> list[str]:
    """The profiles that have a test, in the order of the machines."""
    from tests.lab.machines.profiles import PROFILES

    return [name for name in PROFILES if (FILES / f"test_{name}.py").exists()]


def results() -> Json:
    """Kept ones, with those that were recorded since."""
    kept: Json = yaml.safe_load(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    for name in names():
        recorded = OUTPUT / f"{name}.json"
        if recorded.exists():
            kept[name] = json.loads(recorded.read_text(encoding="utf-8"))
    return {name: kept[name] for name in names() if name in kept}


def finding_lines(findings: list[Json]) -> list[str]:
    """Equal ones together, with their devices."""
    together: dict[str, list[str]] = {}
    for one in findings:
        words = f"``{one['id']}`` {one['severity']}{STATES[one['state']]}"
        together.setdefault(words, []).append(one["device"])
    found = []
    for words, devices in together.items():
        named = [device for device in devices if device]
        more = f"{words}: {', '.join(named)}" if named and len(named) <= 3 else words
        found.append(f"{more}, {len(named)} devices" if len(named) > 3 else more)
    return found


def row(name: str, result: Json) -> str:
    found = finding_lines(result["findings"])
    machine = result["machine"][:1].upper() + result["machine"][1:]
    lines = [f"   * - ``{name}``", f"     - {machine}."]
    lines += [f"     {'-' if index == 0 else ' '} | {text}" for index, text in enumerate(found)] or ["     - none"]
    lines.append(f"     - {' '.join(result['outcome'])}")
    return "\n".join(lines) + "\n"


def messages(name: str, result: Json) -> str:
    title = f"``{name}``"
    parts = []
    for message in result["messages"]:
        wrapped = textwrap.wrap(message, WIDTH, break_on_hyphens=False, break_long_words=False)
        parts.append("\n".join(f"   {line}" for line in wrapped))
    block = "\n".join(parts)
    return f"\n{title}\n{'~' * len(title)}\n\n.. code-block:: text\n\n{block}\n"


def page(kept: Json) -> str:
    seconds = [result["seconds"] for result in kept.values()]
    text = HEAD + "".join(row(name, result) for name, result in kept.items())
    text += AFTER.format(least=min(seconds), most=max(seconds))
    waiting = [name for name in names() if name not in kept]
    if waiting:
        text = text.replace(
            "\nMessages of the refusals",
            f"\n{WAITING.format(names=', '.join(f'``{name}``' for name in waiting))}\nMessages of the refusals",
        )
    return text + "".join(messages(name, result) for name, result in kept.items() if result["messages"])


class Indented(yaml.SafeDumper):
    """Lists are indented, as yamllint wants them."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


def main() -> None:
    kept = results()
    RESULTS.write_text(LICENSE + yaml.dump(kept, Dumper=Indented, sort_keys=False, width=120), encoding="utf-8")
    PAGE.write_text(page(kept), encoding="utf-8")
    print(PAGE)


if __name__ == "__main__":
    main()
