"""The client of FunctionGraph's API: sends authenticated requests and translates the responses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from urllib.parse import quote, urlencode

import requests
from requests.auth import AuthBase

from relay.errors import RelayError, TemporaryFailure
from relay.intents import ChangeCall
from relay.model import Json
from relay.outbound.responses import interrupted, translate
from relay.outbound.session import HttpClientFactory
from relay.outbound.token_cache import Clock
from relay.targets.changes import Change, FunctionName
from relay.targets.functiongraph.auth import Credentials
from relay.targets.functiongraph.errors import (
    ApiResponse,
    Effect,
    classify,
    malformed_response,
    read_response,
)
from relay.targets.functiongraph.named import (
    describe_name,
    named_function,
    named_package,
    shows_configuration,
)
from relay.targets.functiongraph.settings import FunctionGraphSettings
from relay.targets.other_function import OtherFunction

_EFFECTS: Mapping[ChangeCall, Effect] = {
    ChangeCall.CREATE: "create",
    ChangeCall.UPDATE_CODE: "replace",
    ChangeCall.UPDATE_CONFIGURATION: "replace",
}

MAX_RESPONSE = 4 * 2**20
"""Limit in bytes; a page of 400 functions with their configurations fits."""

PAGE_SIZE = 400
MAX_PAGES = 50
"""Limit of a search by name. The default quota of an account is 400 functions."""


@dataclass(frozen=True, slots=True)
class _Request:
    method: str
    path: str
    effect: Effect = "none"
    change: Change | None = None


class FunctionGraphClient:
    """Calls the API for a project. Thread-safe."""

    def __init__(
        self, settings: FunctionGraphSettings, outbound: HttpClientFactory, clock: Clock
    ) -> None:
        self._base = f"{settings.url}/v2/{settings.project_id}/fgs"
        self._project_id = settings.project_id
        self._clock = clock
        self._session = outbound.session(guarded=False, max_response=MAX_RESPONSE)
        self.credentials = Credentials(settings, outbound, clock)

    def call(
        self,
        method: str,
        path: str,
        *,
        change: Change | None = None,
        query: Mapping[str, str] | None = None,
        auth: AuthBase | None = None,
    ) -> Json:
        """Return the JSON of the response with `request_id` added.

        `path` follows /v2/{project_id}/fgs. `change` has the body of a call that changes something.
        `auth` defaults to the credentials that fit the size of the body. Raises the error from
        `classify` for an error response, and the error from `translate` if there is no response.
        """
        if query:
            # Encoded as for the signature: requests writes a space as '+', which gateways may keep.
            path += f"?{urlencode(query, quote_via=quote, safe='~')}"
        effect = _EFFECTS[change.call] if change else "none"
        request = _Request(method, path, effect, change)
        return self._parse(request, self._send_with_fallback(request, auth))

    def find(self, path: str) -> Json | None:
        """GET `path`; return None if FunctionGraph reports that the resource does not exist.

        A 404 from the API gateway means a wrong endpoint, so only FunctionGraph's own error codes
        count.
        """
        request = _Request("GET", path)
        response = self._send_with_fallback(request, None)
        if response.status_code == 404 and self._read(response).code.startswith("FSS."):
            return None
        return self._parse(request, response)

    def find_configuration(self, function: FunctionName, urn: str) -> Json | None:
        """Return the configuration of a function, or None if it does not exist.

        Everything that Relay knows about a function comes from here or `list_functions`. Raises
        TemporaryFailure if the response is not the configuration of this function.
        """
        fields = self.find(f"/functions/{quote(urn, safe='')}/config")
        return fields and self._checked(fields, function)

    def configuration(self, function: FunctionName, urn: str) -> Json:
        """Return the configuration of a function that exists. Raises as `find_configuration`."""
        fields = self.call("GET", f"/functions/{quote(urn, safe='')}/config")
        return self._checked(fields, function)

    def list_functions(self, function: FunctionName) -> Iterator[Json]:
        """Yield the configurations of the functions of this name, in any package.

        Raises as `find_configuration`.
        """
        marker = "0"
        for _ in range(MAX_PAGES):
            # The func_name filter is not documented everywhere and may be ignored: read all pages.
            query = {"func_name": function.func_name, "marker": marker, "maxitems": str(PAGE_SIZE)}
            page = self.call("GET", "/functions", query=query)
            functions = page.get("functions", 0) or []
            if "functions" not in page or not isinstance(functions, list):
                raise self._unexpected(page, "without a list of functions")
            for item in functions:
                if isinstance(item, dict) and item.get("func_name") == function.func_name:
                    named = replace(function, package=named_package(item) or function.package)
                    yield self._checked(item | {"request_id": page["request_id"]}, named)
            marker, previous = str(page.get("next_marker") or ""), marker
            if not functions or marker in ("", previous):
                return

    def check_change(self, response: Json, function: FunctionName) -> None:
        """Raise OutcomeUnknown if the response to a change does not name the function.

        OtherFunction if it names another.
        """
        named = named_function(response, function, self._project_id)
        if named is None:
            raise self._unexpected(response, describe_name(response), "replace")
        if named != function:
            raise OtherFunction(function, named, response.get("code_size"), response.get("digest"))

    def close(self) -> None:
        self._session.close()
        self.credentials.close()

    def _checked(self, fields: Json, function: FunctionName) -> Json:
        if not shows_configuration(fields, function, self._project_id):
            raise self._unexpected(fields, describe_name(fields))
        return fields

    def _unexpected(self, fields: Json, named: str, effect: Effect = "none") -> RelayError:
        response = ApiResponse(200, "", named, str(fields["request_id"]))
        return malformed_response(response, effect)

    def _send_with_fallback(self, request: _Request, auth: AuthBase | None) -> requests.Response:
        auth = auth or self.credentials.choose(len(request.change or b""))
        response = self._send(request, auth)
        if response.ok:
            return response
        fallback = self.credentials.fallback_auth(auth, self._read(response))
        return self._send(request, fallback) if fallback else response

    def _send(self, request: _Request, auth: AuthBase) -> requests.Response:
        try:
            return self._send_once(request, auth)
        except TemporaryFailure as failure:
            if request.effect != "none" or not _is_connection_loss(failure.__cause__):
                raise
            # The server may have closed the reused connection; a read is safe to repeat.
            return self._send_once(request, auth)

    def _send_once(self, request: _Request, auth: AuthBase) -> requests.Response:
        change = request.change
        try:
            response = self._session.request(
                request.method,
                self._base + request.path,
                data=change,
                headers={"Content-Type": "application/json"},
                auth=auth,
            )
        except requests.RequestException as error:
            if change:
                change.interrupted()
            raise translate(error, sent=change is not None and change.is_sent) from error
        except BaseException:
            if change:
                change.interrupted()
            raise
        if change and 200 <= response.status_code < 300 and not change.is_sent:
            # The server has not received the whole request, so the call was not made.
            change.interrupted()
            raise interrupted(self._base)
        if change:
            change.answered(response.status_code)
        return response

    def _parse(self, request: _Request, response: requests.Response) -> Json:
        if not 200 <= response.status_code < 300:
            raise classify(self._read(response), request.effect, self._clock())
        try:
            fields = response.json() if response.content else {}
        except (ValueError, RecursionError):
            fields = None
        if not isinstance(fields, dict):
            raise malformed_response(self._read(response), request.effect)
        return {**fields, "request_id": response.headers.get("X-Request-Id", "")}

    def _read(self, response: requests.Response) -> ApiResponse:
        return read_response(response, self._clock())


def _is_connection_loss(error: BaseException | None) -> bool:
    return isinstance(error, requests.ConnectionError) and not isinstance(error, requests.Timeout)
