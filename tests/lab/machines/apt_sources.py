# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Find the Debian mirror this machine itself uses, so that no mirror is named in the code.

Understands deb822 files (*.sources) and one-line files (sources.list, *.list).
"""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.lab.errors import LabError

MIRROR_VARIABLE = "KATAGPU_LAB_DEBIAN_MIRROR"
DEFAULT_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")


@dataclass(frozen=True)
class Source:
    """One place packages come from: a URI with the suites and components read from it."""

    uri: str
    suites: tuple[str, ...]
    components: tuple[str, ...]
    options: dict[str, str] = field(default_factory=dict)


def parse_one_line(text: str) -> Iterator[Source]:
    """The `deb [options] uri suite components...` lines of a sources.list."""
    for raw in text.splitlines():
        words = raw.partition("#")[0].split()
        if not words or words[0] != "deb":
            continue
        rest = words[1:]
        options: dict[str, str] = {}
        if rest and rest[0].startswith("["):
            inside: list[str] = []
            while rest:
                word = rest.pop(0)
                inside.append(word.strip("[]"))
                if word.endswith("]"):
                    break
            options = {key.lower(): value for key, _, value in (item.partition("=") for item in inside if item)}
        if len(rest) >= 2:
            yield Source(rest[0], (rest[1],), tuple(rest[2:]), options)


def _stanzas(text: str) -> Iterator[dict[str, str]]:
    stanza: dict[str, str] = {}
    key = ""
    for line in [*text.splitlines(), ""]:
        if line.startswith("#"):
            continue
        if not line.strip():
            if stanza:
                yield stanza
            stanza, key = {}, ""
        elif line[0] in " \t":
            if key:
                stanza[key] += "\n" + line.strip()
        else:
            name, _, value = line.partition(":")
            key = name.strip().lower()
            stanza[key] = value.strip()


def parse_deb822(text: str) -> Iterator[Source]:
    """The stanzas of a *.sources file; one Source per URI."""
    for stanza in _stanzas(text):
        if stanza.get("enabled", "yes").lower() in ("no", "false", "0") or "deb" not in stanza.get("types", "").split():
            continue
        options: dict[str, str] = {key: stanza[key] for key in ("signed-by", "trusted") if key in stanza}
        for uri in stanza.get("uris", "").split():
            yield Source(
                uri, tuple(stanza.get("suites", "").split()), tuple(stanza.get("components", "").split()), options
            )


def read_sources(etc_apt: Path) -> list[Source]:
    """All sources below an apt configuration directory, in apt's own order."""
    found: list[Source] = []
    main = etc_apt / "sources.list"
    if main.is_file():
        found += parse_one_line(main.read_text(encoding="utf-8"))
    for path in sorted((etc_apt / "sources.list.d").glob("*")):
        if path.suffix == ".list":
            found += parse_one_line(path.read_text(encoding="utf-8"))
        elif path.suffix == ".sources":
            found += parse_deb822(path.read_text(encoding="utf-8"))
    return found


def choose(sources: Iterable[Source], codename: str) -> Source | None:
    """The main archive of the running release: its plain suite (not -security, -updates ...) with component main."""
    wanted = {codename, "stable", "oldstable"}
    for source in sources:
        if wanted.intersection(source.suites) and "main" in source.components:
            return source
    return None


def _os_release(path: Path) -> dict[str, str]:
    pairs = (line.partition("=") for line in path.read_text(encoding="utf-8").splitlines() if "=" in line)
    return {key: "".join(shlex.split(value)) for key, _, value in pairs}


def mirror_line(suite: str, work: Path, etc: Path = Path("/etc")) -> str:
    """The sources.list line for `suite` on the mirror that this machine uses."""
    override = os.environ.get(MIRROR_VARIABLE)
    if override:
        return f"deb [signed-by={DEFAULT_KEYRING}] {override} {suite} main"
    release = _os_release(etc / "os-release")
    if release.get("ID") != "debian":
        raise LabError(
            f"this machine is {release.get('PRETTY_NAME', 'not Debian')}, so its apt configuration names no Debian mirror; "
            f"set {MIRROR_VARIABLE} to the URL of one"
        )
    source = choose(read_sources(etc / "apt"), release.get("VERSION_CODENAME", ""))
    if source is None:
        raise LabError(
            f"no Debian archive with component main for {release.get('VERSION_CODENAME', 'this release')} was found in "
            f"{etc / 'apt'}; set {MIRROR_VARIABLE} to the URL of a Debian mirror"
        )
    options = dict(source.options)
    key = options.get("signed-by", "")
    if "BEGIN PGP" in key:
        # The key itself stands in the file; a lone dot is an empty line there.
        armoured = work / "archive-key.asc"
        armoured.write_text(
            "\n".join("" if line == "." else line for line in key.split("\n")).strip() + "\n", encoding="utf-8"
        )
        options["signed-by"] = str(armoured)
    elif not key and DEFAULT_KEYRING.exists():
        options["signed-by"] = str(DEFAULT_KEYRING)
    inside = " ".join(f"{name}={value}" for name, value in sorted(options.items()) if name in ("signed-by", "trusted"))
    return f"deb {f'[{inside}] ' if inside else ''}{source.uri} {suite} main"


def proxy_options() -> list[str]:
    """Proxies of this machine's apt as configuration lines; the new system's apt does not read them by itself."""
    result = subprocess.run(["apt-config", "dump"], capture_output=True, text=True, check=False)
    return [
        line for line in result.stdout.splitlines() if line.startswith("Acquire::") and "Proxy" in line.split(" ")[0]
    ]
