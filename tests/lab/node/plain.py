# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Containers that no behaviour knows: a few commands are understood, everything else runs "in name"."""

from __future__ import annotations

import shlex
import time

from .behaviour import Behaviour, Context, Outcome, Pod, completed, failed, running


class PlainContainer(Behaviour):
    """`true`, `false`, `exit N`, `sleep N`, `echo TEXT`, also joined in `sh -c` by `;` or `&&`. Nothing is executed."""

    container = ""

    def start(self, ctx: Context, pod: Pod) -> Outcome:
        commands = understood(list(ctx.container.get("command") or []) + list(ctx.container.get("args") or []))
        ctx.memory["commands"] = commands
        return self.tick(ctx, pod) if commands else running()

    def tick(self, ctx: Context, pod: Pod) -> Outcome:
        commands = ctx.memory["commands"]
        if not commands:
            return running()
        now = ctx.memory.setdefault("now", ctx.started_at)
        while commands:
            name, *rest = commands[0]
            if name == "sleep" and time.time() < now + float(rest[0]):
                return running()
            now = ctx.memory["now"] = now + (float(rest[0]) if name == "sleep" else 0)
            commands.pop(0)
            if name == "echo":
                ctx.log(" ".join(rest))
            elif name in ("false", "exit"):
                code = int(rest[0]) if rest else int(name == "false")
                return failed("", code) if code else completed()
        return completed()


def understood(words: list[str]) -> list[list[str]]:
    """The commands of a container's command line; empty when one of them is not known."""
    if len(words) >= 3 and words[0].rpartition("/")[2] in ("sh", "bash") and words[1] in ("-c", "-ec"):
        lexer = shlex.shlex(words[2].replace("\n", ";"), posix=True, punctuation_chars=";&|")
        lexer.whitespace_split = True
        try:
            parts = list(lexer)
        except ValueError:
            return []
    else:
        parts = words
    if any(part and set(part) <= set("&|") and part != "&&" for part in parts):
        return []
    commands: list[list[str]] = [[]]
    for part in parts:
        if part in (";", "&&", ";;"):
            commands.append([])
        else:
            commands[-1].append(part.rpartition("/")[2] if not commands[-1] else part)
    commands = [command for command in commands if command]
    return commands if all(_known(command) for command in commands) else []


def _known(command: list[str]) -> bool:
    name, *rest = command
    if name == "sleep":
        return len(rest) == 1 and rest[0].replace(".", "", 1).isdigit()
    if name == "exit":
        return len(rest) < 2 and all(word.isdigit() for word in rest)
    return name == "echo" or (name in ("true", "false") and not rest)
