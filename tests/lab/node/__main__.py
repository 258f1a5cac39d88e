# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Entry point: `python3 -m node --agent-config /etc/katalab/agent.json`."""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path

from .agent import Agent
from .behaviour import load_behaviours
from .config import Config


def main() -> None:
    parser = argparse.ArgumentParser(description="node agent of the lab")
    parser.add_argument("--agent-config", type=Path, required=True)
    options = parser.parse_args()
    # A kubelet that ends leaves its Node and its pods as they are; heartbeats just stop.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(0))
    Agent(Config.load(options.agent_config), load_behaviours()).run()


if __name__ == "__main__":
    main()
