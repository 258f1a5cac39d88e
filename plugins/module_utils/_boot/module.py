# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The shell around the planner: options in, result out."""

from __future__ import annotations

import os
from typing import Any, Dict, List, NoReturn, Tuple

from ansible_collections.katagpu.cluster.plugins.module_utils._boot import apply, edit, facts, generate, plan, wishes
from ansible_collections.katagpu.cluster.plugins.module_utils._errors import KatagpuError
from ansible_collections.katagpu.cluster.plugins.module_utils._root import HostRoot


def run_module(module: Any) -> NoReturn:
    """C(module) is the AnsibleModule."""
    root = HostRoot(module.params["root"])

    def run(command: List[str]) -> Tuple[int, str, str]:
        # update-grub lies in a folder that is not in the PATH of every become method.
        result: Tuple[int, str, str] = module.run_command(
            [module.get_bin_path(command[0], required=True, opt_dirs=["/usr/sbin", "/sbin"]), *command[1:]],
            environ_update={"LANG": "C", "LC_ALL": "C"},
        )
        return result

    try:
        result = ensure(module.params, root, module.check_mode, run, module.backup_local, root.is_live)
    except KatagpuError as error:
        module.fail_json(msg=str(error))
    if not module._diff:
        del result["diff"]
    module.exit_json(**result)
    raise AssertionError("exit_json returned")


def ensure(
    params: Dict[str, Any], root: HostRoot, check_mode: bool, run: generate.Run, backup: apply.Backup, execute: bool
) -> Dict[str, Any]:
    """Reads, plans, applies outside check mode, and reads again. C(execute) allows commands to be run."""
    present, absent = params["present"], params["absent"]
    if not os.path.isdir(root.root):
        raise KatagpuError(f"root {root.root} is not a folder. Nothing was changed. Fix: correct the option root.")
    computed = plan.plan(facts.read_facts(root), present, absent, params["bootloader"])
    # Without a host to run commands on, what is only to be generated anew is reported and is no change of ours.
    changed = bool(computed.writes) or (execute and bool(computed.commands))
    entries = computed.entries
    if changed and not check_mode:
        apply.apply(root, computed, present, absent, run, backup, execute)
        entries = edit.assess_entries(facts.read_facts(root), wishes.read(present, absent))
    return {
        "changed": changed,
        "bootloader": computed.bootloader,
        "configured": computed.configured_after,
        "running": computed.running,
        "entries": entries,
        "reboot_required": computed.reboot_required,
        "commands": computed.commands,
        "files": sorted(computed.writes),
        "uncertain": computed.uncertain,
        "diff": _diff(computed),
    }


def _diff(computed: plan.CmdlinePlan) -> List[Dict[str, str]]:
    found = [
        {
            "before_header": path,
            "after_header": path,
            "before": computed.before[path] or "",
            "after": text or "",
        }
        for path, text in computed.writes.items()
    ]
    if computed.configured_before != computed.configured_after:
        found.append(
            {
                "before_header": "configured kernel arguments",
                "after_header": "configured kernel arguments",
                "before": computed.configured_before + "\n",
                "after": computed.configured_after + "\n",
            }
        )
    return found
