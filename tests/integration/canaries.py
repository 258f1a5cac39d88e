# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Texts that are planted as secrets, and what is searched for them."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Iterable
from pathlib import Path
from typing import Any

# On a host; not itself a text that it finds.
PATTERN = "canar[y]-[0-9a-f]{16}"


class Planted:
    """Texts by where they were planted."""

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}

    def __getitem__(self, where: str) -> str:
        return self.texts.setdefault(where, f"canary-{secrets.token_hex(8)}")

    def found_in(self, content: str) -> list[str]:
        """Also as Kubernetes and JSON would write them."""
        forms = {where: (text, base64.b64encode(text.encode()).decode()) for where, text in self.texts.items()}
        return [where for where, texts in forms.items() if any(text in content for text in texts)]

    def around(self, output: str) -> str:
        lines = output.splitlines()
        hits = [number for number, line in enumerate(lines) if self.found_in(line)]
        return "\n".join(line[:600] for number in hits[:3] for line in lines[max(0, number - 3) : number + 1])


class Searched:
    """How much was looked through, over several runs."""

    def __init__(self) -> None:
        self.texts: set[str] = set()
        self.runs = self.files = self.bytes = 0

    def files_without(self, planted: Planted, places: Iterable[Path]) -> None:
        for path in places:
            content = path.read_bytes()
            self.files, self.bytes = self.files + 1, self.bytes + len(content)
            assert planted.found_in(content.decode("utf-8", "replace")) == [], path

    def output_without(self, planted: Planted, output: str) -> None:
        self.runs, self.bytes = self.runs + 1, self.bytes + len(output)
        self.texts |= set(planted.texts.values())
        assert planted.found_in(output) == [], planted.around(output)

    def __str__(self) -> str:
        return (
            f"{len(self.texts)} texts planted, {self.runs} outputs and {self.files} files searched,"
            f" {self.bytes / 1e6:.1f} MB"
        )


def chart_values(planted: Planted) -> dict[str, Any]:
    """Where the charts take secrets: environments of operands, addresses with an account in them, pull secrets by name."""
    return {
        "gpu_operator_values": {
            "toolkit": {"env": [{"name": "NGC_API_KEY", "value": planted["environment of an operand"]}]},
            "driver": {"imagePullSecrets": [planted["name of a pull secret"]]},
            "node-feature-discovery": {"worker": {"config": {"token": planted["value of a subchart"]}}},
        },
        "kata_deploy_values": {"env": {"hostOS": f"https://me:{planted['password of a proxy']}@proxy.example.com"}},
    }
