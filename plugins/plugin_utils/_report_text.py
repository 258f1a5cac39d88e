# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report as text: first what to do, then what is there."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.katagpu.cluster.plugins.plugin_utils._findings import (
    ACCEPTED,
    OPEN,
    UNKNOWN_UNTIL,
    WARN,
    WILL_BE_FIXED_BY,
    Finding,
)
from ansible_collections.katagpu.cluster.plugins.plugin_utils._report import left_out

WIDTH = 100
LISTED = 20


def text(report: Mapping[str, Any], paths: Iterable[str] = ()) -> str:
    """Fits C(WIDTH) columns."""
    values = [Finding.from_dict(item) for item in report["findings"]]
    planned = _grouped(values, WILL_BE_FIXED_BY, UNKNOWN_UNTIL)
    if report["reboots"]["planned"]:
        planned += [f"{_reboot(item, 'drained ' + item['what'])}." for item in report["reboots"]["nodes"]]
    lines = [_head(report), "=" * WIDTH]
    lines += _to_do(report, values, bool(planned))
    lines += _nodes(report)
    lines += _checks(report)
    lines += _workloads(report)
    lines += _section("WILL BE DONE", planned)
    lines += _section("ACCEPTED BY THE INVENTORY", [value.message() for value in values if value.state == ACCEPTED])
    warnings = [value.message() for value in values if value.severity == WARN and value.state == OPEN]
    lines += _section("WARNINGS", warnings)
    if report["stand_ins"]:
        lines += _section("STAND-INS (not the real thing)", str(report["stand_ins"]).strip().splitlines())
    lines += _section("FILES", list(paths))
    return "\n".join(lines) + "\n"


def _head(report: Mapping[str, Any]) -> str:
    release = report["release"]
    parts = [f"katagpu.cluster: {report['title']}: {str(report['result']).upper()}"]
    if release["name"]:
        parts.append(f"release {release['name']}")
    if report["duration_seconds"] is not None:
        minutes, seconds = divmod(int(report["duration_seconds"]), 60)
        parts.append(f"{minutes} min {seconds} s" if minutes else f"{seconds} s")
    return _short(" | ".join(parts))


def _to_do(report: Mapping[str, Any], values: list[Finding], planned: bool) -> list[str]:
    groups = [
        list(report["errors"]),
        _failed_nodes(report),
        [value.message() for value in values if value.stops],
        _failed_checks(report),
        [_failed_workload(item) for item in report["workloads"] if item.get("result") == "failed"],
        _missing_nodes(report),
        _pending_reboots(report),
    ]
    if not any(groups):
        return ["Nothing to do by hand; see WILL BE DONE." if planned else "TO DO: nothing."]
    lines = ["TO DO"]
    number = 0
    for index, group in enumerate(groups):
        # Failed checks are grouped already, and each of them is named.
        limit = len(group) if index == 3 else LISTED
        for entry in group[:limit]:
            number += 1
            lines += _wrap(entry, f"{number:3}. ", "     ")
        if len(group) > limit:
            lines.append(f"     and {len(group) - limit} more of these, see report.json")
    return lines


def _failed_nodes(report: Mapping[str, Any]) -> list[str]:
    return [f"[failed] {node['node']}: {node['reasons'][0]}" for node in report["nodes"] if node["state"] == "failed"]


def _failed_checks(report: Mapping[str, Any]) -> list[str]:
    """The same failure on many nodes is one entry."""
    groups: dict[tuple[str, str, str], list[str]] = {}
    for item in report["checks"]:
        if item["result"] == "failed":
            key = (str(item["id"]), str(item["title"]), str(item["evidence"]))
            groups.setdefault(key, []).append(str(item["node"]))
    return [f"[{id}][failed] {_names(nodes)}{title}: {evidence}" for (id, title, evidence), nodes in groups.items()]


def _failed_workload(item: Mapping[str, Any]) -> str:
    log = [line.strip() for line in str(item.get("log") or "").strip().splitlines()]
    # The first line says what went wrong, the last ones how the program ended.
    said = log if len(log) <= 4 else [log[0], "...", *log[-3:]]
    return f"[V16][failed] {item.get('node')}: workload {item.get('name')}: {' / '.join(said)}"


def _missing_nodes(report: Mapping[str, Any]) -> list[str]:
    entries = []
    for node in report["nodes"]:
        reasons = left_out(node)
        if node["state"] == "not read":
            why = f" ({'; '.join(reasons)})" if reasons else ""
            entries.append(f"[not read] {node['node']}: nothing is known about this host in this run{why}.")
        elif node["state"] != "failed" and reasons:
            entries.append(f"[left out] {node['node']}: {'; '.join(reasons)}")
    return entries


def _pending_reboots(report: Mapping[str, Any]) -> list[str]:
    if report["reboots"]["planned"]:
        return []
    pending = [item for item in report["reboots"]["nodes"] if item["pending"]]
    grouped: dict[tuple[str, str], list[str]] = {}
    for item in pending:
        grouped.setdefault((item["what"], "; ".join(item["reasons"])), []).append(item["node"])
    fix = "Set katagpu_reboot_ok: true to have it done, drained."
    if report["reboots"]["consent"]:
        fix = "Run the playbook again; katagpu_reboot_ok is true, and the run ended before it."
    return [
        f"{_names(nodes)}{what} pending{f' ({reasons})' if reasons else ''}. {fix}"
        for (what, reasons), nodes in grouped.items()
    ]


def _reboot(item: Mapping[str, Any], what: str) -> str:
    reasons = "; ".join(item["reasons"])
    return f"{item['node']}: {what}" + (f" ({reasons})" if reasons else "")


def _nodes(report: Mapping[str, Any]) -> list[str]:
    rows = []
    for node in report["nodes"]:
        unread = node["state"] in ("not read", "refused", "failed")
        detail = "; ".join(node["reasons"]) if unread else ", ".join(node["gpus"])
        rows.append(_short(f"  {node['node']:<24} {node['role']:<10} {node['state']:<13} {' '.join(detail.split())}"))
    more = [f"  and {len(rows) - LISTED} more"] if len(rows) > LISTED else []
    return ["NODES", *rows[:LISTED], *more] if rows else []


def _checks(report: Mapping[str, Any]) -> list[str]:
    """A count for each node; what failed is under TO DO, and all of it is in C(report.json)."""
    if not report["checks"]:
        return []
    counts: dict[str, dict[str, int]] = {}
    for item in report["checks"]:
        row = counts.setdefault(str(item["node"] or "cluster"), {"passed": 0, "failed": 0, "skipped": 0})
        row[str(item["result"])] += 1
    ordered = sorted(counts.items(), key=lambda entry: -entry[1]["failed"])
    rows = [
        _short(f"  {name:<24} " + ", ".join(f"{number} {word}" for word, number in row.items() if number))
        for name, row in ordered
    ]
    more = [f"  and {len(rows) - LISTED} more nodes, none with more failed checks"] if len(rows) > LISTED else []
    total = report["counts"]
    head = (
        f"CHECKS: {total['checks_passed']} passed, {total['checks_failed']} failed, {total['checks_skipped']} skipped"
    )
    return [head, *rows[:LISTED], *more]


def _workloads(report: Mapping[str, Any]) -> list[str]:
    lines = []
    for item in report["workloads"]:
        log = [line for line in str(item.get("log") or "").splitlines() if "Test" in line]
        parts = [item.get("resource"), item.get("runtime_class")]
        detail = ", ".join(str(part) for part in parts if part)
        said = f": {log[-1].strip()}" if log else ""
        entry = f"{item.get('result', ''):<8} {item.get('node', ''):<16} {item.get('name', '')}{said} ({detail})"
        lines += _wrap(entry, "  ", " " * 28)
    return ["WORKLOADS", *lines] if lines else []


def _grouped(values: list[Finding], *states: str) -> list[str]:
    """The same finding on many nodes is one line."""
    groups: dict[tuple[str, str, str], list[Finding]] = {}
    for value in values:
        if value.state in states:
            groups.setdefault((value.id, value.state, value.by), []).append(value)
    lines = []
    for (id, state, by), members in groups.items():
        where = _names(member.node for member in members)
        how = f"will be fixed by {by}" if state == WILL_BE_FIXED_BY else f"unknown until {by}"
        lines.append(f"[{id}] {where}{members[0].fact.rstrip('.')} ({how}).")
    return lines


def _section(title: str, entries: list[str]) -> list[str]:
    lines = []
    for entry in entries[:LISTED]:
        lines += _wrap(entry, "  ", "    ")
    if len(entries) > LISTED:
        lines.append(f"  and {len(entries) - LISTED} more")
    return [title, *lines] if entries else []


def _wrap(entry: str, first: str, rest: str) -> list[str]:
    return textwrap.wrap(entry, WIDTH, initial_indent=first, subsequent_indent=rest, break_on_hyphens=False)


def _short(line: str) -> str:
    return line if len(line) <= WIDTH else line[: WIDTH - 3] + "..."


def _names(nodes: Iterable[str]) -> str:
    named = sorted({node for node in nodes if node})
    return f"{', '.join(named[:3])}{f' and {len(named) - 3} more' if len(named) > 3 else ''}: " if named else ""
