# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""After all other tests: what the collection did with its rights, by the logs of the API servers. A right that nobody used is
one too many, unless there is a reason why the tests do without it.
"""

from __future__ import annotations

import pytest

from tests.integration import rights


@pytest.fixture(scope="module", params=["26.7", "23.9"])
def usage(request: pytest.FixtureRequest) -> rights.Usage:
    logs = rights.logs()
    assert logs, "no test has run that uses the rights"
    return rights.over_all(request.param, logs)


def test_nothing_was_refused(usage: rights.Usage) -> None:
    assert [str(call) for call in usage.refused] == []


def test_every_right_was_used(usage: rights.Usage) -> None:
    print(f"release {usage.releases[0]}: {usage.calls} calls, {len(usage.grants)} rights, {len(usage.unused)} not used")
    assert sorted(f"{one.user}: {one}" for one in usage.unused if not rights.reason(one)) == []
