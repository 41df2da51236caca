"""Test certificates, made with the openssl command from fixtures/certificates/kinds.json."""

import base64
import datetime
import hashlib
import json
import pathlib
import random
import subprocess
import threading
from dataclasses import dataclass

from .paths import FIXTURES

RECIPE = json.loads((FIXTURES / "certificates" / "kinds.json").read_text())

# `openssl x509 -req` cannot choose the start of the validity, `openssl ca` can;
# it insists on a data base, so every issuer has an empty one.
CONFIG = """\
[ca]
default_ca = issuer
[issuer]
database = {directory}/{serial}.index
new_certs_dir = {directory}
default_md = sha256
policy = any
unique_subject = no
rand_serial = yes
copy_extensions = none
[any]
commonName = supplied
[extensions]
{extensions}
"""

CA_EXTENSIONS = {
    "basicConstraints": "critical,CA:TRUE",
    "keyUsage": "critical,keyCertSign,cRLSign",
    "subjectKeyIdentifier": "hash",
}
LEAF_EXTENSIONS = {
    "basicConstraints": "critical,CA:FALSE",
    "keyUsage": "critical,digitalSignature",
    "extendedKeyUsage": "serverAuth,clientAuth",
    "subjectKeyIdentifier": "hash",
}


KEYS = {    # what `openssl req` is told
    "ec": ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"],
    "p-384": ["ec", "-pkeyopt", "ec_paramgen_curve:P-384"],
    "ed25519": ["ed25519"],
    "rsa-2048": ["rsa:2048"],
    "rsa-1024": ["rsa:1024"],
}

# Names as bytes, for what the openssl command would refuse to write: form -> tag, or the otherName's type and string tag.
NAME_TAGS = {"dns": 0x82, "email": 0x81, "uri": 0x86}
OTHER_NAMES = {"srv": "2b06010505070807", "xmpp": "2b06010505070805"}
STRING_TAGS = {"ia5": (0x16, "utf-8"), "utf8": (0x0c, "utf-8"), "bmp": (0x1e, "utf-16-be"), "printable": (0x13, "utf-8")}


def der(tag, *content):
    """One DER element."""
    body = b"".join(content)
    length = len(body).to_bytes((len(body).bit_length() + 7) // 8 or 1, "big")
    return bytes([tag]) + (length if len(body) < 128 else bytes([0x80 | len(length)]) + length) + body


def der_parts(data):
    """[(tag, content)] of the DER elements in data."""
    parts = []
    while data:
        length, start = data[1], 2
        if length >= 0x80:
            start += length - 0x80
            length = int.from_bytes(data[2:start], "big")
        parts.append((data[0], data[start:start + length]))
        data = data[start + length:]
    return parts


def der_name(form, value):
    """A GeneralName whose value is taken as it is; form: "dns", or "srv:ia5", "xmpp:bmp"..."""
    form, _, string = form.partition(":")
    if form in NAME_TAGS:
        return der(NAME_TAGS[form], value.encode())
    tag, encoding = STRING_TAGS[string]
    return der(0xa0, der(6, bytes.fromhex(OTHER_NAMES[form])), der(0xa0, der(tag, value.encode(encoding))))


def kinds():
    return list(RECIPE["kinds"])


@dataclass(frozen=True)
class Leaf:
    certificate: pathlib.Path   # PEM: the leaf, then its intermediates
    key: pathlib.Path
    weak: bool = False          # a TLS library shows it only when told not to mind
    twin: pathlib.Path = None   # for one that it cannot even read: an intact certificate of the same key

    @property
    def pin(self):
        """The leaf's key as the option pinned_keys spells it."""
        return pin(self.certificate)


def pin(certificate):
    """The SPKI pin of the first certificate in a PEM file."""
    key = _openssl("x509", "-in", certificate, "-noout", "-pubkey")
    der = subprocess.run(["openssl", "pkey", "-pubin", "-outform", "DER"],
                         input=key, stdout=subprocess.PIPE, check=True, timeout=20).stdout
    return "sha256//" + base64.b64encode(hashlib.sha256(der).digest()).decode()


class Certificates:
    """Makes what is asked for, once, below `directory`."""

    def __init__(self, directory):
        self.directory = pathlib.Path(directory)
        self.issuers = self.directory / "issuers"
        self.issuers.mkdir(parents=True, exist_ok=True)
        self._count = 0
        self._made = {}
        self._making = threading.RLock()    # scenarios have threads

    @property
    def trust(self):
        """The CA file that servers are to trust."""
        return self.issuer("ca").certificate

    def issuer(self, name="ca"):
        with self._making:
            return self._issuer(name)

    def _issuer(self, name):
        if ("issuer", name) not in self._made:
            row = RECIPE["issuers"][name]
            self._made["issuer", name] = self._make(
                self.issuers / f"{name}.pem", self.issuers / f"{name}.key", row["subject"],
                row, {**CA_EXTENSIONS, **row.get("extensions", {})},
                row.get("from", -90), row.get("to", 365))
        return self._made["issuer", name]

    def leaf(self, domain, kind="good", also=(), label=None, **changes):
        """A certificate for `domain`; `also`: more DNS names in it.

        `changes` overrides keys of the kind's row; give `label` then, it names the files."""
        with self._making:
            return self._leaf(domain, kind, also, label or "+".join([kind, *also]), changes)

    def _leaf(self, domain, kind, also, label, changes):
        if (domain, label) not in self._made:
            row = {**RECIPE["kinds"][kind], **changes}
            words = {"domain": domain, "parent": domain.partition(".")[2], "upper": domain.upper(),
                     "top": domain.rpartition(".")[2], "unicode": domain.encode().decode("idna"), "letter": domain[0]}
            names = [name.format(**words) for name in row.get("names", ["DNS:{domain}"])]
            names += [f"DNS:{name}" for name in also]
            extensions = {**LEAF_EXTENSIONS, **row.get("extensions", {})}
            if "raw_names" in row:
                extensions["subjectAltName"] = _raw_names(row["raw_names"], words)
            elif names:
                extensions.setdefault("subjectAltName", ",".join(names))
            self._made[domain, label] = self._make(
                self.directory / f"{domain}.{label}.crt", self.directory / f"{domain}.{label}.key",
                domain, row, extensions, row.get("from", -1), row.get("to", 30))
        return self._made[domain, label]

    def _make(self, certificate, key, subject, row, extensions, start, end):
        issuer = row.get("issuer", "self" if key.parent == self.issuers else "ca")
        self._count += 1
        work = self.issuers / str(self._count)
        pathlib.Path(f"{work}.index").touch()
        config = pathlib.Path(f"{work}.conf")
        config.write_text(CONFIG.format(
            directory=self.issuers, serial=self._count,
            extensions="\n".join(f"{name} = {value}" for name, value in extensions.items() if value is not None)))
        request = f"{work}.csr"
        # The subject's length is limited to 64 characters by X.520, a domain's is not.
        _openssl("req", "-new", "-newkey", *KEYS[row.get("key", "ec")], "-nodes",
                 "-keyout", key, "-out", request, "-subj", f"/CN={subject[:64]}")
        chain = b""
        if issuer == "self":
            signer = ["-selfsign", "-keyfile", key]
        else:
            parent = self.issuer(issuer)
            signer = ["-cert", parent.certificate, "-keyfile", parent.key]
            if RECIPE["issuers"][issuer].get("issuer", "self") != "self":
                chain = parent.certificate.read_bytes()
        if "chain" in row:
            chain = b"".join(self.only(self.issuer(name)) for name in row["chain"])
        _openssl("ca", "-batch", "-notext", "-config", config, "-extensions", "extensions",
                 "-startdate", _date(start), "-enddate", _date(end),
                 "-md", row.get("digest", "default"), *signer, "-in", request, "-out", certificate)
        if "append" in row:
            _append(certificate, key if issuer == "self" else parent.key, bytes.fromhex(row["append"]))
        certificate.write_bytes(certificate.read_bytes() + chain)
        weak = "digest" in row or row.get("key") == "rsa-1024" or issuer != "self" and parent.weak
        twin = None
        if "damaged" in row:
            twin = pathlib.Path(f"{work}.twin")
            _openssl("req", "-x509", "-key", key, "-subj", "/CN=twin", "-out", twin)
        return Leaf(certificate, key, weak, twin)

    def crl(self, kind="good", revoked=(), extra=0, reason="keyCompromise", **changes):
        """The bytes of a revocation list, by a row of "crls".

        revoked: files (Leaf) whose first certificate is; extra: so many numbers besides, that nobody has."""
        row = {**RECIPE["crls"][kind], **changes}
        with self._making:
            issuer = self._issuer(row.get("issuer", "ca"))
            self._count += 1
            work = self.issuers / str(self._count)
        date = _date(-1)[2:]
        numbers = [_openssl("x509", "-in", leaf.certificate, "-noout", "-serial").decode().strip().partition("=")[2]
                   for leaf in revoked]
        numbers += [f"5{random.getrandbits(124):031X}" for _ in range(extra)]
        pathlib.Path(f"{work}.index").write_text("".join(
            f"R\t491231235959Z\t{date}{',' + reason if reason else ''}\t{number}\tunknown\t/CN=revoked {number}\n" for number in numbers))
        extensions = {"authorityKeyIdentifier": "keyid", **row.get("extensions", {})}
        config = pathlib.Path(f"{work}.conf")
        config.write_text(CONFIG.format(
            directory=self.issuers, serial=self._count,
            extensions="\n".join(f"{name} = {value}" for name, value in extensions.items()))
            + "\n[scope]\n" + "".join(f"{name} = {value}\n" for name, value in row.get("scope", {}).items()))
        out = f"{work}.crl"
        _openssl("ca", "-gencrl", "-config", config, "-crlexts", "extensions", "-cert", issuer.certificate, "-keyfile", issuer.key,
                 "-crl_lastupdate", _date(row.get("from", -1)), "-crl_nextupdate", _date(row.get("to", 7)),
                 "-md", row.get("digest", "sha256"), "-out", out, timeout=90)     # many numbers take their time
        if row.get("form", "PEM") == "PEM":
            return pathlib.Path(out).read_bytes()
        return _openssl("crl", "-in", out, "-outform", "DER")

    @staticmethod
    def only(leaf):
        """The first certificate of its file, as PEM."""
        end = b"-----END CERTIFICATE-----\n"
        return leaf.certificate.read_bytes().partition(end)[0] + end


def _append(certificate, key, extension):
    """One more extension, whatever is there already, and a new signature."""
    (_, whole), = der_parts(_openssl("x509", "-in", certificate, "-outform", "DER"))
    signed, algorithm, _ = der_parts(whole)
    *fields, (_, extensions) = der_parts(signed[1])
    (_, extensions), = der_parts(extensions)
    body = b"".join(der(*field) for field in fields) + der(0xa3, der(0x30, extensions + extension))
    signature = subprocess.run(["openssl", "dgst", "-sha256", "-sign", key], input=der(0x30, body),
                               stdout=subprocess.PIPE, check=True, timeout=20).stdout
    whole = der(0x30, der(0x30, body), der(*algorithm), der(3, b"\0" + signature))
    certificate.write_text("-----BEGIN CERTIFICATE-----\n" + base64.encodebytes(whole).decode() + "-----END CERTIFICATE-----\n")


def _raw_names(rows, words):
    """The extension's value for `openssl ca`; a row is [form, value] or [form, value, count], numbered by {n}."""
    names = [der_name(form, value.format(**words, n=n))
             for form, value, *count in rows for n in range(*(count or [1]))]
    return "DER:" + der(0x30, *names).hex()


def _date(days):
    moment = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=days)
    return moment.strftime("%Y%m%d%H%M%SZ")


def _openssl(*arguments, timeout=20):
    ran = subprocess.run(["openssl", *map(str, arguments)], stdin=subprocess.DEVNULL,
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=timeout)
    if ran.returncode != 0:
        raise RuntimeError(f"openssl {arguments[0]}: {ran.stderr.decode(errors='replace')}")
    return ran.stdout
