# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What kata-deploy 4.0.0 does to the configuration of containerd: text in, text out. No behaviour of its own."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

CONFD = "/etc/containerd/conf.d"
BACKUP = ".bak"
IMPORTS = re.compile(r"(?ms)^imports\s*=\s*\[(.*?)\]")
PLUGINS = {3: "io.containerd.cri.v1.runtime", 2: "io.containerd.grpc.v1.cri"}
STANDIN = "# Stand-in of the katagpu lab for what `containerd config default` prints.\n"
BEGIN, END = "# kata-deploy begin", "# kata-deploy end"


def version_of(runtime: str) -> tuple[int, int]:
    """(2, 2) of containerd://2.2.1; (0, 0) where it says no such thing."""
    found = re.match(r"containerd://(\d+)\.(\d+)", runtime)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def schema_of(text: str) -> int:
    """Version of a configuration; 0 where it names none."""
    found = re.search(r"(?m)^version\s*=\s*(\d+)", text)
    return int(found[1]) if found else 0


def default_text(version: tuple[int, int]) -> str:
    """A new main file: its schema, and from 2.2 on the import of conf.d."""
    schema = 4 if version >= (2, 3) else 3 if version >= (2, 0) else 2
    imports = f"imports = ['{CONFD}/*.toml']\n" if version >= (2, 2) else ""
    return f"{STANDIN}version = {schema}\n{imports}"


def imports_of(text: str) -> list[str]:
    """The entries of imports."""
    found = IMPORTS.search(text)
    return re.findall(r"[\"']([^\"']+)[\"']", found[1]) if found else []


def with_imports(text: str, entries: list[str]) -> str:
    """The same text with these entries; an empty list leaves an empty one where there was one."""
    line = "imports = [" + ", ".join(f'"{entry}"' for entry in entries) + "]"
    if IMPORTS.search(text):
        return IMPORTS.sub(lambda _: line, text, count=1)
    if not entries:
        return text
    found = re.search(r"(?m)^version\s*=.*\n", text)
    at = found.end() if found else 0
    return f"{text[:at]}{line}\n{text[at:]}"


@dataclass(frozen=True)
class Wiring:
    """Where the runtimes are written, and whether the main file has to import it."""

    main: Path
    drop_in: str  # empty: into the main file itself
    imported: bool


def wiring(root: Path, main_name: str, runtime: str, directory: str, suffix: str) -> Wiring:
    """Rows containerd.conf-d, containerd.drop-in and containerd.main-file of the facts."""
    main = root / "etc/containerd" / main_name
    text = main.read_text(encoding="utf-8") if main.is_file() else ""
    version = version_of(runtime)
    if version < (2, 0):
        return Wiring(main, "", False)
    if version >= (2, 2) and any(entry.startswith(CONFD) for entry in imports_of(text)):
        return Wiring(main, f"{CONFD}/kata-deploy{'-' if suffix else ''}{suffix}.toml", False)
    return Wiring(main, f"{directory}/containerd/config.d/kata-deploy.toml", True)


def tables(schema: int, shims: list[str], directory: str, suffix: str, snapshotters: dict[str, str]) -> str:
    """The runtimes as TOML."""
    plugin = PLUGINS[3] if schema >= 3 else PLUGINS[2]
    lines: list[str] = []
    for shim in shims:
        name = f"kata-{shim}{'-' if suffix else ''}{suffix}"
        rust = shim.endswith("-runtime-rs") or shim == "dragonball"
        binary = f"{directory}/runtime-rs/bin" if rust else f"{directory}/bin"
        configuration = f"{directory}/{configuration_directory(shim)}/runtimes/{shim}/configuration-{shim}.toml"
        lines += [
            f"[plugins.'{plugin}'.containerd.runtimes.{name}]",
            f'runtime_type = "io.containerd.{name}.v2"',
            f'runtime_path = "{binary}/containerd-shim-kata-v2"',
            "privileged_without_host_devices = true",
            'pod_annotations = ["io.katacontainers.*"]',
            *([f'snapshotter = "{snapshotters[shim]}"'] if shim in snapshotters else []),
            f"[plugins.'{plugin}'.containerd.runtimes.{name}.options]",
            f'ConfigPath = "{configuration}"',
            "",
        ]
    return "\n".join(lines)


def configuration_directory(shim: str) -> str:
    """Where the configurations of a shim are, below the installation directory."""
    rust = shim.endswith("-runtime-rs") or shim == "dragonball"
    return "share/defaults/kata-containers" + ("/runtime-rs" if rust else "")


def write(root: Path, to: Wiring, text: str, runtime: str) -> None:
    """Puts the runtimes where they belong; the main file is made where there is none."""
    to.main.parent.mkdir(parents=True, exist_ok=True)
    if not to.main.is_file():
        to.main.write_text(default_text(version_of(runtime)), encoding="utf-8")
    content = to.main.read_text(encoding="utf-8")
    if not to.drop_in:
        backup = to.main.with_name(to.main.name + BACKUP)
        if not backup.exists():
            shutil.copyfile(to.main, backup)
        base = re.sub(rf"(?ms)^{BEGIN}$.*?^{END}$\n?", "", content)
        to.main.write_text(f"{base.rstrip()}\n{BEGIN}\n{text}{END}\n", encoding="utf-8")
        return
    path = root / to.drop_in.lstrip("/")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    if to.imported and to.drop_in not in imports_of(content):
        to.main.write_text(with_imports(content, [*imports_of(content), to.drop_in]), encoding="utf-8")


def remove(root: Path, to: Wiring) -> None:
    """The way back: from the copy, or without the file and its entry."""
    if not to.drop_in:
        backup = to.main.with_name(to.main.name + BACKUP)
        to.main.unlink(missing_ok=True)
        if backup.exists():
            backup.rename(to.main)
        return
    if to.imported and to.main.is_file():
        content = to.main.read_text(encoding="utf-8")
        kept = [entry for entry in imports_of(content) if entry != to.drop_in]
        to.main.write_text(with_imports(content, kept), encoding="utf-8")
    (root / to.drop_in.lstrip("/")).unlink(missing_ok=True)
