"""Invites and addresses: what a person pastes or types."""

import pytest

from meshnode.domain.base64url import encode_base64url
from meshnode.domain.errors import MeshError
from meshnode.domain.invite import Invite, format_host, format_invite, parse_host_port, parse_invite

CODE, CERT = bytes(range(16)), bytes(range(16, 32))
FRAGMENT = f"{encode_base64url(CODE)}.{encode_base64url(CERT)}"


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("192.0.2.7", f"https://192.0.2.7:6969/p#{FRAGMENT}"),
        ("2001:db8::7", f"https://[2001:db8::7]:6969/p#{FRAGMENT}"),
        ("fe80::1%eth0", f"https://[fe80::1%25eth0]:6969/p#{FRAGMENT}"),
        ("mesh.example", f"https://mesh.example:6969/p#{FRAGMENT}"),
    ],
)
def test_an_invite_is_a_url_with_its_secrets_in_the_fragment(host: str, url: str) -> None:
    """And the URL gives the same invite again."""
    invite = Invite(host=host, port=6969, code=CODE, cert=CERT)
    assert format_invite(invite) == url
    assert parse_invite(url) == invite


def test_an_invite_by_ipv4_is_at_most_85_bytes() -> None:
    """So that its QR fits a terminal of 80×24."""
    assert len(format_invite(Invite(host="255.255.255.255", port=65535, code=CODE, cert=CERT))) <= 85


def test_an_invites_repr_shows_no_code() -> None:
    """It may end up in a log."""
    assert str(CODE) not in repr(Invite(host="a", port=1, code=CODE, cert=CERT))
    assert "code" not in repr(Invite(host="a", port=1, code=CODE, cert=CERT))


def test_blanks_around_a_pasted_invite_are_dropped() -> None:
    """And a URL without a port means ours."""
    assert parse_invite(f"  https://192.0.2.7/p#{FRAGMENT}\n").port == 6969


@pytest.mark.parametrize(
    "text",
    [
        "",
        "https://",
        "https://192.0.2.7:6969/p",
        "https://192.0.2.7:6969/p#",
        f"http://192.0.2.7:6969/p#{FRAGMENT}",
        f"https://192.0.2.7:6969/#{FRAGMENT}",
        f"https://192.0.2.7:6969/p?x=1#{FRAGMENT}",
        f"https://user@192.0.2.7:6969/p#{FRAGMENT}",
        f"https://192.0.2.7:0/p#{FRAGMENT}",
        f"https://192.0.2.7:65536/p#{FRAGMENT}",
        f"https://192.0.2.7:six/p#{FRAGMENT}",
        f"https://[::1/p#{FRAGMENT}",
        f"https://a b/p#{FRAGMENT}",
        f"https:///p#{FRAGMENT}",
        f"https://192.0.2.7:6969/p#{FRAGMENT}=",
        f"https://192.0.2.7:6969/p#{FRAGMENT[:-1]}",
        f"https://192.0.2.7:6969/p#{FRAGMENT}.{FRAGMENT}",
        f"https://192.0.2.7:6969/p#{encode_base64url(CODE)}.{encode_base64url(CERT[:15])}",
        f"https://192.0.2.7:6969/p#{encode_base64url(CODE + b'x')}.{encode_base64url(CERT)}",
        f"https://{'x' * 512}/p#{FRAGMENT}",
    ],
)
def test_a_damaged_invite_is_refused(text: str) -> None:
    """Always `invalid_params`, naming the invite."""
    with pytest.raises(MeshError, match="invite") as caught:
        parse_invite(text)
    assert caught.value.code == "invalid_params"


def test_a_phones_invite_is_refused_with_advice() -> None:
    """Three parts are a linking code for a browser."""
    with pytest.raises(MeshError, match="phone"):
        parse_invite(f"https://192.0.2.7:6969/p#{FRAGMENT}.ABCDEFGH")


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("desk", "desk", 6969),
        ("Desk.Local", "desk.local", 6969),
        ("desk.local:7000", "desk.local", 7000),
        ("192.0.2.7", "192.0.2.7", 6969),
        ("192.0.2.7:0", "192.0.2.7", 0),  # any free port, to listen on
        ("[::1]", "::1", 6969),
        ("[::1]:7000", "::1", 7000),
        ("2001:db8::7", "2001:db8::7", 6969),
        ("fe80::1%eth0", "fe80::1%eth0", 6969),
        ("[fe80::1%eth0]:7000", "fe80::1%eth0", 7000),
        ("[fe80::1%25eth0]:7000", "fe80::1%eth0", 7000),
        (" desk\n", "desk", 6969),
        ("0.0.0.0:6969", "0.0.0.0", 6969),
    ],
)
def test_an_address_is_a_host_and_perhaps_a_port(text: str, host: str, port: int) -> None:
    """IPv6 stands in brackets as soon as a port follows."""
    assert parse_host_port(text) == (host, port)


def test_the_default_port_can_be_another() -> None:
    """443 for a public URL."""
    assert parse_host_port("mesh.example", 443) == ("mesh.example", 443)


@pytest.mark.parametrize(
    "text",
    [
        "", " ", ":", ":6969", "desk:", "desk:x", "desk:-1", "desk:65536", "desk:٣", "a b", "a\x00", "a/b", "a?b",
        "a#b", "user@desk", "https://desk", "[", "[::1", "::1]", "[::1]x", "[desk]", "a:b:c", "1:2:3", "::1%", "%eth0",
        "[]", "x" * 254, "\u202edesk",
    ],
)  # fmt: skip
def test_text_that_is_no_address_is_refused(text: str) -> None:
    """Always `invalid_params`, naming the address."""
    with pytest.raises(MeshError, match="address") as caught:
        parse_host_port(text)
    assert caught.value.code == "invalid_params"


@pytest.mark.parametrize("host", ["desk", "192.0.2.7", "::1", "fe80::1%eth0"])
def test_a_host_formatted_for_a_url_parses_back(host: str) -> None:
    """Brackets and the scope's percent sign are undone."""
    assert parse_host_port(f"{format_host(host)}:1") == (host, 1)
