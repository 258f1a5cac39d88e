# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Deployments of an OSTree host. A staged one is written to the boot loader's entries only when the host goes down."""

from __future__ import annotations

import re
from typing import Any, Dict, List, Mapping, Optional

from ansible_collections.katagpu.cluster.plugins.module_utils._boot import bls, gvariant

STAGED = "/run/ostree/staged-deployment"
_DEPLOYMENT = re.compile(r"(?:^|\s)ostree=(\S+)")


def deployments(entries: Mapping[str, str], staged: Optional[bytes]) -> Dict[str, List[Dict[str, Any]]]:
    """In boot order; only the first is ours to change, the others are for going back."""
    found: Dict[str, List[Dict[str, Any]]] = {}
    if staged is not None:
        found[STAGED] = [_entry("staged deployment", "", " ".join(_arguments(staged) or []))]
    for path in sorted(entries, key=lambda path: _version(entries[path]), reverse=True):
        text = entries[path]
        arguments = " ".join(field.value for field in bls.options(text))
        entry = _entry(bls.value(text, "title") or bls.identity(path), bls.value(text, "linux"), arguments)
        entry["managed"] = not found
        found[path] = [entry]
    return found


def is_readable(staged: Optional[bytes]) -> bool:
    return staged is None or _arguments(staged) is not None


def is_pending(generated: Mapping[str, List[Dict[str, Any]]], running: str) -> bool:
    """Whether the next boot starts another deployment than the one that runs."""
    first = next(iter(generated), "")
    if first == STAGED:
        return True
    booted = _DEPLOYMENT.search(running)
    following = _DEPLOYMENT.search(generated[first][0]["arguments"]) if first else None
    return bool(booted and following and _tree(booted.group(1)) != _tree(following.group(1)))


def _tree(path: str) -> str:
    """Without C(boot.0) or C(boot.1), which change with every deployment."""
    return re.sub(r"^/ostree/boot\.\d(\.\d)?/", "", path)


def _version(text: str) -> int:
    version = bls.value(text, "version")
    return int(version) if re.match(r"[0-9]{1,9}\Z", version) else -1


def _arguments(staged: bytes) -> Optional[List[str]]:
    try:
        arguments = gvariant.dictionary(staged).get("kargs")
    except ValueError:
        return None
    return arguments if isinstance(arguments, list) else None


def _entry(title: str, kernel: str, arguments: str) -> Dict[str, Any]:
    release = kernel.rpartition("/")[2].partition("-")[2]
    return {
        "title": title,
        "kernel": kernel,
        "release": release,
        "arguments": arguments,
        "recovery": False,
        "managed": True,
    }
