# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where Debian packages come from is read from apt's own configuration."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lab.errors import LabError
from tests.lab.machines import apt_sources

DEB822 = """\
Types: deb
# a comment in the middle of a stanza
URIs: http://mirror.example.org/debian
Suites: bookworm bookworm-updates
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://mirror.example.org/debian-security
Suites: bookworm-security
Components: main
"""
ONE_LINE = """\
# deb http://old.example.org/debian bookworm main
deb-src http://src.example.org/debian bookworm main
deb [arch=amd64 signed-by=/etc/apt/keyrings/own.gpg] https://one.example.org/debian bookworm main contrib # tail
deb http://security.example.org/debian-security bookworm-security main
"""
OS_RELEASE = 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nID=debian\nVERSION_CODENAME=bookworm\n'


@pytest.fixture(autouse=True)
def no_override(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(apt_sources.MIRROR_VARIABLE, raising=False)


def etc(tmp_path: Path, files: dict[str, str], os_release: str = OS_RELEASE) -> Path:
    for name, content in {"os-release": os_release, **files}.items():
        target = tmp_path / "etc" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(content, encoding="utf-8")
    return tmp_path / "etc"


def test_deb822(tmp_path: Path) -> None:
    line = apt_sources.mirror_line("trixie", tmp_path, etc(tmp_path, {"apt/sources.list.d/debian.sources": DEB822}))
    expected = "[signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://mirror.example.org/debian"
    assert line == f"deb {expected} trixie main"


def test_one_line(tmp_path: Path) -> None:
    line = apt_sources.mirror_line("trixie", tmp_path, etc(tmp_path, {"apt/sources.list": ONE_LINE}))
    assert line == "deb [signed-by=/etc/apt/keyrings/own.gpg] https://one.example.org/debian trixie main"


def test_one_line_options_may_have_blanks_inside() -> None:
    (source,) = apt_sources.parse_one_line("deb [ trusted=yes arch=amd64 ] file:/srv/debian bookworm main")
    assert source.uri == "file:/srv/debian"
    assert source.options == {"trusted": "yes", "arch": "amd64"}


def test_a_disabled_stanza_is_not_used(tmp_path: Path) -> None:
    off = "Enabled: no\n" + DEB822.replace("mirror.example.org", "off.example.org")
    files = {"apt/sources.list.d/a.sources": off, "apt/sources.list.d/b.sources": DEB822}
    assert "off.example.org" not in apt_sources.mirror_line("trixie", tmp_path, etc(tmp_path, files))


def test_files_apt_ignores_are_ignored(tmp_path: Path) -> None:
    files = {"apt/sources.list.d/debian.sources.disabled": DEB822}
    with pytest.raises(LabError, match="KATAGPU_LAB_DEBIAN_MIRROR"):
        apt_sources.mirror_line("trixie", tmp_path, etc(tmp_path, files))


def test_security_archive_alone_is_not_enough() -> None:
    sources = list(apt_sources.parse_one_line("deb http://security.example.org/debian-security bookworm-security main"))
    assert apt_sources.choose(sources, "bookworm") is None


def test_key_in_the_file_itself(tmp_path: Path) -> None:
    key = "Signed-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n mQINBF\n -----END PGP PUBLIC KEY BLOCK-----\n"
    text = DEB822.split("Signed-By")[0] + key
    line = apt_sources.mirror_line("trixie", tmp_path, etc(tmp_path, {"apt/sources.list.d/debian.sources": text}))
    written = tmp_path / "archive-key.asc"
    assert f"signed-by={written}" in line
    assert written.read_text(encoding="utf-8").splitlines() == [
        "-----BEGIN PGP PUBLIC KEY BLOCK-----",
        "",
        "mQINBF",
        "-----END PGP PUBLIC KEY BLOCK-----",
    ]


def test_another_distribution_needs_the_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = etc(tmp_path, {}, 'PRETTY_NAME="Ubuntu 24.04"\nID=ubuntu\n')
    with pytest.raises(LabError, match=r"Ubuntu 24\.04.*KATAGPU_LAB_DEBIAN_MIRROR"):
        apt_sources.mirror_line("trixie", tmp_path, other)
    monkeypatch.setenv(apt_sources.MIRROR_VARIABLE, "http://here.example.org/debian")
    assert apt_sources.mirror_line("trixie", tmp_path, other).endswith("http://here.example.org/debian trixie main")
