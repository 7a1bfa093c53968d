"""URLs that imitate the URL of a certificate at a pinned host."""

from __future__ import annotations

from collections.abc import Mapping

EVIL = "evil.example"


def certificate_urls(host: str, path: str) -> Mapping[str, object]:
    """Return the URLs by trick. `path` begins with a slash and ends in .pem."""
    first, _, rest = host.partition(".")
    return {
        "http": f"http://{host}{path}",
        "no scheme": f"//{host}{path}",
        "upper-case scheme": f"HTTPS://{host}{path}",
        "another scheme": f"ftp://{host}{path}",
        "a file": "file:///etc/passwd.pem",
        "user": f"https://user@{host}{path}",
        "user and password": f"https://{host}:x@{EVIL}{path}",
        "host as user": f"https://{host}@{EVIL}{path}",
        "backslash": f"https://{EVIL}\\@{host}{path}",
        "backslash after": f"https://{host}\\@{EVIL}{path}",
        "port": f"https://{host}:8443{path}",
        "its own port": f"https://{host}:443{path}",
        "suffix": f"https://{host}.{EVIL}{path}",
        "prefix": f"https://evil-{host}{path}",
        "below": f"https://evil.{host}{path}",
        "trailing dot": f"https://{host}.{path}",
        "dots are no wildcards": f"https://{host.replace('.', 'x', 1)}{path}",
        "no first part": f"https://.{rest}{path}",
        "escaped dot": f"https://{host}%2e{EVIL}{path}",
        "upper-case host": f"https://{host.upper()}{path}",
        "cyrillic": f"https://{first.replace('s', 'ѕ')}.{rest}{path}",
        "full-width dot": f"https://{first}。{rest}{path}",
        "an address": f"https://127.0.0.1{path}",
        "another host": f"https://{EVIL}{path}",
        "query": f"https://{host}{path}?x=.pem",
        "empty query": f"https://{host}{path}?",
        "only a query": f"https://{host}/?x={path}",
        "fragment": f"https://{host}/#{path}",
        "parameters": f"https://{host}/a;{path}",
        "not a pem": f"https://{host}{path.removesuffix('.pem')}.txt",
        "pem inside": f"https://{host}{path}.txt",
        "upper-case pem": f"https://{host}{path.removesuffix('.pem')}.PEM",
        "deeper": f"https://{host}/evil{path}",
        "up": f"https://{host}/..{path}",
        "double slash": f"https://{host}/{path}",
        "escaped path": f"https://{host}/evil%2f{path[1:]}",
        "only the suffix": f"https://{host}/.pem",
        "space before": f" https://{host}{path}",
        "newline after": f"https://{host}{path}\n",
        "tab inside": f"https://{host}\t{path}",
        "null": f"https://{host}/\0{path}",
        "very long": f"https://{host}/{'a' * 5000}{path}",
        "surrogate": f"https://{host}/\ud800{path}",
        "nothing": "",
    }
