# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.katagpu.cluster.plugins.module_utils._errors import KatagpuError
from ansible_collections.katagpu.cluster.plugins.plugin_utils import _manifests

DOCUMENTATION = r"""
name: replaced_images
short_description: Take the images of manifests from elsewhere
version_added: 1.0.0
author:
  - katagpu contributors (@katagpu)
description:
  - Replaces names of container images, and keeps their tags and digests.
positional: _input, images
options:
  _input:
    description: Manifests.
    type: list
    elements: dict
    required: true
  images:
    description: Other names by the name of an image, both without tag.
    type: dict
    required: true
"""

EXAMPLES = r"""
---
- name: Take an image from a mirror
  ansible.builtin.set_fact:
    manifests: "{{ upstream | katagpu.cluster.replaced_images(images={'quay.io/example/image': 'registry.example.com/image'}) }}"
"""

RETURN = r"""
_value:
  description: The manifests.
  type: list
"""


def replaced_images(*arguments: Any, **options: Any) -> Any:
    try:
        return _manifests.replaced_images(*arguments, **options)
    except KatagpuError as error:
        raise AnsibleFilterError(f"replaced_images: {error}") from error


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"replaced_images": replaced_images}
