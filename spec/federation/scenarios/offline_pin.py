"""prosodyctl mod_s2s_partners pin: the value that pinned_keys wants, as OpenSSL's own tools have it."""

import pathlib
import re
import subprocess

from scenarios._edge import configuration, edge_server, partner


def setup(lab):
    lab.edge = edge_server(lab, configuration(partner("listed.test")))
    lab.edge.write_config()


def pins(lab, path, status=0):
    ran = lab.edge.ctl("mod_s2s_partners", "pin", path)
    output = re.sub(r"(?m)^\S+ +(warn|info|error|debug)\t.*\n", "", ran.stdout)
    assert ran.returncode == status and "traceback" not in output, f"{ran.returncode}\n{ran.stdout}"
    return output if status else re.findall(r"(?m)^(sha256//\S{44})$", output)


def scenario_of_certificates(lab):
    leaf, issuer = lab.certificates.leaf("listed.test"), lab.certificates.issuer("ca")
    path = pathlib.Path(lab.directory) / "file"
    assert pins(lab, leaf.certificate) == [leaf.pin]
    path.write_bytes(subprocess.run(["openssl", "x509", "-in", leaf.certificate, "-outform", "DER"], check=True, stdout=subprocess.PIPE).stdout)
    assert pins(lab, path) == [leaf.pin]
    authority = pins(lab, issuer.certificate)
    both = pathlib.Path(leaf.certificate).read_text() + "some words between\n" + pathlib.Path(issuer.certificate).read_text()
    path.write_text(both)
    assert pins(lab, path) == [leaf.pin, *authority] and authority != [leaf.pin]
    path.write_text(both + pathlib.Path(leaf.key).read_text())
    assert pins(lab, path) == [leaf.pin, *authority]


def scenario_what_comes_out_is_accepted(lab):
    leaf = lab.certificates.leaf("listed.test")
    lab.edge.partners = configuration(partner("listed.test", pinned_keys=pins(lab, leaf.certificate)))
    lab.edge.write_config()
    assert "1 partner, 0 errors" in lab.edge.ctl("mod_s2s_partners", "check").stdout


def scenario_of_something_else(lab):
    path = pathlib.Path(lab.directory) / "file"
    leaf = lab.certificates.leaf("listed.test")
    for content, told in ((b"", "is empty"), (b"hello", "holds no certificate in PEM or DER form"), (b"0\x82\x01", "is no certificate"),
                          (pathlib.Path(leaf.key).read_bytes(), "holds no certificate, but "),
                          (b"-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n", "is no certificate (number 1 of 1"),
                          (b"-----BEGIN CERTIFICATE-----\n" * 30000, "holds no certificate, but CERTIFICATE"), (b"x" * 1048577, "is larger than 1 MiB"),
                          (b"-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n" * 1001, "holds more than 1000")):
        path.write_bytes(content)
        output = pins(lab, path, 2)
        assert "Error: " in output and told in output, output
    for words in ([], [path, path], ["--all"], ["/does/not/exist"], ["/"]):
        assert lab.edge.ctl("mod_s2s_partners", "pin", *words).returncode == 2
