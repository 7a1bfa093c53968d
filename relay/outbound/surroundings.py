"""Explains faults of the process's surroundings: proxy variables and CA files."""

from __future__ import annotations

import os
import ssl
from collections.abc import Collection
from functools import lru_cache
from pathlib import Path
from urllib.parse import unquote, urlsplit

from requests.adapters import SOCKSProxyManager
from urllib3.exceptions import LocationParseError
from urllib3.util import Url, parse_url

from relay.config.text import excerpt
from relay.config.validators import host_name
from relay.errors import TemporaryFailure
from relay.model import Localized

SOCKS = ("socks4", "socks4a", "socks5", "socks5h")
HTTP = ("http", "https")

_CA_VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "AWS_CA_BUNDLE")


def check_proxy(url: str, proxy: str, schemes: Collection[str] = HTTP + SOCKS) -> None:
    """Raise TemporaryFailure `outbound.proxy` if the proxy for a URL cannot be used at all.

    The error names the variable and not its value, which may contain a password. A wrong variable
    is temporary: the environment is repaired sooner or later, and deliveries must not be lost.
    """
    reason = _proxy_problem(proxy, tuple(schemes))
    if reason is None:
        return
    name = proxy_variable(url)
    raise TemporaryFailure(
        "outbound.proxy",
        Localized(
            f"The proxy in {name} cannot be used: {reason.en}",
            f"{name} 中的代理无法使用：{reason.zh}",
        ),
        Localized(
            f"Correct or unset {name}, then restart Relay.",
            f"请修正或取消设置 {name}，然后重启 Relay。",
        ),
    )


def proxy_variable(url: str) -> str:
    """The environment variable that sets the proxy for a URL."""
    scheme = (urlsplit(url).scheme or "https").lower()
    names = [f"{scheme}_proxy", f"{scheme}_proxy".upper(), "all_proxy", "ALL_PROXY"]
    return next((name for name in names if os.environ.get(name)), names[1])


@lru_cache
def _proxy_problem(proxy: str, schemes: Collection[str]) -> Localized | None:
    try:
        parts = parse_url(proxy if "://" in proxy else f"http://{proxy}")
        usable = parts.host and is_host(parts.host) and parts.port != 0
    except (LocationParseError, ValueError):
        usable = False
    if not usable:
        return Localized("it is not a URL such as http://proxy:3128", "应为 http://proxy:3128 形式")
    return _unsupported(parts, schemes)


def _unsupported(parts: Url, schemes: Collection[str]) -> Localized | None:
    if parts.scheme not in schemes:
        scheme = excerpt(parts.scheme or "", 20)
        known = ", ".join(schemes)
        return Localized(f"{scheme}:// is not one of {known}", f"{scheme}:// 不属于 {known}")
    if parts.scheme in SOCKS and not isinstance(SOCKSProxyManager, type):
        return Localized(
            "SOCKS needs the package PySocks, which is not installed",
            "SOCKS 需要安装 PySocks 软件包",
        )
    try:
        unquote(parts.auth or "").encode("latin-1")
    except UnicodeEncodeError:
        return Localized("its user or password is not Latin-1", "用户名或密码不是 Latin-1 字符")
    return None


def is_host(name: str) -> bool:
    """Whether each label of a host name has 1 to 63 characters, as DNS requires."""
    try:
        return bool(host_name(name))
    except ValueError:
        return False


def check_ca_file(path: str) -> None:
    """Raise TemporaryFailure `outbound.ca_file` if a CA file or directory cannot be loaded."""
    location = {"capath": path} if Path(path).is_dir() else {"cafile": path}
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(**location)
    except ssl.SSLError:
        reason = Localized("it contains no certificate in PEM format", "其中没有 PEM 格式的证书")
    except (OSError, ValueError) as error:
        words = getattr(error, "strerror", None) or type(error).__name__
        reason = Localized(f"the system reports {words}", f"系统报告 {words}")
    else:
        return
    name = next((name for name in _CA_VARIABLES if os.environ.get(name) == path), "")
    origin = f" ({name})" if name else ""
    raise TemporaryFailure(
        "outbound.ca_file",
        Localized(
            f"The CA file {path}{origin} cannot be used: {reason.en}",
            f"CA 文件 {path}{origin} 无法使用：{reason.zh}",
        ),
        Localized(
            "Restore the file, or correct the setting and restart Relay.",
            "请恢复该文件，或修正设置后重启 Relay。",
        ),
    )
