# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The refusals, one Case each, by subject."""

from __future__ import annotations

from tests.integration.refusals import cluster, hosts, inventory, nodes, stack
from tests.integration.refusals.case import Case

SECTIONS: dict[str, tuple[Case, ...]] = {
    "Controller and inventory": inventory.CASES,
    "Cluster": cluster.CASES,
    "Nodes": nodes.CASES,
    "What is installed already": stack.CASES,
    "Hosts": hosts.CASES,
}
CASES = tuple(case for cases in SECTIONS.values() for case in cases)
