# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Errors and diffs without what may be secret in them."""

from __future__ import annotations

import base64
import json

import pytest
import yaml

from ansible_collections.katagpu.cluster.plugins.plugin_utils import _helm, _secrets
from ansible_collections.katagpu.cluster.plugins.plugin_utils._kubelet import document

SECRET = 'hush "hush"\nand again'
VALUES = {"toolkit": {"env": [{"name": "API_KEY", "value": SECRET}], "enabled": True}, "short": "kata"}


@pytest.mark.parametrize(
    "form",
    [SECRET, json.dumps(SECRET), " ".join(SECRET.split()), base64.b64encode(SECRET.encode()).decode()],
    ids=["plain", "json", "one line", "base64"],
)
def test_a_value_is_taken_out_however_it_is_written(form: str) -> None:
    told = _helm.error_text({"stderr": f"Error: {form} is no kata number"}, VALUES)
    assert (
        told
        == f"Helm failed: Error: {'(hidden)' if form[0] != chr(34) else chr(34) + '(hidden)' + chr(34)} is no kata number"
    )


def test_an_error_says_what_there_is_to_say() -> None:
    assert _helm.error_text({"msg": "no such  chart"}) == "Helm failed: no such chart"
    assert _helm.error_text({}) == "Helm failed: it gave no reason"
    assert _helm.error_text({"stderr": "kata is true"}, VALUES) == "Helm failed: kata is true"


def test_a_number_may_be_a_password_and_a_switch_is_none() -> None:
    values = {"driver": {"token": 1234567890, "port": 8080, "enabled": True}}
    told = _helm.error_text({"stderr": "Error: 1234567890 is no text, port 8080, enabled True"}, values)
    assert told == "Helm failed: Error: (hidden) is no text, port 8080, enabled True"


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (
            "GET https://me:pass@charts.example.com/index.yaml: 401",
            "GET https://(hidden)@charts.example.com/index.yaml: 401",
        ),
        ("oci://token@registry.example.com/a", "oci://(hidden)@registry.example.com/a"),
        ("https://example.com/a@b", "https://example.com/a@b"),
        ("at https://example.com to me@example.com", "at https://example.com to me@example.com"),
    ],
)
def test_an_account_in_an_address_is_never_shown(said: str, shown: str) -> None:
    assert _secrets.without(said, ()) == shown


def test_a_text_within_another_hides_both() -> None:
    assert _secrets.without("password-1 password-12", {"password-1", "password-12"}) == "(hidden) (hidden)"


def test_headers_for_static_pods_are_secrets_of_a_kubelet() -> None:
    header = {"Authorization": ["Bearer abcdef"], "X-Trace": ["on"]}
    text = yaml.safe_dump(
        {"kind": "KubeletConfiguration", "clusterDomain": "cluster.local", "staticPodURLHeader": header}
    )
    assert document.secrets(text) == {"Bearer abcdef"}
    assert document.secrets("a: b") == document.secrets("- a") == document.secrets("{") == set()
