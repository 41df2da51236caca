#!/usr/bin/python3
"""Seeds for the fuzzers, from the fixtures: seeds.py TARGET DIR [COUNT]

With COUNT so many more, made of them: changed, cut, put together. They are the same each time, on every machine."""

import json
import pathlib
import random
import re
import sys

FIXTURES = pathlib.Path(__file__).resolve().parents[2] / "fixtures"
MOST = 20000        # bytes of a changed one


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


def crl():
    time, reason = tlv(0x17, b"250101000000Z"), bytes.fromhex("0603551d15")
    # 1002 is the number that the leaf has.
    for number in (b"\x03\xea", b"\x00", b"\x7f", b"\x00\x80", b"\xff\x7f", bytes([0x40]) * 20):
        for value in (None, 1, 6, 8):
            extensions = [tlv(0x30, tlv(0x30, reason, tlv(4, tlv(10, bytes([value])))))] if value else []
            yield b"\2" + tlv(0x30, tlv(2, number), time, *extensions)
    yield b"\2" + tlv(0x30, tlv(2, b"\x03\xea"), tlv(0x18, b"20250101000000Z"),
                      tlv(0x30, tlv(0x30, bytes.fromhex("0603551d1d"), tlv(1, b"\xff"), tlv(4, tlv(0x30)))))
    yield b"\1" + bytes.fromhex("004001")
    yield b"\0-----BEGIN X509 CRL-----\nMAA=\n-----END X509 CRL-----\n"
    yield b"\0" + tlv(0x30, tlv(0x30), tlv(0x30), tlv(3, b"\0"))


def texts(*values):
    """As choose_text() of fuzz.h reads them."""
    return b"".join(bytes([len(value)]) + value for value in values)


def domain():
    for _, presented, reference in rows():
        yield texts(reference[:255]) + presented
    for name in ("faß.de", "BÜCHER.example", "bücher。example", "xn--bcher-kva.example", "xn--a.example", "192.0.2.1",
                 "[2001:db8::1]", "a\u00adb.example", "." * 3, "a" * 63 + ".b", "a" * 64 + ".b", "例え.テスト", "اختبار.test"):
        yield texts(name.encode()) + name.upper().encode()
        yield texts(name.encode() + b".") + name.encode()


def authorisation():
    for line in (FIXTURES / "authorisation.tsv").read_text().splitlines()[1::37]:
        columns = line.split("\t")
        # Not the values themselves, but something that differs wherever the row does.
        yield bytes(sum(column.encode()) % 251 for column in columns[:15]) + texts(b"presence", columns[2].encode())


def stream():
    ways = ([0, 0, 1, 3, 10, 1, 11, 0, 14, 0], [0, 0, 5, 0, 10, 0, 11, 0], [0, 0, 7, 31, 1, 3, 7, 31, 10, 1, 11, 0, 15, 1],
            [0, 0, 2, 0, 3, 0, 1, 3, 12, 0, 2, 0, 4, 0, 10, 1, 11, 0], [0, 2, 10, 0, 11, 0], [0, 0, 16, 1, 17, 0, 11, 0])
    for direction in range(2):
        for world in range(0, 44, 3):
            for way in ways:
                yield bytes([direction, world, *way])


def config():
    """Scripts of calls: config_fuzz.c reads one byte for each choice."""
    partner = bytes([15, 0, 1, 1])      # whole_partner, with a name and a value that it does not look at
    for choice in range(3 * 3 * 3):
        yield bytes([0, 0, 3, 1, 43, 2, 1]) + partner + bytes([0, choice % 3, choice // 3 % 3, choice // 9]) + bytes(16)
    for path in sorted((FIXTURES / "config").glob("*/*.cfg.lua")):
        words = re.findall(rb'"([^"\n]{1,80})"', path.read_bytes())
        script = b"".join(bytes([6, 250]) + texts(word) + bytes([6, 250]) + texts(word) + b"\0" for word in words)
        yield bytes([0, 0, 60, 1, 43, 2, 0]) + script


def export():
    """Exports whole, in pieces that still are one, and in the other encodings."""
    xml = (FIXTURES / "import/partners.xml").read_bytes().decode("utf-16")
    head, objects = xml[:xml.index("<Obj ")], re.findall(r"<Obj RefId=\"\d+\">.*?\n  </Obj>", xml, re.DOTALL)
    texts = [xml, *(head + one + "</Objs>" for one in objects), head + "".join(objects[:3]) + "</Objs>"]
    for name in ("partners.json", "impossible.json"):
        text = (FIXTURES / "import" / name).read_text(encoding="utf-8-sig")
        partners = json.loads(text)
        texts += [text, json.dumps(partners[:2]), json.dumps({"value": partners[:2], "Count": 2}), *map(json.dumps, partners)]
    texts += [(FIXTURES / "import" / name).read_text(encoding="utf-8") for name in (
        "policies.json", "users.json", "remote_session.json", "whitelist.cfg.lua", "ejabberd.yml", "openfire.csv")]
    texts.append((FIXTURES / "import/gateway.xml").read_bytes().decode("utf-16"))
    for number, text in enumerate(texts):
        yield text.encode()
        yield text.encode(("utf-16", "utf-16-be", "utf-16-le", "utf-8-sig")[number % 4])


def stanzas():
    """What stanzas_fuzz.lua reads one byte for each choice of: facts, then four ways with partners at stages."""
    for way in range(4):
        for partner in range(6):
            for stage in range(6):
                for tail in (bytes(60), bytes([1]) * 60, bytes(range(60)), bytes([0, 1, 1, 2, 0, 5, 8, 0, 1]) * 7):
                    yield bytes(6) + bytes([way, partner, 1, stage, 1, 1]) + tail


def inside():
    """What inside_fuzz.lua reads one byte for each choice of: honest or not, then ways in its order."""
    speak, connect, freely, show, answer, reply, lie, tls, drop, arrive, time, settings = range(12)
    prove = [connect, 0, 0, 0, 0, show, 0, answer, 0, 1, reply, 0, 0, reply, 0]
    false = [connect, 0, 0, 0, 0, speak, 0, 1, 1, 1, answer, 0, 1, reply, 0, 0, reply, 0]     # a key that is not the server's
    say = [speak, 0, 1, 1, 5, 0, 8, 0, 0, 0]
    out = [arrive, 0, 0, 0, 0, 0, answer, 0, 1, reply, 0, 0, reply, 0, 1]
    texts = [b"<stream:stream xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams' xmlns:db='jabber:server:dialback' "
             b"version='1.0' from='contoso.test' to='fed.test'>", b"<message from='alice@contoso.test' to='bob@fed.test'><body>b</body></message>",
             b"<!DOCTYPE a>", b"<?pi?>", b"<!-- -->", b"<a xmlns='b'", b"</stream:stream>", b"\0\xff", b"<iq type='get' id='1'/>"]
    for mode in (0, 1):
        yield bytes([mode, *prove, *say, *say])
        yield bytes([mode, *false, *say])
        for tail in ([], [time, 4], [settings, 1], [settings, 2], [drop, 0, 0], [time, 1, time, 1, time, 4]):
            for piece in range(16):
                yield bytes([mode, *prove, speak, 0, 1, 1, piece, 0, 0, 0, *tail])
                yield bytes([mode, *out, lie, 0, 1, piece, 0, 0, *tail])
                yield bytes([mode, connect, 1, 0, 1, 0, speak, 0, 1, 1, piece, 0, tls, 0, 1, *tail])
        for text in texts:
            yield bytes([mode, *prove, freely, 0, len(text)]) + text
            yield bytes([mode, connect, 0, 1, freely, 0, len(text)]) + text
            yield bytes([mode, *out, lie, 0, 0, len(text)]) + text


def portable():
    """Rosters as ejabberd and Prosody export them, and what they may not hold."""
    pie, roster = "xmlns='urn:xmpp:pie:0'", "<query xmlns='jabber:iq:roster' version='1'>{}</query>"
    include = "xmlns:xi='http://www.w3.org/2001/XInclude'"
    items = ["<item jid='bob@fabrikam.test' subscription='both' name='B &amp; B'><group>A</group></item>", "<item jid='x' ask='subscribe'/>",
             "<item xmlns='other' jid='y'/>", "<item/>"]
    users = ["<user name='alice' password='x'>" + roster.format("".join(items)) + "<presence xmlns='jabber:client' from='p@x.test' type='subscribe'/></user>",
             "<user name='carol'><vCard xmlns='vcard-temp'><FN>Carol</FN></vCard>" + roster.format(items[0]) + roster.format(items[1]) + "</user>",
             "<user name='A@b'/>", "<user/>", "<user name='dora'>" + "<a>" * 110 + "</a>" * 110 + "</user>"]
    for chosen in ([], *([one] for one in users), users[:2], users):
        inside = "".join(chosen)
        yield f"<server-data {pie}><host jid='contoso.test'>{inside}</host></server-data>".encode()
        yield f"<?xml version='1.0' encoding='UTF-8'?><host {pie} {include} jid='contoso.test'>{inside}</host>".encode()
        yield f"<server-data {pie} {include}><xi:include href='host.xml'/><host jid='b.test'>{inside}<xi:include href='sub/user.xml'/></host></server-data>".encode()
        yield f"<!DOCTYPE a []><server-data {pie}><host jid='contoso.test'>{inside}</host></server-data>".encode()
        yield f"<server-data {pie}><!-- --><?a b?><host jid='contoso.test'>{inside}</host></server-data>".encode("utf-16")
    for href in ("../x", "../secret", "sub/../secret", "/secret", "/etc/passwd", "link", "sub", "nowhere", "main.xml", "sub/./user.xml", "file:x", "%2e%2e/x"):
        yield f"<server-data {pie} {include}><xi:include href='{href}'/></server-data>".encode()


MAKERS = {maker.__name__: maker for maker in (authorisation, certificate, config, crl, domain, identity, inside, portable, stanzas, stream)}
MAKERS["import"] = export


# What none of them has by itself.
ODD = (b"\0", b"\xff", b"\x7f", b"\x80", b"\r\n", b"%", b"'", b"\\", b"\xc3\xbc", b"\xe2\x80\xa8", b"\xed\xa0\x80", b"-1", b"0x10", b"5269.5", b"1e309",
       b"9223372036854775808", b"\xff\xff\xff\xff", b"\x00\x00\x00\x80", b"a" * 300)
TURNS = 8


class Changes:
    """Changes inputs. Of Python's generator random() alone is promised to give the same numbers in all versions."""

    def __init__(self, target, inputs):
        self.random = random.Random(target).random
        self.inputs = inputs
        words = pathlib.Path(__file__).with_name(f"{target}.dict")
        self.words = [*ODD, *(unescape(word) for word in re.findall(r'"(.*)"', words.read_text()))] if words.exists() else ODD

    def below(self, limit):
        return int(self.random() * limit)

    def any_of(self, values):
        return values[self.below(len(values))]

    def span(self, data):
        """Most are short."""
        begin = self.below(len(data) + 1)
        return begin, begin + self.below(min(len(data) - begin, 4 ** (1 + self.below(7))) + 1)

    def once(self, data):
        begin, end = self.span(data)
        what = self.below(7)
        if what == 0:
            return data[:begin] + data[end:]
        if what == 1:
            return data[:begin] + data[begin:end] * (2 + self.below(3)) + data[end:]
        if what == 2:
            return data[:begin] + self.any_of(self.words) + data[begin:]
        if what == 3:
            return data[:begin] + self.any_of(self.words) + data[end:]
        if what == 4:
            other = self.any_of(self.inputs)
            first, last = self.span(other)
            return data[:begin] + other[first:last] + data[end:]
        if what == 5:
            return data[:begin] + bytes([self.below(256)]) + data[begin + 1:]
        return data[:begin] + bytes([data[begin] ^ 1 << self.below(8)] if begin < len(data) else b"") + data[begin + 1:]

    def one(self):
        data = self.any_of(self.inputs)
        for _ in range(1 + self.below(TURNS)):
            data = self.once(data)[:MOST]
        return data


def main(target, directory, count=0):
    directory.mkdir(parents=True, exist_ok=True)
    inputs = list(MAKERS[target]())
    changes = Changes(target, inputs)
    for number, data in enumerate(inputs + [changes.one() for _ in range(count)]):
        (directory / f"seed-{number:03}").write_bytes(data)


main(sys.argv[1], pathlib.Path(sys.argv[2]), *map(int, sys.argv[3:]))
