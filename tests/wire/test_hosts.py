"""Which hosts may be polled."""

from __future__ import annotations

import pytest

from djhookbox.wire.hosts import HostProblem, HostRules

RULES = HostRules.parse([
    "feed.example.com", ".example.org", "Bücher.example", "203.0.113.7", "10.1.0.0/16", "[fd00::1]",
])  # fmt: skip


@pytest.mark.parametrize(
    "host",
    [
        "feed.example.com", "FEED.example.COM", "feed.example.com.", "example.org",
        "a.b.example.org",
        "bücher.example", "xn--bcher-kva.example", "203.0.113.7", "10.1.2.3", "fd00::1",
        "[fd00::1]", "::ffff:10.1.2.3",
    ],
)  # fmt: skip
def test_listed(host: str) -> None:
    assert RULES.allows_host(host)


@pytest.mark.parametrize(
    "host",
    [
        "", "example.com", "x.feed.example.com", "feed.example.com.evil", "badexample.org", ".",
        "203.0.113.8", "10.2.0.1", "127.0.0.1", "localhost", "fd00::2", "2130706433", "0x7f.1",
        "feed.example.com@127.0.0.1", "::ffff:10.2.0.1", "a" * 300, "\u3002",
    ],
)  # fmt: skip
def test_not_listed(host: str) -> None:
    assert not RULES.allows_host(host)
    assert not HostRules().allows_host(host)


@pytest.mark.parametrize("address", ["8.8.8.8", "2001:4860:4860::8888", "10.1.2.3", "fd00::1"])
def test_addresses_that_a_listed_name_may_stand_for(address: str) -> None:
    assert RULES.allows_address(address)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "0.0.0.0", "10.2.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254",
        "100.64.0.1", "224.0.0.1", "255.255.255.255", "::", "::1", "fe80::1", "fe80::1%eth0",
        "fc00::1", "ff02::1", "::ffff:127.0.0.1", "::ffff:192.168.1.1", "64:ff9b::7f00:1",
        "64:ff9b::a9fe:a9fe", "2002:7f00:1::1", "2001:db8::1", "",
        "x", "localhost", "2001:0:808:808:8000:63bf:80ff:fffe",
    ],
)  # fmt: skip
def test_addresses_that_must_be_listed(address: str) -> None:
    assert not RULES.allows_address(address)


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ("https://feed.example.com", "not a host name"), ("feed.example.com:80", "not a host name"),
        ("feed.example.com/x", "not a host name"), ("*", "not a host name"), ("a b", "not a host"),
        ("*.example.com", "not a host name"), (".", "not a host name"), ("a..b", "not a host name"),
        ("10.0.0.1/8", "is not a range; '10.0.0.0/8' is"), ("10.0.0.0/40", "not a host name"),
    ],
)  # fmt: skip
def test_entries_that_are_none(entry: str, words: str) -> None:
    with pytest.raises(HostProblem) as caught:
        HostRules.parse(["ok.example", entry])
    assert words in str(caught.value)
    assert repr(entry) in str(caught.value)
