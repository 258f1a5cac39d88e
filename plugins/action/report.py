# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ansible_collections.katagpu.cluster.plugins.plugin_utils import _eligible, _report, _report_text

ARGUMENTS: dict[str, Any] = {
    "title": {"type": "str", "default": "Report"},
    "path": {"type": "path"},
    "findings": {"type": "list", "elements": "dict", "default": []},
    "checks": {"type": "list", "elements": "dict", "default": []},
    "hosts": {"type": "list", "elements": "dict", "default": []},
    "eligible": {"type": "dict", "default": {}},
    "workloads": {"type": "list", "elements": "dict", "default": []},
    "stack": {"type": "dict", "default": {}},
    "stand_ins": {"type": "str", "default": ""},
    "changed_hosts": {"type": "list", "elements": "str", "default": []},
    "names": {"type": "dict", "default": {}},
    "errors": {"type": "list", "elements": "str", "default": []},
    "reboot_ok": {"type": "bool", "default": False},
    "started": {"type": "str"},
    "quiet": {"type": "bool", "default": False},
    "fail": {"type": "bool", "default": False},
}

display = Display()


class ActionModule(ActionBase):  # type: ignore[misc]
    """Prints and writes the report, and only then fails."""

    _supports_check_mode = True
    _requires_connection = False

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        _validation, arguments = self.validate_argument_spec(ARGUMENTS)
        now = datetime.now(UTC)
        started = _time(arguments["started"])
        report = _report.build(
            arguments["title"],
            arguments["findings"],
            arguments["checks"],
            arguments["hosts"],
            arguments["eligible"],
            arguments["workloads"],
            arguments["stack"],
            arguments["stand_ins"],
            arguments["changed_hosts"],
            started.isoformat() if started else "",
            now.isoformat(),
            (now - started).total_seconds() if started else None,
            _nodes(arguments["names"], task_vars or {}),
            arguments["errors"],
            arguments["reboot_ok"],
            bool(self._task.check_mode),
        )
        paths: list[str] = []
        if arguments["path"] and not self._task.check_mode:
            folder = Path(arguments["path"]).expanduser()
            paths = [str(folder / "report.json"), str(folder / "report.txt")]
        text = _report_text.text(report, paths)
        if not arguments["quiet"]:
            display.display("\n" + text)
        if paths:
            try:
                _write(Path(paths[0]), json.dumps(report, indent=2, sort_keys=True, default=str) + "\n")
                _write(Path(paths[1]), text)
            except OSError as error:
                return {**result, "failed": True, "msg": f"The report cannot be written: {error}"}
        counts = report["counts"]
        result.update(
            changed=False,
            report=report,
            text=text,
            paths=paths,
            counts=counts,
            blocked=bool(counts["open_blocks"]),
            failed_checks=counts["checks_failed"],
        )
        reason = _report.failure(report)
        if reason and arguments["fail"]:
            where = f" The report is in {paths[1]}." if paths else ""
            # Ansible prints the result of a failed task; what was printed above is not printed again.
            msg = f"The run ended with {reason}.{where}"
            return {"failed": True, "changed": False, "msg": msg, "paths": paths, "counts": counts}
        return result


def _nodes(names: Mapping[str, Any], variables: Mapping[str, Any]) -> dict[str, list[str]]:
    """The names of nodes for the hosts of the inventory, without those that --limit leaves out of this run."""
    hostvars: Any = variables.get("hostvars") or {}
    limited = bool(variables.get("ansible_limit"))
    found: dict[str, list[str]] = {}
    for role, hosts in names.items():
        for host in hosts or ():
            # A host that is not in the inventory would be a marker that must not be looked into.
            known: Mapping[str, Any] = hostvars[host] if host in hostvars else {}  # noqa: SIM401
            if not limited or not known or "katagpu_in_run" in known:
                found.setdefault(role, []).append(_eligible.node_name(host, known))
    return found


def _time(value: str | None) -> datetime | None:
    """ISO 8601 or seconds since the epoch."""
    if not value:
        return None
    try:
        if value.replace(".", "", 1).isdigit():
            return datetime.fromtimestamp(float(value), UTC)
        found = datetime.fromisoformat(value)
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=".report-", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(text)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
