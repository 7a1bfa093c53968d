"""Classification of IP addresses for the SSRF guard: is an address public?"""

from __future__ import annotations

import ipaddress

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

_CLOUD_SERVICES = frozenset({ipaddress.IPv4Address("168.63.129.16")})
"""Addresses in public ranges that reach the cloud's own services: Azure's WireServer."""

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


def is_public(ip: IPAddress) -> bool:
    """Whether the address, and every address embedded in it, is public."""
    return all(
        address.is_global and not address.is_multicast and address not in _CLOUD_SERVICES
        for address in effective_addresses(ip)
    )


def effective_addresses(ip: IPAddress) -> list[IPAddress]:
    """The addresses that a packet to `ip` can reach: an embedded IPv4 address, or `ip` itself.

    Tunnel addresses (6to4, Teredo) have both.
    """
    if isinstance(ip, ipaddress.IPv4Address):
        return [ip]
    if ip.ipv4_mapped:
        return [ip.ipv4_mapped]
    if ip.sixtofour:
        return [ip, ip.sixtofour]
    if ip.teredo:
        return [ip, *ip.teredo]
    if ip in _NAT64:
        return [ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)]
    return [ip]
