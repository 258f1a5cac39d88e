# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""k8s-cc-manager v0.4.3: the confidential-computing mode of the GPUs by node label, and what it says about it.

A virtual GPU of the lab has no such mode. Which ones count as capable goes by device id, and what was set is kept in a file.
"""

from __future__ import annotations

import json
import time
from typing import Any

from ..behaviour import Behaviour, Context, Outcome, Pod, failed, register, running
from .images import labels_of
from .sysfs import Function, sysfs
from .validators import CC_MANAGER_FILE, validations

MODE_LABEL = "nvidia.com/cc.mode"
STATE_LABEL = "nvidia.com/cc.mode.state"
READY_LABEL = "nvidia.com/cc.ready.state"
READY = {"on": "true", "ppcie": "true", "off": "false"}  # anything else is an empty string
CAPABLE = ("2339", "2331", "2330", "2324", "2322", "233d")
HOST_FILES = ("sys/module/kvm_intel/parameters/tdx", "sys/module/kvm_amd/parameters/sev_snp")
PAUSED = "paused-for-cc-mode-change"
DEPLOY = "nvidia.com/gpu.deploy."
# The pods of the vfio-manager carry name= and no app=, so nobody waits for them.
EVICTED = {
    "vfio-manager": "nvidia-vfio-manager",
    "vgpu-manager": "nvidia-vgpu-manager",
    "sandbox-validator": "nvidia-sandbox-validator",
    "sandbox-device-plugin": "nvidia-sandbox-device-plugin-daemonset",
    "vgpu-device-manager": "nvidia-vgpu-device-manager",
}
WAIT_SECONDS = 300


def host_enabled(ctx: Context) -> bool:
    """TDX or SEV-SNP of the host, as KVM says it."""
    for name in HOST_FILES:
        try:
            if (ctx.root / name).read_text(encoding="utf-8").strip().lower() in ("y", "1"):
                return True
        except OSError:
            continue
    return False


def paused(value: str) -> str:
    """What a deploy label becomes; an absent one counts as empty and is written empty."""
    if value in ("", "false") or PAUSED in value:
        return value
    return PAUSED if value == "true" else f"{value}_{PAUSED}"


def resumed(value: str) -> str:
    """What is written afterwards, from the value before the change."""
    return "true" if value == PAUSED else value.replace(f"_{PAUSED}", "").replace(PAUSED, "").strip("_")


@register
class CcManager(Behaviour):
    container = "nvidia-cc-manager"

    def start(self, ctx: Context, pod: Pod) -> Outcome:
        default = ctx.env("DEFAULT_CC_MODE", "on")
        if not host_enabled(ctx):
            if default != "off":
                ctx.log(f"WARNING - Overriding default CC mode: {default} to off because the host does not support CC")
            default = "off"
        ctx.memory["default"] = default
        return self.tick(ctx, pod)

    def tick(self, ctx: Context, pod: Pod) -> Outcome:
        if "change" in ctx.memory:
            return self._change(ctx)
        label = ctx.node_labels().get(MODE_LABEL, "")
        if ctx.memory.get("label") == label:
            return running()
        ctx.memory["label"] = label
        return self._apply(ctx, label or str(ctx.memory["default"]))

    def stop(self, ctx: Context, pod: Pod) -> None:
        """preStop: rm -f /run/nvidia/validations/.cc-manager-ctr-ready"""
        (validations(ctx) / CC_MANAGER_FILE).unlink(missing_ok=True)

    def _apply(self, ctx: Context, mode: str) -> Outcome:
        system = sysfs(ctx.root, ctx.simulated)
        gpus = system.gpus()
        found = gpus + (system.nvswitches() if mode == "ppcie" else [])
        capable = [one for one in found if one.device in CAPABLE]
        if mode != "off":
            if not host_enabled(ctx):
                ctx.log(f"WARNING - Host doesn't have CC, gpu mode {mode} specified")
            left = {one.address for one in found} - {one.address for one in capable}
            if left:
                return failed(f"ERROR - Some GPUs are not cc-capable: {sorted(left)}")
        if not found:
            ctx.log("WARNING - No GPUs to configure")
            return self._done(ctx)
        if not capable:
            self._say(ctx, "off")
            return self._done(ctx)
        if all(self._modes(ctx).get(one.address, "off") == mode for one in capable):
            ctx.log(f"INFO - All gpus already set to cc {mode}, skipping")
            self._say(ctx, mode)
            return self._done(ctx)
        return self._begin(ctx, capable, mode)

    def _begin(self, ctx: Context, gpus: list[Function], mode: str) -> Outcome:
        have = ctx.node_labels()
        labels = {f"{DEPLOY}{name}": have.get(f"{DEPLOY}{name}", "") for name in EVICTED}
        ctx.log("INFO - Evicting GPU operator components before CC mode change")
        ctx.patch_node_labels({key: paused(text) for key, text in labels.items()})
        ctx.memory["change"] = {
            "mode": mode,
            "gpus": [one.address for one in gpus],
            "labels": labels,
            "apps": [app for name, app in EVICTED.items() if labels[f"{DEPLOY}{name}"]],
            "deadline": time.time() + WAIT_SECONDS,
        }
        return self._change(ctx)

    def _change(self, ctx: Context) -> Outcome:
        change: dict[str, Any] = ctx.memory["change"]
        left = [one for one in ctx.pods_on_node() if labels_of(one).get("app") in change["apps"]]
        if left and time.time() < change["deadline"]:
            return running()
        self._keep(ctx, {address: change["mode"] for address in change["gpus"]})
        ctx.log(f"INFO - Successfully set CC mode to '{change['mode']}' on all GPUs (katagpu lab: written down only)")
        self._say(ctx, change["mode"])
        ctx.patch_node_labels({key: resumed(text) for key, text in change["labels"].items()})
        del ctx.memory["change"]
        return self._done(ctx)

    @staticmethod
    def _done(ctx: Context) -> Outcome:
        (validations(ctx) / CC_MANAGER_FILE).touch()
        return running()

    @staticmethod
    def _say(ctx: Context, state: str) -> None:
        ctx.patch_node_labels({STATE_LABEL: state, READY_LABEL: READY.get(state, "")})
        ctx.log(f"INFO - Set {STATE_LABEL}={state}, {READY_LABEL}={READY.get(state, '')}")

    @staticmethod
    def _modes(ctx: Context) -> dict[str, str]:
        """What was set on the GPUs; it survives a reboot, as on the card."""
        try:
            modes: dict[str, str] = json.loads((ctx.state_dir / "cc-modes.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return modes

    def _keep(self, ctx: Context, modes: dict[str, str]) -> None:
        ctx.state_dir.mkdir(parents=True, exist_ok=True)
        text = json.dumps({**self._modes(ctx), **modes}, sort_keys=True)
        (ctx.state_dir / "cc-modes.json").write_text(text, encoding="utf-8")
