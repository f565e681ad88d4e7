"""What is written is read back the same, whatever it is."""

from datetime import UTC, datetime, timedelta, timezone

from hypothesis import given
from hypothesis import strategies as st

from meshnode.domain.base64url import decode_base64url, encode_base64url
from meshnode.domain.identity import is_node_id, make_node_id
from meshnode.domain.invite import (
    CERT_BYTES,
    CODE_BYTES,
    Invite,
    format_host,
    format_invite,
    parse_host_port,
    parse_invite,
)
from meshnode.domain.pairing_code import format_pin, make_pin, parse_pin
from meshnode.domain.timestamps import format_time, parse_time
from meshnode.domain.untrusted_text import NAME_MAX, clean_text
from meshnode.transport.txt_record import (
    SERVICE_TYPE,
    TXT_MAX,
    TxtRecord,
    decode_txt,
    encode_txt,
    format_instance,
    parse_instance,
)

PORTS = st.integers(1, 65535)
NAMES = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?(\.[a-z]{1,10}){0,2}", fullmatch=True)
SCOPED = st.builds(
    lambda ip, scope: f"{ip}%{scope}", st.ip_addresses(v=6).map(str), st.sampled_from(["eth0", "2", "wlp3s0"])
)
HOSTS = st.one_of(st.ip_addresses(v=4).map(str), st.ip_addresses(v=6).map(str), SCOPED, NAMES)
NODE_IDS = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}", fullmatch=True)


@given(st.binary(max_size=100))
def test_base64url(data: bytes) -> None:
    """Bytes → text → bytes."""
    assert decode_base64url(encode_base64url(data)) == data


@given(st.text(alphabet=st.characters(max_codepoint=127), max_size=60))
def test_base64url_has_one_spelling(text: str) -> None:
    """Text that decodes at all is the text that encodes it."""
    try:
        data = decode_base64url(text)
    except ValueError:
        return
    assert encode_base64url(data) == text


@given(
    HOSTS,
    PORTS,
    st.binary(min_size=CODE_BYTES, max_size=CODE_BYTES),
    st.binary(min_size=CERT_BYTES, max_size=CERT_BYTES),
)
def test_invites(host: str, port: int, code: bytes, cert: bytes) -> None:
    """Any host that can be written, any port, code and certificate."""
    invite = Invite(host=host, port=port, code=code, cert=cert)
    assert parse_invite(format_invite(invite)) == invite


@given(HOSTS, PORTS)
def test_host_and_port(host: str, port: int) -> None:
    """With and without a port."""
    assert parse_host_port(f"{format_host(host)}:{port}") == (host, port)
    assert parse_host_port(host) == (host, 6969)


@given(NODE_IDS, st.integers(1, 99999), st.text("abcXYZ019_-", max_size=32), st.booleans())
def test_txt_records(node_id: str, version: int, capability_hash: str, pairing_open: bool) -> None:
    """Through bytes, and never longer than 200 with the eight characters of a real hash."""
    record = TxtRecord(node_id, version, capability_hash, pairing_open)
    strings = encode_txt(record)
    assert decode_txt({key.encode(): value.encode() for key, value in strings.items()}) == record
    size = sum(1 + len(f"{key}={value}") for key, value in encode_txt(record._replace(capability_hash="x" * 8)).items())
    assert size <= TXT_MAX


@given(st.text(max_size=80).map(clean_text).filter(bool), NODE_IDS)
def test_instance_names(name: str, node_id: str) -> None:
    """At most 63 bytes of UTF-8; a short name without dots comes back."""
    instance = format_instance(name, node_id)
    assert len(instance.encode()) <= 63
    if len(name.encode()) <= 50 and "." not in name:
        assert parse_instance(f"{instance}.{SERVICE_TYPE}") == name


@given(st.integers(0, 2**48 - 1), st.binary(min_size=10, max_size=10))
def test_node_ids(unix_ms: int, random: bytes) -> None:
    """Every id that we make is one."""
    assert is_node_id(make_node_id(unix_ms, random))


@given(st.binary(min_size=4, max_size=4))
def test_pins(random: bytes) -> None:
    """Every PIN that we draw can be typed as it is shown."""
    pin = make_pin(random)
    if pin is not None:
        assert parse_pin(format_pin(pin)) == pin


MOMENTS = st.datetimes(datetime(1970, 1, 1), datetime(9000, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - bounds


@given(MOMENTS, MOMENTS, st.integers(-23, 23))
def test_times(one: datetime, other: datetime, hours: int) -> None:
    """To the microsecond, from any zone, and in the order of their text."""
    elsewhere = one.astimezone(timezone(timedelta(hours=hours)))
    assert parse_time(format_time(elsewhere)) == one
    assert (format_time(one) < format_time(other)) is (one < other)


@given(st.text(max_size=300), st.integers(1, 80))
def test_clean_text_is_short_clean_and_stable(text: str, limit: int) -> None:
    """Cleaning twice changes nothing."""
    once = clean_text(text, limit)
    assert len(once) <= limit
    assert once == once.strip()
    assert once.isprintable()
    assert clean_text(once, limit) == once
    assert NAME_MAX == 64
