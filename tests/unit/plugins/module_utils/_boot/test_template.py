# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What kernel-install takes for a comment in /etc/kernel/cmdline stays one, and nothing of ours is lost in it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.katagpu.cluster.plugins.module_utils._boot import template, tokens, wishes
from tests.unit.plugins.module_utils._boot import loader_host

WANTED = wishes.read(["intel_iommu=on"], ["iommu=off"])


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("root=/dev/a quiet\n", "root=/dev/a quiet intel_iommu=on\n"),
        ("root=/dev/a quiet", "root=/dev/a quiet intel_iommu=on"),
        ("root=/dev/a\n# iommu=off was here\n", "root=/dev/a intel_iommu=on\n# iommu=off was here\n"),
        ("# of the host\nroot=/dev/a\nquiet iommu=off\n", "# of the host\nroot=/dev/a\nquiet intel_iommu=on\n"),
        ("root=/dev/a\n # intel_iommu=on", "root=/dev/a intel_iommu=on\n # intel_iommu=on"),
        ("intel_iommu=on\n# x\nintel_iommu=off\n", "# x\nintel_iommu=off intel_iommu=on\n"),
        ("# nothing yet", "# nothing yet\nintel_iommu=on\n"),
        ("", "intel_iommu=on\n"),
        ("root=/dev/a x=#1 #2\n", "root=/dev/a x=#1 #2 intel_iommu=on\n"),
    ],
)
def test_adjusted(before: str, after: str) -> None:
    assert template.adjusted(before, WANTED) == after
    assert template.adjusted(after, WANTED) == after


LINES = st.lists(
    st.sampled_from(
        ["# c iommu=off", "  #", "root=/dev/a quiet", "iommu=off", "intel_iommu=on a", "intel_iommu=off", ""]
    ),
    max_size=6,
)


@given(LINES, st.sampled_from(["", "\n"]))
def test_what_kernel_install_makes_of_it(lines: list[str], end: str) -> None:
    """The plugin's own pipe: grep -v of the comments, then tr."""
    text = "\n".join(lines) + end
    after = template.adjusted(text, WANTED)
    piped = subprocess.run(
        ["sh", "-c", "grep -Gv '^\\s*#' | tr -s ' \\t\\n' ' '"], input=after, capture_output=True, text=True, check=True
    ).stdout
    assert piped.split() == [token.text for token in template.arguments(after).tokens]
    assert WANTED.problems(tokens.parse(piped)) == ([], [])
    assert [line for line in after.split("\n") if "#" in line] == [line for line in text.split("\n") if "#" in line]
    assert template.adjusted(after, WANTED) == after


def test_a_comment_at_the_end_takes_nothing_from_future_kernels(tmp_path: Path) -> None:
    host = loader_host.Host(loader_host.build("debian12_systemd_boot", tmp_path))
    path = tmp_path / "etc/kernel/cmdline"
    before = path.read_text()
    path.write_text(f"{before}# quiet was asked for by the console team\n")
    host.ensure(["intel_iommu=on"], ["iommu=off"])
    assert path.read_text() == f"{before.rstrip()} intel_iommu=on\n# quiet was asked for by the console team\n"
    assert not host.ensure(["intel_iommu=on"], ["iommu=off"])["changed"]


def test_a_vendor_template_that_begins_with_a_comment_does_not_make_all_of_ours_one(tmp_path: Path) -> None:
    host = loader_host.Host(loader_host.build("hand_made_systemd_boot", tmp_path))
    (tmp_path / "usr/lib/kernel").mkdir(parents=True)
    (tmp_path / "usr/lib/kernel/cmdline").write_text("# of the vendor, iommu=off\nroot=LABEL=a\nquiet\n")
    host.ensure(["intel_iommu=on"], ["iommu=off"])
    assert (tmp_path / "etc/kernel/cmdline").read_text() == "root=LABEL=a quiet intel_iommu=on\n"


def test_with_grub_there_are_no_comments(tmp_path: Path) -> None:
    host = loader_host.Host(loader_host.build("rhel9", tmp_path))
    path = tmp_path / "etc/kernel/cmdline"
    path.write_text("# root=/dev/a iommu=off\n")
    host.ensure(["intel_iommu=on"], ["iommu=off"])
    assert path.read_text() == "# root=/dev/a intel_iommu=on\n"
