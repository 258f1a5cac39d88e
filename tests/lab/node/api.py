# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A small client of the Kubernetes API: standard library only, one kept connection per thread."""

from __future__ import annotations

import http.client
import json
import ssl
import threading
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .behaviour import Json

TIMEOUT = 15.0
WATCH_SILENCE = 100.0  # the API server sends a bookmark about once a minute


class ApiError(Exception):
    """The API answered with an error status."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(f"{status} {reason}: {message}")
        self.status = status
        self.reason = reason


class Api:
    """Requests with a bearer token or with a client certificate. Connection troubles are raised as OSError.

    The API server notes C(name) beside the fields of objects that are written (managedFields).
    """

    def __init__(
        self,
        server: str,
        ca_file: str | Path,
        token: str = "",
        certificate: tuple[str | Path, str | Path] | None = None,
        name: str = "katagpu-lab",
    ) -> None:
        parts = urllib.parse.urlsplit(server)
        self._host, self._port = parts.hostname or "", parts.port or 443
        self._context = ssl.create_default_context(cafile=str(ca_file))
        if certificate:
            self._context.load_cert_chain(str(certificate[0]), str(certificate[1]))
        self._headers = {"Accept": "application/json", "User-Agent": name}
        if token:
            self._headers["Authorization"] = f"Bearer {token}"
        self._local = threading.local()

    def _connect(self, timeout: float) -> http.client.HTTPSConnection:
        return http.client.HTTPSConnection(self._host, self._port, timeout=timeout, context=self._context)

    def request(self, method: str, path: str, body: Any = None, content: str = "application/json", **query: str) -> str:
        target = path + ("?" + urllib.parse.urlencode(query) if query else "")
        data = None if body is None else json.dumps(body).encode()
        headers = {**self._headers, **({"Content-Type": content} if data is not None else {})}
        for attempt in (1, 2):
            connection = getattr(self._local, "connection", None)
            kept = connection is not None
            if connection is None:
                connection = self._local.connection = self._connect(TIMEOUT)
            try:
                connection.request(method, target, data, headers)
                response = connection.getresponse()
                text = response.read().decode()
                break
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                self._local.connection = None
                # A kept connection may have been closed by the server; only then is a second try harmless.
                if not kept or attempt == 2:
                    raise OSError(f"{method} {path}: {type(error).__name__}: {error}") from error
        if response.status >= 400:
            raise error_of(response.status, text)
        return text

    def _json(self, method: str, path: str, body: Any = None, content: str = "application/json", **query: str) -> Json:
        result: Json = json.loads(self.request(method, path, body, content, **query))
        return result

    def get(self, path: str, **query: str) -> Json:
        return self._json("GET", path, **query)

    def create(self, path: str, body: Json) -> Json:
        return self._json("POST", path, body)

    def replace(self, path: str, body: Json) -> Json:
        return self._json("PUT", path, body)

    def merge_patch(self, path: str, body: Json) -> Json:
        return self._json("PATCH", path, body, "application/merge-patch+json")

    def strategic_patch(self, path: str, body: Json) -> Json:
        return self._json("PATCH", path, body, "application/strategic-merge-patch+json")

    def delete(self, path: str, grace_seconds: int | None = None, uid: str = "") -> Json:
        options: Json = {"apiVersion": "v1", "kind": "DeleteOptions"}
        if grace_seconds is not None:
            options["gracePeriodSeconds"] = grace_seconds
        if uid:
            options["preconditions"] = {"uid": uid}
        return self._json("DELETE", path, options)

    def watch(self, path: str, version: str, **query: str) -> Iterator[tuple[str, Json]]:
        """Events after `version` until the server ends the watch. Raises ApiError (410: too old) or OSError."""
        options = {"watch": "1", "resourceVersion": version, "allowWatchBookmarks": "true", "timeoutSeconds": "600"}
        connection = self._connect(WATCH_SILENCE)
        try:
            connection.request("GET", f"{path}?{urllib.parse.urlencode({**options, **query})}", None, self._headers)
            response = connection.getresponse()
            if response.status >= 400:
                raise error_of(response.status, response.read().decode())
            while line := response.readline():
                event = json.loads(line)
                if event["type"] == "ERROR":
                    status = event["object"]
                    raise ApiError(int(status.get("code", 500)), status.get("reason", ""), status.get("message", ""))
                yield event["type"], event["object"]
        except http.client.HTTPException as error:
            raise OSError(f"watch {path}: {type(error).__name__}: {error}") from error
        finally:
            connection.close()


def error_of(status: int, text: str) -> ApiError:
    try:
        body = json.loads(text)
    except ValueError:
        body = {}
    return ApiError(status, str(body.get("reason", "")), str(body.get("message", text[:200])))
