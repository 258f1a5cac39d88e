# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the lab keeps things: state below the repository (disposable), caches below the user's cache directory."""

from __future__ import annotations

import os
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
LAB = Path(__file__).resolve().parent


def _state() -> Path:
    override = os.environ.get("KATAGPU_LAB_STATE")
    return Path(override).resolve() if override else REPO / ".build" / "lab"


def _cache() -> Path:
    override = os.environ.get("KATAGPU_LAB_CACHE")
    if override:
        return Path(override).resolve()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "katagpu-lab"


STATE = _state()
CACHE = _cache()

STATE_FILE = STATE / "state.json"
KUBECONFIG = STATE / "kubeconfig"
# What the API server has let the collection do, and refused.
AUDIT = STATE / "audit"
SSH_DIR = STATE / "ssh"
SSH_KEY = SSH_DIR / "id_ed25519"
KNOWN_HOSTS = SSH_DIR / "known_hosts"
LOGS = STATE / "logs"
MACHINES = STATE / "machines"
NODES = STATE / "nodes"
CLIENTS = STATE / "bin"
BIN = CACHE / "bin"
IMAGES = CACHE / "images"


def ensure(directory: Path, mode: int = 0o755) -> Path:
    """Create a directory with its parents and return it."""
    directory.mkdir(mode=mode, parents=True, exist_ok=True)
    return directory
