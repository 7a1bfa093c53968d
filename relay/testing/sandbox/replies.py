"""The responses of the sandbox, and the error codes of FunctionGraph and the API gateway."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from relay.model import Json

# Status and meaning according to the published error tables of FunctionGraph and the gateway.
CODES: dict[str, tuple[int, str]] = {
    "FSS.0400": (400, "Invalid request parameter"),
    "FSS.0401": (401, "Access denied"),
    "FSS.0403": (403, "Forbidden"),
    "FSS.0404": (404, "Resource not found"),
    "FSS.0406": (406, "The request body is not in valid JSON format"),
    "FSS.0408": (408, "The request timed out"),
    "FSS.0409": (409, "The resource already exists"),
    "FSS.0413": (413, "The request body is too large"),
    "FSS.0429": (429, "Too many concurrent requests"),
    "FSS.0500": (500, "Internal error, please try again later"),
    "FSS.0502": (502, "Bad gateway"),
    "FSS.0503": (503, "Service unavailable"),
    "FSS.0504": (504, "Gateway timeout"),
    "FSS.1002": (400, "Invalid function name"),
    "FSS.1003": (400, "Invalid function handler"),
    "FSS.1004": (400, "Invalid package"),
    "FSS.1005": (400, "Invalid runtime"),
    "FSS.1006": (400, "Invalid code type"),
    "FSS.1007": (400, "Invalid memory size"),
    "FSS.1008": (400, "Invalid timeout"),
    "FSS.1009": (400, "Invalid user data"),
    "FSS.1010": (400, "Invalid code URL"),
    "FSS.1011": (400, "Invalid function code"),
    "FSS.1012": (400, "The function code is empty"),
    "FSS.1013": (400, "Invalid file type"),
    "FSS.1017": (400, "The number of environment variables exceeds 20"),
    "FSS.1018": (400, "The environment variables are too large"),
    "FSS.1019": (400, "The description is longer than 512 characters"),
    "FSS.1022": (400, "Only one YAML file is allowed"),
    "FSS.1023": (400, "The imported file is too large"),
    "FSS.1025": (400, "Invalid YAML file"),
    "FSS.1041": (403, "The number of functions has reached the quota"),
    "FSS.1051": (404, "Not found the function"),
    "FSS.1052": (404, "Not found the function version"),
    "FSS.1057": (404, "The function name does not exist in the YAML file"),
    "FSS.1061": (409, "The function has existed"),
    "FSS.1201": (413, "The code package is too large"),
    "APIGW.0101": (404, "The API does not exist or has not been published in the environment"),
    "APIGW.0201": (413, "The request body exceeds 12 MB"),
    "APIGW.0301": (401, "Incorrect IAM authentication information"),
    "APIGW.0302": (403, "The IAM user is not authorized to access the API"),
    "APIGW.0307": (401, "The token must be updated"),
    "APIGW.0308": (429, "The throttling threshold has been reached: policy domain"),
    "APIGW.0611": (503, "Backend unavailable"),
    "APIGW.0613": (500, "IAM is unavailable"),
}


@dataclass(frozen=True, slots=True)
class SandboxReply:
    """A response. `stream` replaces `body`; that of a file needs a Content-Length header."""

    status: int
    body: Json | None = None
    headers: dict[str, str] = field(default_factory=dict)
    stream: Iterable[bytes] | None = None


class RequestRefused(Exception):
    """Ends a call with an error response. Used only inside the sandbox."""

    def __init__(self, reply: SandboxReply) -> None:
        super().__init__(reply.status)
        self.reply = reply


def refusal(code: str, message: str | None = None, *, status: int | None = None) -> RequestRefused:
    """Return the error `code`; message and status default to the published tables."""
    default_status, default_message = CODES.get(
        code, (int(code[-3:]) if code[-3:].isdigit() else 500, code)
    )
    return RequestRefused(
        SandboxReply(
            status or default_status,
            {"error_code": code, "error_msg": message or default_message},
        )
    )


def default_code(status: int) -> str:
    """Return the code for a status without a code; for 409 that of a taken name."""
    return "FSS.1061" if status == 409 else f"FSS.{status:04d}"
