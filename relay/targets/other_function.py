"""A response that describes another function than the one that was sent."""

from __future__ import annotations

from relay.errors import OutcomeUnknown
from relay.model import Json, Localized, warning
from relay.targets.changes import FunctionName


class OtherFunction(OutcomeUnknown):
    """The response names another function, or has another size or digest: not ours, or not all.

    `named`: the function of the response. `size`, `digest`: those of its code. `is_expected`: a
    person need not hear of it, because the digest rule of the target is not known.
    """

    def __init__(
        self,
        asked: FunctionName,
        named: FunctionName,
        size: object,
        digest: object,
        *,
        is_expected: bool = False,
    ) -> None:
        code = f"{size} bytes, {str(digest or '')[:12]}"
        described = f"{named.func_name} (package {named.package}, {code})"
        super().__init__(
            "import.other_function",
            Localized(
                f"Relay imported {asked.func_name} (package {asked.package}), but the response"
                f" describes {described}",
                f"导入的是函数 {asked.func_name}（应用 {asked.package}），"
                f"但响应描述的是 {described}",
            ),
            Localized(
                "Relay asks the target what it holds. Check the endpoint and any proxies.",
                "Relay 会查询目标的实际内容。请检查 endpoint 以及代理配置。",
            ),
        )
        self.named = named
        self.is_expected = is_expected

    @property
    def warning(self) -> Json:
        return warning(self.code, self.message)
