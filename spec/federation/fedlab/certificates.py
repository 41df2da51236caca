"""Test certificates, made with the openssl command from fixtures/certificates/kinds.json."""

import base64
import datetime
import hashlib
import json
import pathlib
import subprocess
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


def kinds():
    return list(RECIPE["kinds"])


@dataclass(frozen=True)
class Leaf:
    certificate: pathlib.Path   # PEM: the leaf, then its intermediates
    key: pathlib.Path

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

    @property
    def trust(self):
        """The CA file that servers are to trust."""
        return self.issuer("ca").certificate

    def issuer(self, name="ca"):
        if ("issuer", name) not in self._made:
            row = RECIPE["issuers"][name]
            self._made["issuer", name] = self._make(
                self.issuers / f"{name}.pem", self.issuers / f"{name}.key", row["subject"],
                row.get("issuer", "self"), {**CA_EXTENSIONS, **row.get("extensions", {})},
                row.get("from", -90), row.get("to", 365))
        return self._made["issuer", name]

    def leaf(self, domain, kind="good", also=(), label=None, **changes):
        """A certificate for `domain`; `also`: more DNS names in it.

        `changes` overrides keys of the kind's row; give `label` then, it names the files."""
        label = label or "+".join([kind, *also])
        if (domain, label) not in self._made:
            row = {**RECIPE["kinds"][kind], **changes}
            words = {"domain": domain, "parent": domain.partition(".")[2], "upper": domain.upper()}
            names = [name.format(**words) for name in row.get("names", ["DNS:{domain}"])]
            names += [f"DNS:{name}" for name in also]
            extensions = {**LEAF_EXTENSIONS, **row.get("extensions", {})}
            if names:
                extensions["subjectAltName"] = ",".join(names)
            self._made[domain, label] = self._make(
                self.directory / f"{domain}.{label}.crt", self.directory / f"{domain}.{label}.key",
                domain, row.get("issuer", "ca"), extensions, row.get("from", -1), row.get("to", 30))
        return self._made[domain, label]

    def _make(self, certificate, key, subject, issuer, extensions, start, end):
        self._count += 1
        work = self.issuers / str(self._count)
        pathlib.Path(f"{work}.index").touch()
        config = pathlib.Path(f"{work}.conf")
        config.write_text(CONFIG.format(
            directory=self.issuers, serial=self._count,
            extensions="\n".join(f"{name} = {value}" for name, value in extensions.items())))
        request = f"{work}.csr"
        # The subject's length is limited to 64 characters by X.520, a domain's is not.
        _openssl("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                 "-keyout", key, "-out", request, "-subj", f"/CN={subject[:64]}")
        chain = b""
        if issuer == "self":
            signer = ["-selfsign", "-keyfile", key]
        else:
            parent = self.issuer(issuer)
            signer = ["-cert", parent.certificate, "-keyfile", parent.key]
            if RECIPE["issuers"][issuer].get("issuer", "self") != "self":
                chain = parent.certificate.read_bytes()
        _openssl("ca", "-batch", "-notext", "-config", config, "-extensions", "extensions",
                 "-startdate", _date(start), "-enddate", _date(end),
                 *signer, "-in", request, "-out", certificate)
        certificate.write_bytes(certificate.read_bytes() + chain)
        return Leaf(certificate, key)


def _date(days):
    moment = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=days)
    return moment.strftime("%Y%m%d%H%M%SZ")


def _openssl(*arguments):
    ran = subprocess.run(["openssl", *map(str, arguments)], stdin=subprocess.DEVNULL,
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=20)
    if ran.returncode != 0:
        raise RuntimeError(f"openssl {arguments[0]}: {ran.stderr.decode(errors='replace')}")
    return ran.stdout
