from __future__ import annotations

import pytest

from djhookbox.server.clients.addresses import TrustedProxies, host_name

PROXIES = TrustedProxies(["127.0.0.1", "10.0.0.0/8", "fd00::/8", "::ffff:192.168.0.0/112"])


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("9.9.9.9", [], "9.9.9.9"),
        ("9.9.9.9", ["1.2.3.4"], "9.9.9.9"),  # not a proxy of ours
        ("127.0.0.1", ["1.2.3.4"], "1.2.3.4"),
        ("127.0.0.1", ["6.6.6.6, 1.2.3.4"], "1.2.3.4"),  # what the client says is not believed
        ("127.0.0.1", ["6.6.6.6", "1.2.3.4"], "1.2.3.4"),  # in a line of its own neither
        ("127.0.0.1", ["1.2.3.4", "6.6.6.6, 5.5.5.5"], "5.5.5.5"),
        ("127.0.0.1", ["1.2.3.4, 10.0.0.1"], "1.2.3.4"),
        ("127.0.0.1", ["1.2.3.4", "10.0.0.1"], "1.2.3.4"),
        ("127.0.0.1", ["10.0.0.1"], "10.0.0.1"),
        ("127.0.0.1", ["unknown"], "127.0.0.1"),
        ("127.0.0.1", ["1.2.3.4, \udce9<script>"], "127.0.0.1"),
        ("127.0.0.1", [" , 2001:DB8::1 ,"], "2001:db8::1"),
        ("127.0.0.1", ["1.2.3.4:5678"], "1.2.3.4"),
        ("127.0.0.1", ["[2001:db8::1]:5678"], "2001:db8::1"),
        # Ranges of both kinds, and IPv4 as sockets for IPv6 see it.
        ("10.200.3.4", ["1.2.3.4"], "1.2.3.4"),
        ("11.0.0.1", ["1.2.3.4"], "11.0.0.1"),
        ("fd12::1", ["1.2.3.4"], "1.2.3.4"),
        ("fe80::1", ["1.2.3.4"], "fe80::1"),
        ("::ffff:10.1.1.1", ["1.2.3.4"], "1.2.3.4"),
        ("::ffff:9.9.9.9", ["1.2.3.4"], "9.9.9.9"),
        ("192.168.7.7", ["::ffff:1.2.3.4"], "1.2.3.4"),
        ("192.169.7.7", ["1.2.3.4"], "192.169.7.7"),
        ("", ["1.2.3.4"], ""),
    ],
)
def test_where_a_client_comes_from(peer: str, forwarded: list[str], address: str) -> None:
    assert PROXIES.client(peer, forwarded) == address


@pytest.mark.parametrize(
    ("values", "host"),
    [
        (["tenant.example.com"], "tenant.example.com"),
        (["tenant.example.com:8443"], "tenant.example.com:8443"),
        (["my_tenant"], "my_tenant"),
        (["[2001:db8::1]:80"], "[2001:db8::1]:80"),
        ([], ""),
        ([""], ""),
        (["a.example", "b.example"], ""),
        (["a.example\r\nX-Real-IP: 1.2.3.4"], ""),
        (["a.example\n"], ""),
        (["a.example, b.example"], ""),
        (["a.example/path"], ""),
        (["user@a.example"], ""),
        (["b\u00fccher.example"], ""),
        (["a" * 254], ""),
    ],
)
def test_which_host_it_asked_for(values: list[str], host: str) -> None:
    assert host_name(values) == host
