# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The tarball holds the product and nothing else, installs into an empty folder, and runs by full name from there."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
from pathlib import Path

import pytest
import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
BIN = Path(sysconfig.get_path("scripts"))
FOLDERS = {"changelogs", "docs", "inventories", "meta", "playbooks", "plugins", "roles"}
FILES = {
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "FILES.json",
    "LICENSE",
    "MANIFEST.json",
    "README.md",
    "bindep.txt",
    "requirements.txt",
    "requirements.yml",
}
JUNK = (".git", ".build", ".cache", "__pycache__", ".pyc", ".tar.gz", ".retry", ".swp", "~", ".orig", ".log")


def run(folder: Path, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    result = subprocess.run(
        [str(BIN / command[0]), *command[1:]],
        cwd=folder,
        env={**os.environ, "ANSIBLE_NOCOLOR": "1", "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, f"{' '.join(command)}\n{result.stdout}\n{result.stderr}"
    return result


def elsewhere(installed: Path, folder: Path) -> dict[str, str]:
    """The environment of a user who has nothing but the installed collection and those of the package ansible."""
    configuration = folder / "ansible.cfg"
    configuration.write_text("[defaults]\n", encoding="utf-8")
    return {"ANSIBLE_COLLECTIONS_PATH": str(installed), "ANSIBLE_CONFIG": str(configuration)}


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a clone would hold, so that a developer's other files do not matter, beside what a working copy collects."""
    folder = tmp_path_factory.mktemp("checkout")
    names = subprocess.run(["git", "ls-files", "-z"], cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
    for name in filter(None, names.split("\0")):
        if (REPOSITORY / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(REPOSITORY / name, folder / name)
    for name in (
        ".build/venv/x",
        ".mypy_cache/x",
        "plugins/modules/__pycache__/x.pyc",
        "katagpu-cluster-0.0.1.tar.gz",
        ".git/config",
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("left behind\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def tarball(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    run(checkout, "ansible-galaxy", "collection", "build", "--output-path", str(folder))
    (built,) = folder.glob("*.tar.gz")
    return built


@pytest.fixture(scope="module")
def names(tarball: Path) -> list[str]:
    with tarfile.open(tarball) as archive:
        return [member.name for member in archive.getmembers() if member.isfile()]


@pytest.fixture(scope="module")
def installed(tarball: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("collections")
    # Forced, and with that path only: a copy that the user has elsewhere would otherwise count as installed already.
    run(
        folder,
        *(
            "ansible-galaxy",
            "collection",
            "install",
            "--no-deps",
            "--offline",
            "--force",
            "-p",
            str(folder),
            str(tarball),
        ),
        ANSIBLE_COLLECTIONS_PATH=str(folder),
    )
    return folder


def test_the_name_is_that_of_the_version(tarball: Path) -> None:
    galaxy = yaml.safe_load((REPOSITORY / "galaxy.yml").read_text(encoding="utf-8"))
    assert tarball.name == f"{galaxy['namespace']}-{galaxy['name']}-{galaxy['version']}.tar.gz"


def test_only_the_product_is_in_it(names: list[str]) -> None:
    top = {name.split("/")[0] for name in names}
    assert top - FOLDERS - FILES == set(), "not part of the product"
    assert top >= FOLDERS | FILES, "missing"


def test_nothing_left_behind_is_in_it(names: list[str]) -> None:
    found = [name for name in names if any(part.endswith(JUNK) or part.startswith(".") for part in name.split("/"))]
    assert found == []


def test_the_lab_stays_out(names: list[str]) -> None:
    assert [name for name in names if name.startswith(("inventories/lab", "tests", "molecule"))] == []
    assert any(name.startswith("inventories/example_mixed/") for name in names)


def test_every_role_plugin_and_playbook_is_in_it(names: list[str]) -> None:
    folders = ("roles", "plugins", "playbooks")
    tracked = subprocess.run(
        ["git", "ls-files", "-z", *folders], cwd=REPOSITORY, capture_output=True, text=True, check=True
    ).stdout.split("\0")
    wanted = {name for name in tracked if name and (REPOSITORY / name).is_file()}
    assert wanted and wanted <= set(names)


def test_it_is_small(tarball: Path) -> None:
    assert tarball.stat().st_size < 1_000_000


@pytest.mark.parametrize("playbook", ["site", "preflight", "hosts", "cluster", "verify", "artifacts"])
def test_playbooks_run_by_full_name_from_an_empty_folder(installed: Path, tmp_path: Path, playbook: str) -> None:
    """From the installed path and the collections of the environment, and not from the checkout."""
    inventory = "kata_nodes:\n  hosts:\n    gpu-01.example.com:\ncontainer_nodes:\n  hosts:\n    gpu-02.example.com:\n"
    (tmp_path / "inventory.yml").write_text(inventory, encoding="utf-8")
    run(
        tmp_path,
        "ansible-playbook",
        f"katagpu.cluster.{playbook}",
        "-i",
        "inventory.yml",
        "--syntax-check",
        **elsewhere(installed, tmp_path),
    )


def test_preflight_begins_from_there_and_refuses_an_unknown_release(installed: Path, tmp_path: Path) -> None:
    """A run, not only a parse: plugins, release data and argument specs are found in the installed collection."""
    (tmp_path / "inventory.yml").write_text("kata_nodes:\n  hosts:\n    gpu-01.example.com:\n", encoding="utf-8")
    command = [
        str(BIN / "ansible-playbook"),
        "katagpu.cluster.preflight",
        "-i",
        "inventory.yml",
        "-e",
        "katagpu_release=1.0",
    ]
    result = subprocess.run(
        command,
        cwd=tmp_path,
        env={
            **os.environ,
            **elsewhere(installed, tmp_path),
            "KUBECONFIG": "/dev/null",
            "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    text = result.stdout + result.stderr
    assert result.returncode != 0
    assert "katagpu_release" in text and "23.9" in text, text
    assert str(REPOSITORY) not in text.replace(str(BIN), "").replace(sys.prefix, "")


def test_documentation_is_found_in_the_installed_collection(installed: Path, tmp_path: Path) -> None:
    listed = run(tmp_path, "ansible-doc", "-l", "katagpu.cluster", **elsewhere(installed, tmp_path)).stdout
    for name in ("kernel_cmdline", "pci_info", "vfio_binding", "node_labels"):
        assert f"katagpu.cluster.{name}" in listed
