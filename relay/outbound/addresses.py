"""What an address means, and whether that is out in the open: for the guard over ways out."""

from __future__ import annotations

import ipaddress

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

_PLATFORM = frozenset({ipaddress.IPv4Address("168.63.129.16")})
"""Global by their numbers, and yet a cloud's own services for the machine: Azure's WireServer."""

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


def is_public(ip: IPAddress) -> bool:
    """Whether it, and whatever it stands for, is an address of the public network."""
    return all(
        one.is_global and not one.is_multicast and one not in _PLATFORM for one in meanings(ip)
    )


def meanings(ip: IPAddress) -> list[IPAddress]:
    """The address, or the IPv4 address that it stands for; a tunnel's both."""
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
