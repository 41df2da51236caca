#!/usr/bin/python3
"""Seeds for the fuzzers of certificates and names: seeds.py certificate|identity DIR"""

import pathlib
import re
import sys

FIXTURES = pathlib.Path(__file__).resolve().parents[2] / "fixtures"


def tlv(tag, *content):
    body = b"".join(content)
    length = bytes([len(body)]) if len(body) < 128 else bytes([0x82]) + len(body).to_bytes(2, "big")
    return bytes([tag]) + length + body


def unescape(text):
    simple = text.encode().replace(b"\\0", b"\0").replace(b"\\n", b"\n").replace(b"\\\\", b"\\")
    return re.sub(rb"\\x([0-9a-f]{2})", lambda found: bytes([int(found[1], 16)]), simple)


def rows():
    for line in (FIXTURES / "identities.tsv").read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            kind, presented, reference, _, _ = line.split("\t")
            yield kind, unescape(presented), reference.encode()


def identity():
    types = ["other", "dns", "srv", "xmpp-addr"]
    for kind, presented, reference in rows():
        yield bytes([types.index(kind), len(reference)]) + reference + presented


def certificate():
    srv, xmpp_addr = bytes.fromhex("2b06010505070807"), bytes.fromhex("2b06010505070805")
    for kind, presented, _ in rows():
        if kind in ("srv", "xmpp-addr"):
            oid, string = (srv, 0x16) if kind == "srv" else (xmpp_addr, 0x0c)
            name = tlv(0xa0, tlv(6, oid), tlv(0xa0, tlv(string, presented)))
        else:
            name = tlv(0x82 if kind == "dns" else 0x81, presented)
        yield b"\2" + tlv(0x30, name)
    yield b"\2" + tlv(0x30, tlv(0x87, bytes(4)), tlv(0x82, b"*.fabrikam.com"), tlv(0xa4, tlv(0x30)))
    for tag in (0xa0, 0xa1):
        for base in (b"fabrikam.com", b"corp.fabrikam.com", b".com", b""):
            yield b"\3" + tlv(0x30, tlv(tag, tlv(0x30, tlv(0x82, base))))
    yield b"\1" + bytes.fromhex("004001")
    yield b"\0" + bytes.fromhex("0004") + tlv(0x30, tlv(0x30))
    yield b"\4-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n"


directory = pathlib.Path(sys.argv[2])
directory.mkdir(parents=True, exist_ok=True)
for number, seed in enumerate({"identity": identity, "certificate": certificate}[sys.argv[1]]()):
    (directory / f"seed-{number:03}").write_bytes(seed)
