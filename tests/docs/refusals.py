# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes the page of the refusals from what the last run of tests/integration/test_refusals.py has recorded:
python -m tests.docs.refusals
"""

from __future__ import annotations

import json
import textwrap

from tests.conftest import REPOSITORY
from tests.integration.refusals import SECTIONS
from tests.integration.refusals.case import OUTPUT, Case

PAGE = REPOSITORY / "docs" / "docsite" / "rst" / "guide_refusals.rst"
# As the report breaks its lines.
WIDTH = 100

HEAD = """\
..
  Copyright (c) 2026, katagpu contributors
  GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
  SPDX-License-Identifier: GPL-3.0-or-later

.. Written by python -m tests.docs.refusals from a run of tests/integration/test_refusals.py. Correct the cases, not this page.

.. _ansible_collections.katagpu.cluster.docsite.guide_refusals:

Refusals and their messages
===========================

What the collection refuses before it changes anything, and what it says then. Each message below was printed by a playbook of the collection in the
lab, and the tests compare it on every run. Where the text is cut into lines, the report does the same.

Real in these runs: etcd, the API server with its access control, and Helm. Put there by the test: what a kubelet would have reported of a node, the
objects that are named, and for the hosts a tree of files in place of a machine, read by the modules that read a real one. The finding
``kubernetes_range`` is accepted except where it is shown, because the lab runs a newer Kubernetes than the releases support.

What each id means stands in :ref:`Findings <ansible_collections.katagpu.cluster.docsite.guide_findings>`.
"""


def lines(message: str) -> list[str]:
    return textwrap.wrap(message, WIDTH, break_on_hyphens=False)


def block(messages: list[str]) -> str:
    return "\n".join(f"   {line}" for message in messages for line in lines(message))


def heading(case: Case) -> str:
    given = case.given[:1].upper() + case.given[1:]
    return f"{case.title}\n{'~' * len(case.title)}\n\n{given}.\n\n.. code-block:: text\n\n"


def section(case: Case) -> str:
    messages = json.loads((OUTPUT / f"{case.key}.json").read_text(encoding="utf-8"))
    return f"{heading(case)}{block(messages)}\n"


def page() -> str:
    parts = [HEAD]
    for title, cases in SECTIONS.items():
        parts.append(f"{title}\n{'-' * len(title)}\n")
        parts += [section(case) for case in cases]
    return "\n".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(PAGE)
