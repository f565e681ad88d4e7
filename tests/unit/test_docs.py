"""The documents say what the code does: generated blocks, commands, options, codes, links, names, test vectors."""

import base64
import hashlib
import hmac
import importlib.machinery
import importlib.util
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType

import click
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from meshnode.cli.main import cli
from meshnode.config import load_config
from meshnode.domain.errors import CODES, NEVER_SENT
from meshnode.domain.invite import parse_invite

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "scripts" / "print-protocol"
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"<!-- begin generated: ([\w-]+) -->.*?<!-- end generated -->", re.DOTALL)
# Options of programs that are not ours, and of our scripts.
FOREIGN = {"--long", "--write", "--require-hashes", "--generate-hashes"}


@cache
def printer() -> ModuleType:
    """scripts/print-protocol, as a module."""
    loader = importlib.machinery.SourceFileLoader("print_protocol", str(SCRIPT))
    spec = importlib.util.spec_from_loader(loader.name, loader)
    assert spec
    module = importlib.util.module_from_spec(spec)
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        loader.exec_module(module)
    finally:
        sys.dont_write_bytecode = before
    return module


def named(page: Path) -> str:
    return str(page.relative_to(ROOT))


def written(page: Path) -> str:
    """A page without what is generated."""
    return BLOCK.sub("", page.read_text("utf-8"))


every_page = pytest.mark.parametrize("page", PAGES, ids=named)


def test_the_script_prints_every_block() -> None:
    """It runs by itself, and every block it knows stands in exactly one page."""
    done = subprocess.run([sys.executable, SCRIPT], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    standing = [name for page in PAGES for name in BLOCK.findall(page.read_text("utf-8"))]
    assert sorted(standing) == sorted(BLOCK.findall(done.stdout)) == sorted(printer().BLOCKS)


@every_page
def test_generated_blocks_are_what_the_code_says_now(page: Path) -> None:
    """If this fails: `.venv/bin/python scripts/print-protocol --write`."""
    for block in BLOCK.finditer(page.read_text("utf-8")):
        assert block[0] == printer().render(block[1])


# ── commands ───────────────────────────────────────────────────────────────────────────────────────────────────────


def command_lines(text: str) -> Iterator[str]:
    """What follows `meshnode` or `scripts/run` in code, inline or indented."""
    pieces = re.findall(r"`([^`\n]+)`", text)
    pieces += [line.strip() for line in text.splitlines() if line.startswith("    ")]
    for piece in pieces:
        found = re.search(r"(?:^|\$ |sudo |/)(?:meshnode|scripts/run)(?: (?P<rest>[^#&|]*))?$", piece.split("  ")[0])
        if found and found["rest"]:
            yield found["rest"].strip()


def options_of(command: click.Command) -> set[str]:
    return {name for param in command.params if isinstance(param, click.Option) for name in param.opts} | {"--help"}


def valued_options_of(command: click.Command) -> set[str]:
    options = (param for param in command.params if isinstance(param, click.Option) and not param.is_flag)
    return {name for option in options for name in option.opts}


def check_command(line: str) -> None:
    """Follow the words through the command tree; each option must belong to a command on the way."""
    command: click.Command = cli
    known = options_of(cli)
    context = click.Context(cli)
    words = iter(shlex.split(line))
    for word in words:
        if word.startswith("-") and word != "-":
            assert word in known, f"`meshnode {line}`: no option {word}"
            if word in valued_options_of(command):
                next(words)
        elif isinstance(command, click.Group) and re.fullmatch(r"[a-z]+", word):
            found = command.get_command(context, word)
            assert found, f"`meshnode {line}`: no command {word}"
            command = found
            known |= options_of(found)


def every_option() -> set[str]:
    found: set[str] = set()

    def collect(command: click.Command) -> None:
        found.update(options_of(command))
        if isinstance(command, click.Group):
            for name in command.list_commands(click.Context(command)):
                child = command.get_command(click.Context(command), name)
                assert child
                collect(child)

    collect(cli)
    return found | {"--version"}


@every_page
def test_commands_and_options_exist(page: Path) -> None:
    """Whatever a page tells a person to type is understood."""
    text = page.read_text("utf-8")
    for line in command_lines(text):
        check_command(line)
    alone = set(re.findall(r"`(?:pip )?(--[a-z-]+)[^`]*`", text))
    assert alone - every_option() <= FOREIGN


def test_commands_are_found_and_wrong_ones_refused() -> None:
    """The check above would hold of text without commands too."""
    lines = list(command_lines((ROOT / "README.md").read_text("utf-8")))
    assert {"pair", "join", "nodes", "node trust", "node revoke", "demo"} <= set(lines)
    for wrong in ("nodes --yes", "pair lock", "jion", "identity reset --force"):
        with pytest.raises(AssertionError, match="no "):
            check_command(wrong)


def test_every_command_is_named() -> None:
    """The README or a page of docs/ mentions each command, so that none is unknown to its readers."""
    used = {line.split()[0] for page in PAGES for line in command_lines(page.read_text("utf-8"))}
    text = "".join(page.read_text("utf-8") for page in PAGES)
    missing = [name for name in cli.list_commands(click.Context(cli)) if name not in used and f"`{name}`" not in text]
    assert missing == []


# ── codes, names, links ────────────────────────────────────────────────────────────────────────────────────────────


@every_page
def test_codes_stand_with_their_status(page: Path) -> None:
    """`409 `pairing_busy`` in prose is a code of the program, with that status."""
    for status, code in re.findall(r"\b([45]\d\d) `([a-z_]+)`", written(page)):
        assert code in CODES, code
        assert CODES[code].status == int(status), code


def test_the_table_of_answers_is_complete() -> None:
    """Each code is in it, or is known never to answer a mesh request; and each of those is a code."""
    listed = set(re.findall(r"^\| \d+ \| `(\w+)`", "\n".join(printer().codes()), re.MULTILINE))
    assert listed | NEVER_SENT | printer().OWNER_ONLY == set(CODES)
    assert not listed & (NEVER_SENT | printer().OWNER_ONLY)


@cache
def source_words() -> set[str]:
    files = [
        *(ROOT / "meshnode").rglob("*.py"),
        *(ROOT / "migrations").glob("*.sql"),
        *(ROOT / "systemd").rglob("*.service"),
    ]
    text = "\n".join(file.read_text("utf-8") for file in files)
    return set(re.findall(r"\w+", text)) | set(re.findall(r"[\w.]+\.(?:json|db|pem|toml)", text))


@every_page
def test_names_in_code_type_exist_in_the_source(page: Path) -> None:
    """A field, code, table or setting that a page names with an underscore is one of the program's."""
    words = {word for word in re.findall(r"`([a-z]+(?:_[a-z0-9]+)+)`", written(page)) if not word.startswith("node_")}
    assert words <= source_words()


def slug(heading: str) -> str:
    return re.sub(r"[^\w -]", "", heading.strip().lower()).replace(" ", "-")


@every_page
def test_relative_links_resolve(page: Path) -> None:
    """Every link within the project leads to a file, and to a heading of it if it names one."""
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text("utf-8")):
        if "://" in target:
            continue
        path, _, heading = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), target
        assert file.is_relative_to(ROOT), target
        if heading:
            headings = re.findall(r"^#+ (.+)$", file.read_text("utf-8"), re.MULTILINE)
            assert heading in map(slug, headings), target


# ── test vectors, recomputed without our own code ──────────────────────────────────────────────────────────────────


def unbase64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


@pytest.fixture(scope="module")
def vectors() -> dict[str, str]:
    """The vectors as they stand in the document."""
    found = re.search(
        r"begin generated: vectors -->\s+```text\n(.*?)```", (ROOT / "docs/protocol.md").read_text("utf-8"), re.DOTALL
    )
    assert found
    lines = found[1].splitlines()
    return dict(zip(lines[::2], (line.strip() for line in lines[1::2]), strict=True))


@pytest.mark.parametrize("side", ["joiner", "host"])
def test_associated_data_is_as_the_text_says(vectors: dict[str, str], side: str) -> None:
    """Eight fields, each with its length."""
    fields = [
        side.encode(), vectors[f"{side}: node id"].encode(), bytes.fromhex(vectors[f"{side}: identity key, public"]),
        b"1", b"1", b"1", vectors["way"].encode(), bytes.fromhex(vectors["host: certificate hash"]),
    ]  # fmt: skip
    assert vectors[f"{side}: AD"] == b"".join(len(field).to_bytes(2, "big") + field for field in fields).hex()


@pytest.mark.parametrize("side", ["joiner", "host"])
def test_tags_and_seals_follow_from_the_isk(vectors: dict[str, str], side: str) -> None:
    """The draft's key confirmation, RFC 5869 and RFC 8439, by the standard library where it has them."""
    isk, sid = bytes.fromhex(vectors["ISK"]), bytes.fromhex(vectors["sid"])
    share, ad = bytes.fromhex(vectors[f"{side}: share"]), bytes.fromhex(vectors[f"{side}: AD"])
    assert len(ad) in range(128, 2**14)  # two bytes of LEB128
    prefixed = bytes([len(share)]) + share + bytes([len(ad) & 127 | 128, len(ad) >> 7]) + ad
    mac_key = hashlib.sha512(b"CPaceMac" + sid + isk).digest()
    tag = hmac.digest(mac_key, prefixed, "sha512")
    assert vectors[f"{side}: tag"] == tag.hex()
    extracted = hmac.digest(sid, isk, "sha256")
    key = hmac.digest(extracted, f"meshnode/1 seal {side}".encode() + b"\x01", "sha256")
    assert vectors[f"{side}: seal key"] == key.hex()
    opened = ChaCha20Poly1305(key).decrypt(bytes(12), unbase64(vectors[f"{side}: sealed"]), sid + tag).decode()
    assert vectors[f"{side}: announcement"] in opened
    assert vectors[f"{side}: proof"] in opened


@pytest.mark.parametrize(
    ("name", "purpose"),
    [
        ("joiner: announcement", "announcement"),
        ("host: announcement", "announcement"),
        ("joiner: proof", "pairing"),
        ("host: proof", "pairing"),
        ("joiner: acknowledge", "pairing"),
        ("joiner: session statement", "session"),
        ("host: identity statement", "identity"),
    ],
)
def test_signatures_satisfy_another_implementation(vectors: dict[str, str], name: str, purpose: str) -> None:
    """PyJWT accepts each, under the side's key, with the header the text prescribes."""
    side = name.partition(":")[0]
    key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(vectors[f"{side}: identity key, public"]))
    verified = jwt.PyJWS(algorithms=["EdDSA"]).decode_complete(vectors[name], key, algorithms=["EdDSA"])
    assert unbase64(vectors[name].split(".")[0]).decode() == f'{{"alg":"EdDSA","typ":"meshnode-{purpose}+jws"}}'
    assert vectors.get(f"{name}, payload", verified["payload"].decode()) == verified["payload"].decode()


def test_hashes_and_invite_of_the_vectors(vectors: dict[str, str]) -> None:
    """Shares, announcement, fingerprint, invite."""
    shares = bytes.fromhex(vectors["joiner: share"] + vectors["host: share"])
    assert vectors["shares_sha256"] == hashlib.sha256(shares).hexdigest()
    announced = hashlib.sha256(vectors["host: announcement"].encode()).digest()
    assert unbase64(vectors["host: announcement_sha256"]) == announced
    key = hashlib.sha256(bytes.fromhex(vectors["host: identity key, public"])).digest()
    assert vectors["host: fingerprint"].replace("-", "") == base64.b32encode(key[:20]).decode()
    assert parse_invite(vectors["invite"]).cert.hex() == vectors["host: certificate hash"][:32]


# ── settings ───────────────────────────────────────────────────────────────────────────────────────────────────────


@cache
def settings() -> dict[str, set[str]]:
    """Section → its settings, as the configuration's reference prints them."""
    text = printer().render("settings")
    sections = re.split(r"^## \[(\w+)\]$", text, flags=re.MULTILINE)[1:]
    return {
        name: set(re.findall(r"^\| `(\w+)` \|", rows, re.MULTILINE))
        for name, rows in zip(sections[::2], sections[1::2], strict=True)
    }


def examples(text: str) -> Iterator[str]:
    """Indented blocks that begin with a section of ours."""
    for block in re.findall(r"(?:^    .*\n)+", text, re.MULTILINE):
        lines = [line[4:] for line in block.splitlines()]
        if re.fullmatch(r"\[(\w+)\]", lines[0]) and lines[0][1:-1] in settings():
            yield "\n".join(lines)


@every_page
def test_settings_that_a_page_names_exist(page: Path) -> None:
    """`section.key`, `MESHNODE_SECTION__KEY`; an invented one would be exit 78, or a warning that nobody reads."""
    text = written(page)
    dotted = [found for found in re.findall(r"`([a-z0-9]+)\.([a-z_]+)(?: = [^`]*)?`", text) if found[0] in settings()]
    dotted = [found for found in dotted if found[1] != "pem"]  # a file
    variables = [(a.lower(), b.lower()) for a, b in re.findall(r"\bMESHNODE_([A-Z0-9]+)__([A-Z_]+)", text)]
    for section, key in [*dotted, *variables]:
        assert (section, key) == ("section", "key") or key in settings()[section], f"{section}.{key}"


@every_page
def test_configurations_that_a_page_shows_are_taken(page: Path, tmp_path: Path) -> None:
    """Each is a file as it stands."""
    for number, example in enumerate(examples(page.read_text("utf-8"))):
        file = tmp_path / f"{number}.toml"
        file.write_text(example)
        assert load_config({}, {"MESHNODE_CONFIG": str(file)}).origins, example


def test_settings_are_found_and_wrong_ones_refused(tmp_path: Path) -> None:
    """The checks above would hold of text without settings too."""
    shown = list(examples((ROOT / "docs" / "operations.md").read_text("utf-8")))
    assert [text for text in shown if "trusted_proxies" in text]
    assert [text for text in shown if "allowed_networks" in text]
    (page := tmp_path / "page.md").write_text("`listen.plane = 1`")
    with pytest.raises(AssertionError, match=r"listen\.plane"):
        test_settings_that_a_page_names_exist(page)
