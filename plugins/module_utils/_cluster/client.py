# Copyright (c) 2026, katagpu contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A small JSON client of the Kubernetes API.

The C(kubernetes) package reads the credentials and owns the connections; objects stay plain dicts, because turning a
list of a thousand nodes into model classes costs more than the request.
"""

from __future__ import annotations

import json
import os
import traceback
from typing import Any, Dict, Iterator, List, Mapping, Optional
from urllib.parse import quote

try:
    from typing import Protocol
except ImportError:  # pragma: no cover
    Protocol = object  # type: ignore[assignment]

from ansible_collections.katagpu.cluster.plugins.module_utils._errors import KatagpuError

IMPORT_ERROR: Optional[str] = None
try:
    import urllib3
    import yaml
    from kubernetes import client as kubernetes_client
    from kubernetes import config as kubernetes_config
except ImportError:
    IMPORT_ERROR = traceback.format_exc()

JSON = "application/json"
MERGE_PATCH = "application/merge-patch+json"
# The answer to a patch is the whole object, unless less is asked for; a Node lists all of its images.
METADATA = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1," + JSON
METADATA_LIST = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1," + JSON

CONNECT_SECONDS = 5.0
READ_SECONDS = 60.0
# The server ends a watch after this time, so a dead connection is noticed and opened again.
WATCH_SECONDS = 120


class ApiError(KatagpuError):
    """The API answered, and the answer is not a success."""

    def __init__(self, status: int, message: str, where: str) -> None:
        super().__init__(f"{where}: {status} {message}".rstrip())
        self.status = status
        self.message = message


class ApiUnreachable(KatagpuError):
    """There was no answer."""


class Api(Protocol):
    """What the rest of the collection needs of the API."""

    requests: int

    def get(self, path: str, query: Optional[Mapping[str, str]] = None, accept: str = JSON) -> Dict[str, Any]: ...

    def patch(self, path: str, body: Mapping[str, Any], content_type: str = MERGE_PATCH) -> Dict[str, Any]: ...

    def post(self, path: str, body: Mapping[str, Any]) -> Dict[str, Any]: ...

    def watch(self, path: str, query: Mapping[str, str]) -> Iterator[Dict[str, Any]]: ...


class KubernetesApi:
    """The real one. Methods may be called from several threads."""

    def __init__(self, kubeconfig: Optional[str] = None, context: Optional[str] = None, connections: int = 16) -> None:
        if IMPORT_ERROR is not None:
            raise KatagpuError("The Python package kubernetes is missing on the controller.")
        self.requests = 0
        self._client = _load(kubeconfig, context, connections)
        self.host = str(self._client.configuration.host).rstrip("/")

    def get(self, path: str, query: Optional[Mapping[str, str]] = None, accept: str = JSON) -> Dict[str, Any]:
        return self._call("GET", path, query, accept=accept, retries=2)

    def patch(self, path: str, body: Mapping[str, Any], content_type: str = MERGE_PATCH) -> Dict[str, Any]:
        return self._call("PATCH", path, None, body, content_type, accept=METADATA)

    def post(self, path: str, body: Mapping[str, Any]) -> Dict[str, Any]:
        return self._call("POST", path, None, body)

    def watch(self, path: str, query: Mapping[str, str]) -> Iterator[Dict[str, Any]]:
        """Events of one watch request, until the server ends it or the connection breaks."""
        asked = {"watch": "true", "timeoutSeconds": str(WATCH_SECONDS), "allowWatchBookmarks": "true", **query}
        response = self._open("GET", path, asked, None, JSON, JSON, WATCH_SECONDS + 15.0, False, 0)
        try:
            if response.status >= 400:
                raise _error(response.status, response.read(), path)
            pending = b""
            for chunk in response.stream(64 * 1024, decode_content=True):
                pending += chunk
                *lines, pending = pending.split(b"\n")
                for line in lines:
                    if line.strip():
                        yield json.loads(line)
        except urllib3.exceptions.HTTPError as error:
            raise ApiUnreachable(f"{self.host}: the watch of {path} broke: {_first_line(error)}") from error
        finally:
            response.close()

    def _call(
        self,
        method: str,
        path: str,
        query: Optional[Mapping[str, str]],
        body: Optional[Mapping[str, Any]] = None,
        content_type: str = JSON,
        accept: str = JSON,
        retries: int = 0,
    ) -> Dict[str, Any]:
        response = self._open(method, path, query, body, content_type, accept, READ_SECONDS, True, retries)
        if response.status >= 400:
            raise _error(response.status, response.data, f"{method} {path}")
        try:
            data = json.loads(response.data)
        except ValueError as error:
            raise ApiError(response.status, "the answer is not JSON", f"{method} {path}") from error
        return data if isinstance(data, dict) else {"items": data}

    def _open(
        self,
        method: str,
        path: str,
        query: Optional[Mapping[str, str]],
        body: Optional[Mapping[str, Any]],
        content_type: str,
        accept: str,
        seconds: float,
        preload: bool,
        retries: int,
    ) -> Any:
        self.requests += 1
        headers = {"Accept": accept, "User-Agent": "katagpu.cluster"}
        for setting in self._client.configuration.auth_settings().values():
            if setting.get("in") == "header" and setting.get("value"):
                headers[setting["key"]] = setting["value"]
        if body is not None:
            headers["Content-Type"] = content_type
        url = self.host + path
        if query:
            url += "?" + "&".join(f"{quote(key)}={quote(value)}" for key, value in query.items())
        try:
            return self._client.rest_client.pool_manager.request(
                method,
                url,
                body=None if body is None else json.dumps(body),
                headers=headers,
                timeout=urllib3.Timeout(connect=CONNECT_SECONDS, read=seconds),
                preload_content=preload,
                retries=urllib3.Retry(total=retries, redirect=False, backoff_factor=0.2),
            )
        except urllib3.exceptions.HTTPError as error:
            raise ApiUnreachable(f"The Kubernetes API at {self.host} does not answer: {_first_line(error)}") from error


def _load(kubeconfig: Optional[str], context: Optional[str], connections: int) -> Any:
    kubeconfig = kubeconfig or os.environ.get("K8S_AUTH_KUBECONFIG") or None
    context = context or os.environ.get("K8S_AUTH_CONTEXT") or None
    if kubeconfig:
        kubeconfig = os.path.expanduser(kubeconfig)
        if not os.path.isfile(kubeconfig):
            raise ApiUnreachable(f"The kubeconfig file {kubeconfig} does not exist.")
    configuration = kubernetes_client.Configuration()
    try:
        kubernetes_config.load_kube_config(config_file=kubeconfig, context=context, client_configuration=configuration)
    except kubernetes_config.ConfigException as error:
        if kubeconfig or context:
            raise ApiUnreachable(f"The kubeconfig cannot be used: {_first_line(error)}") from error
        try:
            kubernetes_config.load_incluster_config(client_configuration=configuration)
        except kubernetes_config.ConfigException:
            raise ApiUnreachable(
                "There are no credentials of a Kubernetes API: set katagpu_kubeconfig or K8S_AUTH_KUBECONFIG."
            ) from error
    except (ValueError, TypeError, KeyError, AttributeError, OSError, yaml.YAMLError) as error:
        raise ApiUnreachable(f"The kubeconfig {kubeconfig or ''} cannot be used: {_first_line(error)}") from error
    configuration.connection_pool_maxsize = connections
    return kubernetes_client.ApiClient(configuration)


def _error(status: int, data: bytes, where: str) -> ApiError:
    try:
        message = str(json.loads(data).get("message", ""))
    except (ValueError, AttributeError):
        message = data[:200].decode("utf-8", "replace")
    return ApiError(status, message, where)


def _first_line(error: BaseException) -> str:
    reason = getattr(error, "reason", None)
    return str(reason if reason is not None else error).splitlines()[0] if str(error) else type(error).__name__


def list_all(
    api: Api, path: str, query: Optional[Mapping[str, str]] = None, accept: str = JSON
) -> List[Dict[str, Any]]:
    """The items of a list, none where the kind is not known."""
    try:
        items = api.get(path, query, accept).get("items")
    except ApiError as error:
        if error.status == 404:
            return []
        raise
    return list(items or [])
