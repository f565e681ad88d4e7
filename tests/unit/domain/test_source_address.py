"""Where a request came from."""

import ipaddress

import pytest

from meshnode.domain.source_address import IPNetwork, is_local, parse_ip, source_key


def networks(*texts: str) -> list[IPNetwork]:
    return [ipaddress.ip_network(text) for text in texts]


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:DB8:0::7", "2001:db8::7"),
        ("fe80::1%eth0", "fe80::1"),
    ],
)
def test_an_address_has_one_form(text: str, address: str) -> None:
    """IPv4-mapped is IPv4; the scope is dropped."""
    assert str(parse_ip(text)) == address


@pytest.mark.parametrize("text", ["", "desk", "192.0.2", "192.0.2.256", "010.0.0.1", "1:2", "192.0.2.7\n", "٣.0.0.1"])
def test_text_that_is_no_address_is_refused(text: str) -> None:
    """With ValueError."""
    with pytest.raises(ValueError, match=r"."):
        parse_ip(text)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::1", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("not an address", "not an address"),
    ],
)
def test_limits_count_by_ipv4_address_and_by_ipv6_64(text: str, key: str) -> None:
    """A host owns a whole /64."""
    assert source_key(text) == key


def test_on_our_own_links_each_ipv6_address_counts_for_itself() -> None:
    """A home is one /64: one neighbour must not use up what all share. Elsewhere a host owns it whole."""
    on_link = [ipaddress.ip_network(text) for text in ("192.0.2.0/24", "2001:db8:1:2::/64", "fe80::/64")]
    assert source_key("2001:db8:1:2::7", on_link) == "2001:db8:1:2::7"
    assert source_key("fe80::7%eth0", on_link) == "fe80::7"
    assert source_key("2001:db8:1:3::7", on_link) == "2001:db8:1:3::/64"
    assert source_key("::ffff:192.0.2.7", on_link) == "192.0.2.7"


@pytest.mark.parametrize(
    "text",
    [
        "127.0.0.1", "127.255.0.1", "::1", "10.1.2.3", "172.16.0.1", "172.31.255.255", "192.168.1.1", "169.254.1.1",
        "fe80::1%eth0", "fd00::1", "::ffff:192.168.1.1",
    ],
)  # fmt: skip
def test_private_addresses_are_local(text: str) -> None:
    """Loopback, RFC 1918, link-local, unique local, mapped or not."""
    assert is_local(text, (), ())


@pytest.mark.parametrize(
    "text",
    ["8.8.8.8", "172.15.0.1", "172.32.0.1", "192.169.0.1", "100.64.0.1", "0.0.0.0", "2001:db8::1", "::ffff:8.8.8.8",
     "::ffff:0:0", "", "desk", "10.0.0.1.example"],
)  # fmt: skip
def test_other_addresses_are_not_local(text: str) -> None:
    """CGNAT neither: those are a provider's other customers."""
    assert not is_local(text, (), ())


def test_on_link_and_allowed_networks_are_local_too() -> None:
    """A public prefix on our own link; CGNAT (such as an overlay network) if the owner says so."""
    assert is_local("2001:db8::9", networks("2001:db8::/64"), ())
    assert not is_local("2001:db8:0:1::9", networks("2001:db8::/64"), ())
    assert is_local("100.64.0.1", (), networks("100.64.0.0/10"))
    assert is_local("::ffff:100.64.0.1", (), networks("100.64.0.0/10"))
    assert not is_local("100.64.0.1", networks("2001:db8::/64"), networks("fd7a::/48"))
