# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.katagpu.cluster.plugins.module_utils._boot import facts, grub_defaults, tokens
from ansible_collections.katagpu.cluster.plugins.module_utils._errors import KatagpuError
from ansible_collections.katagpu.cluster.plugins.module_utils._root import HostRoot
from tests.unit.plugins.module_utils._boot import grub_host

CERTAIN = [name for name in grub_host.HOSTS if name != "script"]
PATH = "/etc/default/grub"


def evaluate(text: str, *gone: str) -> grub_defaults.Evaluation:
    return grub_defaults.evaluate({PATH: text}, lambda token: token.key in gone)


@pytest.mark.parametrize("name", CERTAIN)
def test_values_are_those_that_a_shell_computes(name: str, tmp_path: Path) -> None:
    root = grub_host.build(name, tmp_path)
    evaluation = grub_defaults.evaluate(facts.read_facts(HostRoot(str(root)))["files"])
    always, normal = grub_host.shell_values(root)
    assert evaluation.uncertain == []
    assert (evaluation.values.get(grub_defaults.ALWAYS, ""), evaluation.values.get(grub_defaults.NORMAL, "")) == (
        always,
        normal,
    )
    if "expected" in grub_host.load(name):
        assert str(evaluation.line) == grub_host.load(name)["expected"]


@pytest.mark.parametrize("name", CERTAIN)
def test_after_a_removal_a_shell_sees_all_other_tokens(name: str, tmp_path: Path) -> None:
    root = grub_host.build(name, tmp_path)
    files = facts.read_facts(HostRoot(str(root)))["files"]
    before = [token.text for value in grub_host.shell_values(root) for token in tokens.parse(value).tokens]
    gone = {"quiet", "iommu", "intel_iommu", "amd_iommu", "dyndbg", "nosplash", "crashkernel"}
    for path, text in grub_defaults.evaluate(files, lambda token: token.key in gone).texts.items():
        (root / path.lstrip("/")).write_bytes(text.encode())
    after = [token.text for value in grub_host.shell_values(root) for token in tokens.parse(value).tokens]
    assert after == [text for text in before if tokens.token(text).key not in gone]


WORD = st.text(alphabet="ab=$ \"\\'`#\n", max_size=12)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["double", "single", "none"]), WORD), max_size=4))
def test_quoting_agrees_with_a_shell(pieces: list[tuple[str, str]]) -> None:
    text = "EXTRA='x y'\nGRUB_CMDLINE_LINUX=" + "".join(_quoted(kind, content) for kind, content in pieces) + "\n"
    expected = subprocess.run(
        ["sh", "-c", f'{text}printf %s "$GRUB_CMDLINE_LINUX"'], env={}, check=True, capture_output=True
    ).stdout.decode()
    evaluation = evaluate(text)
    assert evaluation.uncertain == []
    assert evaluation.values[grub_defaults.ALWAYS] == expected
    assert evaluation.texts[PATH] == text


def _quoted(kind: str, content: str) -> str:
    if kind == "single":
        return "'" + content.replace("'", "") + "'"
    if kind == "double":
        safe = content.replace("`", "").replace("$", "${EXTRA}")
        return '"' + safe.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return "".join("\\" + char for char in content if char != "\n")


@given(st.lists(st.sampled_from(["a", "b=1", "iommu=off", 'c=\\"x y\\"', "quiet"]), max_size=8), st.booleans())
def test_removing_twice_is_removing_once(words: list[str], export: bool) -> None:
    text = f'# iommu=off\n{"export " if export else ""}GRUB_CMDLINE_LINUX="{"  ".join(words)}" # iommu=off\nX="iommu=off"\n'
    once = evaluate(text, "iommu").texts[PATH]
    assert evaluate(once, "iommu").texts[PATH] == once
    assert once.startswith("# iommu=off\n") and once.endswith('" # iommu=off\nX="iommu=off"\n')
    assert [token.text for token in evaluate(once).line.tokens] == [
        word.replace("\\", "") for word in words if word != "iommu=off"
    ]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('GRUB_CMDLINE_LINUX="quiet a"\n', 'GRUB_CMDLINE_LINUX="a"\n'),
        ("GRUB_CMDLINE_LINUX='a quiet'\n", "GRUB_CMDLINE_LINUX='a'\n"),
        ("GRUB_CMDLINE_LINUX=quiet\n", "GRUB_CMDLINE_LINUX=\n"),
        ('A=b\nGRUB_CMDLINE_LINUX="$A quiet"\n', 'A=b\nGRUB_CMDLINE_LINUX="$A"\n'),
        ('GRUB_CMDLINE_LINUX="${A} quiet c"\n', 'GRUB_CMDLINE_LINUX="${A} c"\n'),
        ('  export\tGRUB_CMDLINE_LINUX="a \\\n quiet b"; X=1\n', '  export\tGRUB_CMDLINE_LINUX="a\\\n b"; X=1\n'),
        # B18: names that only begin alike, comments and text in other variables are not ours to touch.
        ('GRUB_CMDLINE_LINUX_RECOVERY="quiet"\n', 'GRUB_CMDLINE_LINUX_RECOVERY="quiet"\n'),
        ('MY_GRUB_CMDLINE_LINUX="quiet"\n', 'MY_GRUB_CMDLINE_LINUX="quiet"\n'),
        ('#GRUB_CMDLINE_LINUX="quiet"\n', '#GRUB_CMDLINE_LINUX="quiet"\n'),
        ('X="\nGRUB_CMDLINE_LINUX=quiet\n"\n', 'X="\nGRUB_CMDLINE_LINUX=quiet\n"\n'),
        ('GRUB_CMDLINE_LINUX="quietly"', 'GRUB_CMDLINE_LINUX="quietly"'),
    ],
)
def test_only_the_token_is_cut(before: str, after: str) -> None:
    assert evaluate(before, "quiet").texts[PATH] == after


@pytest.mark.parametrize(
    "text",
    [
        'if true; then GRUB_CMDLINE_LINUX="a"; fi\n',
        '[ -e /x ] && GRUB_CMDLINE_LINUX="a"\n',
        "GRUB_CMDLINE_LINUX=$(cat /x)\n",
        "A=`cat /x`\nGRUB_CMDLINE_LINUX=$A\n",
        'GRUB_CMDLINE_LINUX="${A:-b}"\n',
        ". /etc/other\n",
        "unset GRUB_CMDLINE_LINUX\n",
        'GRUB_CMDLINE_LINUX+=" a"\n',
        "f() { GRUB_CMDLINE_LINUX=a; }\n",
        "case $x in a) GRUB_CMDLINE_LINUX=a;; esac\n",
        "GRUB_CMDLINE_LINUX=a true\n",
        "cat <<END\nGRUB_CMDLINE_LINUX=a\nEND\n",
    ],
)
def test_what_only_a_shell_can_tell_is_said(text: str) -> None:
    assert evaluate(text).uncertain


@pytest.mark.parametrize(
    "text",
    [
        "GRUB_DISTRIBUTOR=`( . /etc/os-release; echo ${NAME:-Debian} ) 2>/dev/null || echo Debian`\n",
        'if [ "${A}" = "x" ]; then\n  GRUB_TIMEOUT=3\nfi\nGRUB_CMDLINE_LINUX=a\n',
        "export GRUB_CMDLINE_LINUX\n",
        "A=$(date)\nA=b\nGRUB_CMDLINE_LINUX=$A\n",
    ],
)
def test_what_has_no_say_in_the_arguments_is_no_doubt(text: str) -> None:
    assert evaluate(text).uncertain == []


def test_an_open_quote_names_file_and_line() -> None:
    with pytest.raises(KatagpuError, match=r"/etc/default/grub: line 2: the quote .* Nothing was changed\. Fix:"):
        evaluate('A=1\nGRUB_CMDLINE_LINUX="a\n')
