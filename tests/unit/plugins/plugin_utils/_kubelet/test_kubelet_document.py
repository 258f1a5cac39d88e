# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The merge: what is wanted is there, what others wrote stays, and nothing ambiguous is read."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.katagpu.cluster.plugins.module_utils._errors import KatagpuError
from ansible_collections.katagpu.cluster.plugins.plugin_utils._kubelet import document, meaning
from ansible_collections.katagpu.cluster.plugins.plugin_utils._kubelet.document import LINES, REWRITE, UNCHANGED, edit

HEAD = "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n"
WANTED = {"runtimeRequestTimeout": "20m", "featureGates": {"KubeletPodResourcesGet": True}}
# As kubeadm writes it, shortened.
KUBEADM = """apiVersion: kubelet.config.k8s.io/v1beta1
authentication:
  anonymous:
    enabled: false
  x509:
    clientCAFile: /etc/kubernetes/pki/ca.crt
cgroupDriver: systemd
clusterDNS:
- 10.96.0.10
cpuManagerReconcilePeriod: 0s
kind: KubeletConfiguration
memorySwap: {}
runtimeRequestTimeout: 0s
volumeStatsAggPeriod: 0s
"""


def test_a_file_of_kubeadm_changes_in_two_lines() -> None:
    edited = edit(KUBEADM, WANTED, "f")
    assert edited.method == LINES
    assert edited.text == KUBEADM.replace("runtimeRequestTimeout: 0s", "runtimeRequestTimeout: 20m") + (
        "featureGates:\n  KubeletPodResourcesGet: true\n"
    )
    assert [change.as_dict() for change in edited.changes] == [
        {"key": "runtimeRequestTimeout", "before": "0s", "after": "20m"},
        {"key": "featureGates.KubeletPodResourcesGet", "before": None, "after": True},
    ]
    assert edit(edited.text, WANTED, "f") == document.Edited(edited.text, UNCHANGED, ())


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("featureGates:\n  Mine: true # why\n\n# end\n", "featureGates:\n  Mine: true # why\n  X: true\n\n# end\n"),
        ("featureGates:\n    X: false   # off\nmaxPods: 9\n", "featureGates:\n    X: true   # off\nmaxPods: 9\n"),
        ("featureGates:   # none yet\nmaxPods: 9\n", "featureGates: {X: true}   # none yet\nmaxPods: 9\n"),
        ("featureGates: {}\n", "featureGates: {X: true}\n"),
        ("featureGates: {Mine: true}", "featureGates: {Mine: true, X: true}"),
        ("featureGates: null\n", "featureGates: {X: true}\n"),
        ("maxPods: 9", "maxPods: 9\nfeatureGates:\n  X: true\n"),
        ("maxPods: 9\n...\n", "maxPods: 9\nfeatureGates:\n  X: true\n...\n"),
        ("clusterDNS:\n- 10.96.0.10\n", "clusterDNS:\n- 10.96.0.10\nfeatureGates:\n  X: true\n"),
        ('"featureGates":\n  "X": "false"\n', '"featureGates":\n  "X": true\n'),
    ],
)
def test_other_lines_stay(before: str, after: str) -> None:
    edited = edit(HEAD + before, {"featureGates": {"X": True}}, "f")
    assert (edited.text, edited.method) == (HEAD + after, LINES)


def test_line_ends_of_the_file_are_used() -> None:
    text = HEAD.replace("\n", "\r\n")
    assert edit(text, WANTED, "f").text == text + (
        "runtimeRequestTimeout: 20m\r\nfeatureGates:\r\n  KubeletPodResourcesGet: true\r\n"
    )


@pytest.mark.parametrize(
    "body",
    [
        "x: &gates {Mine: true}\nfeatureGates: *gates\n",
        "base: &base {Mine: true}\nfeatureGates:\n  <<: *base\n  Mine: &m false\n  Other: *m\n",
        "featureGates: {Mine: true, }\n",
        "text: |\n  some\n  lines\n",
    ],
)
def test_what_lines_cannot_say_is_written_anew_with_the_same_values(body: str) -> None:
    edited = edit(HEAD + body, {"featureGates": {"X": True}}, "f")
    before, after = yaml.safe_load(HEAD + body), yaml.safe_load(edited.text)
    assert after["featureGates"].pop("X") is True
    if "featureGates" not in before:
        assert after.pop("featureGates") == {}
    assert after == before
    assert edited.method in (LINES, REWRITE)


def test_an_anchor_is_not_changed_at_its_other_places() -> None:
    edited = edit(HEAD + "x: &gates {Mine: true}\nfeatureGates: *gates\n", {"featureGates": {"X": True}}, "f")
    after = yaml.safe_load(edited.text)
    assert edited.method == REWRITE
    assert after["x"] == {"Mine": True} and after["featureGates"] == {"Mine": True, "X": True}


def test_json_stays_json() -> None:
    before = {"kind": "KubeletConfiguration", "apiVersion": document.API_VERSION, "evictionHard": {"a": "1%"}}
    for text in (json.dumps(before, indent=2), json.dumps(before)):
        after = json.loads(edit(text, WANTED, "f").text)
        assert after == {**before, **WANTED}


def test_a_list_is_replaced_as_a_whole() -> None:
    edited = edit(HEAD + "clusterDNS:\n- 10.96.0.10\n", {"clusterDNS": ["192.0.2.1"]}, "f")
    assert edited.method == REWRITE and yaml.safe_load(edited.text)["clusterDNS"] == ["192.0.2.1"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HEAD + "featureGates:\n  A: true\nmaxPods: 1\nfeatureGates:\n  B: true\n", "line 6: the key featureGates"),
        (HEAD + "featureGates:\n  A: true\n  A: false\n", "line 5: the key A is there already, in line 4"),
        (HEAD + "featureGates: {A: true, A: false}\n", "line 3: the key A"),
        (HEAD + "a: [{b: 1, b: 2}]\n", "line 3: the key b"),
        ('{"kind": "KubeletConfiguration", "kind": "x"}', "line 1: the key kind"),
        (HEAD + "a: [\n", "is not valid YAML"),
        (HEAD + "---\n" + HEAD, "2 YAML documents"),
        ("kind: Config\n", "is not a KubeletConfiguration"),
        ("", "is not a KubeletConfiguration"),
        (HEAD + "featureGates: [a]\n", "featureGates is ['a'], not a mapping"),
        (HEAD + "featureGates: yes please\n", "not a mapping"),
    ],
)
def test_a_broken_file_is_refused_with_its_place(text: str, message: str) -> None:
    with pytest.raises(KatagpuError) as error:
        edit(text, WANTED, "/etc/f.yaml")
    assert message in str(error.value) and str(error.value).startswith("/etc/f.yaml")


@pytest.mark.parametrize(
    ("current", "wanted", "good"),
    [
        ("20m", "20m", True),
        ("20m0s", "20m", True),
        ("1200s", "20m", True),
        ("0.5h", "20m", True),
        ("1h", "20m", True),
        ("19m59s", "20m", False),
        ("2m", "20m", False),
        ("0s", "20m", False),
        ("-30m", "20m", False),
        ("20", "20m", False),
        (1200, "20m", False),
        (None, "20m", False),
    ],
)
def test_a_longer_timeout_is_as_good(current: Any, wanted: str, good: bool) -> None:
    assert meaning.fits(("runtimeRequestTimeout",), current, wanted) is good


def test_other_durations_are_compared_by_meaning() -> None:
    assert meaning.fits(("syncFrequency",), "1m", "60s") and not meaning.fits(("syncFrequency",), "2m", "60s")
    assert meaning.fits(("nodeLeaseDurationSeconds",), 40, 40)
    assert not meaning.fits(("featureGates", "X"), 1, True) and not meaning.fits(("featureGates", "X"), "true", True)


def test_what_cannot_be_merged_is_told_at_once() -> None:
    wrong = meaning.problems({"kind": "x", "a": None, "b": {1: 2}, "c": {}})
    assert len(wrong) == 4
    assert meaning.problems([]) == ["config must be a mapping, it is []"]


KEYS = st.text("abcXYZ_-. é#:", min_size=1, max_size=6)
SCALARS = st.one_of(
    st.booleans(),
    st.integers(-99, 99),
    st.sampled_from(["", "20m", "yes", "null", "1e3", "a: b", "# no", "é", "2020-01-01"]),
)
TREES = st.recursive(
    st.dictionaries(KEYS, SCALARS, max_size=4),
    lambda inner: st.dictionaries(KEYS, st.one_of(SCALARS, inner, st.lists(SCALARS, max_size=3)), max_size=4),
    max_leaves=12,
)
WISHES = st.dictionaries(KEYS, st.one_of(SCALARS, st.dictionaries(KEYS, SCALARS, min_size=1, max_size=3)), max_size=3)
STYLES = st.sampled_from([None, False, True])


@settings(max_examples=150, deadline=None)
@given(base=TREES, wanted=WISHES, flow=STYLES)
def test_merged_once_is_merged_for_good_and_others_keys_stay(
    base: dict[str, Any], wanted: dict[str, Any], flow: Any
) -> None:
    data = {"kind": document.KIND, **{key: value for key, value in base.items() if key != "kind"}}
    # Unwrapped, so that one value is on one line and the lines can be counted below.
    text = yaml.safe_dump(data, sort_keys=False, default_flow_style=flow, allow_unicode=True, width=4096)
    try:
        edited = edit(text, wanted, "f")
    except KatagpuError as error:
        assert "not a mapping" in str(error)
        return
    after = yaml.safe_load(edited.text)
    assert edit(edited.text, wanted, "f").method == UNCHANGED
    for path, value in meaning.leaves(wanted):
        assert meaning.fits(path, meaning.at(after, path), value)
    mine = {path for path, _value in meaning.leaves(wanted)}
    for path, value in meaning.leaves(data):
        # A mapping that becomes a value takes what was in it along.
        if not any(path[: len(one)] == one for one in mine):
            assert meaning.at(after, path) == value
    if edited.method == LINES:
        kept = edited.text.splitlines()
        changed = [line for line in text.splitlines() if line not in kept]
        assert len(changed) <= len(edited.changes)
