"""What the console shows of the inner leg: partners:check and partners:test of it, explain through both legs, streams of both sides, metrics."""

import re

from lab.client import Client
from lab.prosody import Prosody

from ._boundary import ALICE, BOB, HOST, ROOMS, Boundary
from ._edge import any_method, configuration

PARTNERS = configuration(
    any_method("fabrikam.test", presence_authorization="user"),
    any_method("northwind.test", presence_authorization="user"))


def words(text):
    """Without the line breaks that 80 columns make."""
    return re.sub(r"\s+", " ", text.replace("\n| ", "\n"))


def setup(lab):
    lab.boundary = Boundary(lab, PARTNERS, domains=["fabrikam.test"])       # northwind.test leads nowhere
    lab.edge = lab.boundary.edge.start()
    lab.inside = lab.boundary.prosody().start()
    lab.partner = Prosody(lab, "partner", ["fabrikam.test"], users=[BOB], preset="any").start()


def check(lab):
    return words(lab.edge.shell("partners:check()", timeout=60))


def test(lab, domain="fabrikam.test", host=HOST):
    return words(lab.edge.shell(f'partners:test("{domain}", "{host}")', timeout=60))


def scenario_test(lab):
    shown = lab.edge.shell('partners:test("fabrikam.test", "contoso.test")', timeout=60)
    print(shown)
    print(lab.edge.shell(f'partners:test("fabrikam.test", "{ROOMS}")', timeout=60))
    print(lab.edge.shell('partners:test("northwind.test", "contoso.test")', timeout=60))
    print(lab.edge.shell('partners:test("evil.test", "contoso.test")', timeout=60))
    print(lab.edge.shell('partners:check()', timeout=60))
    assert False
