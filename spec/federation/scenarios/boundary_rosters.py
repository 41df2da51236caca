"""prosodyctl mod_s2s_partners contacts: rosters that ejabberd and Prosody have exported make contacts of relay hosts, and nothing else does."""

import re
import subprocess

from lab.client import Client
from lab.ejabberd import Ejabberd
from lab.prosody import Prosody

from ._boundary import ALICE, CAROL, HOST, ROOMS, Boundary
from ._edge import configuration, tls_dialback

BOB, DORA, FRED, GINA = "bob@public.test", "dora@public.test", "fred@public.test", "gina@b\u00fccher.test"
PARTNERS = configuration(tls_dialback("public.test", "b\u00fccher.test", partner_type="public_unverified"))
PIE = "xmlns='urn:xmpp:pie:0'"


def setup(lab):
    lab.boundary = Boundary(lab, PARTNERS, domains=["public.test"])
    lab.edge = lab.boundary.edge
    lab.edge.write_config()
    lab.partner = Prosody(lab, "partner", ["public.test"], users=[BOB, DORA], preset="tls-dialback").start()


def contacts(lab, *words, status=0):
    ran = lab.edge.ctl("mod_s2s_partners", "contacts", *words)
    assert ran.returncode == status, f"{words}: {ran.returncode}\n{ran.stdout}"
    return re.sub(r"(?m)^\S+ +(warn|info|error|debug)\t.*\n", "", ran.stdout)


def stored(lab, user="alice"):
    """{contact: (to, from, asked)} as the relation has it."""
    path = lab.edge._store_path(f"{user}@{HOST}", "s2s_partners_contacts")
    if not path.exists():
        return {}
    code = (f"for contact, item in pairs(dofile '{path}'.items) do "
            "print(contact, item.to or false, item.from or false, item.ask or false) end")
    lines = subprocess.run(["lua5.4", "-e", code], capture_output=True, text=True, check=True).stdout.splitlines()
    return {contact: tuple(word == "true" for word in words) for contact, *words in (line.split("\t") for line in lines)}


def forgotten(lab):
    for user in ("alice", "carol"):
        lab.edge._store_path(f"{user}@{HOST}", "s2s_partners_contacts").unlink(missing_ok=True)


def export(lab, name, inside, host=HOST):
    path = lab.directory / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"<server-data {PIE}><host jid='{host}'>{inside}</host></server-data>")
    return path


def user(items, name="alice"):
    return f"<user name='{name}'><query xmlns='jabber:iq:roster'>{items}</query></user>"


def refused(lab, path, *words, status=2):
    """The file is refused whole: nothing is written."""
    said = contacts(lab, path, status=status)
    assert all(word in said for word in words) and "nothing has been imported" in said, said
    assert stored(lab) == {} and stored(lab, "carol") == {}, said
    return said


def scenario_of_ejabberd(lab):
    """Everything of the server: a file that includes one for each host."""
    forgotten(lab)
    old = Ejabberd(lab, "old", {HOST: "no-external"}, users=[ALICE, CAROL], register=False,
                   options={"append_host_config": {HOST: {"modules": {"mod_admin_extra": {}}}}}).start()
    for contact, state in ((BOB, "both"), (DORA, "none"), (FRED, "from"), ("x@colleague.test", "both"), (GINA, "to")):
        name, _, domain = contact.partition("@")
        # A list from 24.02 on.
        groups = {"group": "A & B"} if old.version.startswith("23.") else {"groups": ["A & B"]}
        old.api("add_rosteritem", localuser="alice", localhost=HOST, user=name, host=domain, nick=name, subs=state, **groups)
    target = lab.directory / "export-of-ejabberd"
    target.mkdir()
    target.chmod(0o777)
    old.api("export_piefxis", dir=str(target))
    old.stop()
    main = next(path for path in target.iterdir() if "xi:include" in path.read_text())
    said = contacts(lab, "--dry-run", main)
    assert "4 contacts would be added" in said and stored(lab) == {}, said
    said = contacts(lab, main)
    assert "2 files, 2 users of relay hosts: 4 contacts added, 0 known already" in said, said
    assert "left out: 1 contacts at domains that no partner has (colleague.test)" in said, said
    assert stored(lab) == {BOB: (True, True, False), DORA: (False, False, False), FRED: (False, True, False),
                           "gina@xn--bcher-kva.test": (True, False, False)}, stored(lab)
    assert "0 contacts added, 4 known already" in contacts(lab, main)


def scenario_of_prosody(lab):
    """What its own migrator writes: a file for each user."""
    forgotten(lab)
    old = Prosody(lab, "old-prosody", [HOST], users=[ALICE, CAROL], register=False)
    old.set_roster(ALICE, {BOB: "both", DORA: 'subscription = "none"; ask = "subscribe"; groups = { ["A & B"] = true }'})
    old.set_roster(CAROL, {FRED: "to"})
    target = lab.directory / "export-of-prosody"
    target.mkdir()
    root = old.installation.root
    program = (root / "usr/bin/prosody-migrator").read_text()
    for name, value in (("CFG_SOURCEDIR", root / "usr/lib/prosody"), ("CFG_PLUGINDIR", f"{root}/usr/lib/prosody/modules/"), ("CFG_DATADIR", target)):
        program = re.sub(rf"(?m)^{name}=.*$", f"{name}='{value}';", program)
    (lab.directory / "migrator").write_text(program)
    (lab.directory / "migrator.cfg.lua").write_text(
        f'input {{ hosts = {{ ["{HOST}"] = {{ "accounts", "roster" }} }}; type = "internal"; path = "{old.directory}/data" }}\n'
        'output { type = "xep0227" }\n')
    ran = subprocess.run(["lua5.4", lab.directory / "migrator", "--root", "--config", lab.directory / "migrator.cfg.lua"], cwd=target,
                         capture_output=True, text=True, timeout=30)
    files = sorted(target.glob("*.xml"))
    assert ran.returncode == 0 and len(files) == 2, f"{ran.stdout}{ran.stderr}"
    said = contacts(lab, *files)
    assert "2 files, 2 users of relay hosts: 3 contacts added" in said, said
    assert stored(lab) == {BOB: (True, True, False), DORA: (False, False, True)} and stored(lab, "carol") == {FRED: (True, False, False)}


def scenario_counts_for_the_guard(lab):
    """A contact without any subscription is known only from here; who is not in the file stays refused. While the server runs nothing is imported."""
    forgotten(lab)
    path = export(lab, "counts.xml", user(f"<item jid='{BOB}' subscription='none'/>"))
    contacts(lab, path)
    inside = lab.boundary.prosody().start()
    lab.edge.start()
    try:
        said = contacts(lab, path, status=1)
        assert "the server is running" in said, said
        assert "1 known already" in contacts(lab, path, "--dry-run")
        with Client(ALICE, inside.address) as alice, Client(BOB, lab.partner.address) as bob, Client(DORA, lab.partner.address) as dora:
            bob.send_message(ALICE, "from a contact")
            alice.wait_message("from a contact")
            assert dora.wait_error(dora.send_message(ALICE, "from nobody"))[0] == "service-unavailable"
        shown = lab.edge.shell(f'partners:contacts("{ALICE}")')
        assert f"{BOB}: none, since" in shown and "by an import of rosters" in shown, shown
    finally:
        lab.edge.stop()
        inside.stop()


def scenario_what_is_left_out(lab):
    forgotten(lab)
    items = "".join(f"<item jid='{jid}' subscription='{state}'/>" for jid, state in (
        (BOB, "remove"), ("public.test", "both"), ("@public.test", "both"), ("a b@public.test", "both"), ("", "both"),
        (f"{DORA}/desk", "both"), ("x@%s.test" % ("a" * 70), "both")))
    path = export(lab, "odd.xml", user(items) + user(f"<item jid='{FRED}'/><item subscription='to'/>", "carol")
                  + user(f"<item jid='{BOB}'/>", "n\u00e9" * 101))
    said = contacts(lab, path, export(lab, "rooms.xml", user(f"<item jid='{BOB}'/>"), ROOMS), status=1)
    assert stored(lab) == {DORA: (True, True, False)} and stored(lab, "carol") == {FRED: (False, False, False)}, said
    for words in ("1 users of hosts that are no relay hosts with users (conference.contoso.test)", "contacts whose address is none of a user",
                  f"another word than none, to, from and both ({BOB})", "2 contacts added"):
        assert words in said, (words, said)
    # No more than a user may have of those that are learned.
    said = contacts(lab, export(lab, "many.xml", user("".join(f"<item jid='u{n}@public.test'/>" for n in range(1200)))), status=1)
    assert "999 contacts added" in said and "201 contacts beyond the 1000" in said and len(stored(lab)) == 1000, said


def scenario_bad_files(lab):
    """One that is wrong anywhere writes nothing, also of what stands before that."""
    forgotten(lab)
    good = user(f"<item jid='{BOB}' subscription='both'/>")
    whole = export(lab, "whole.xml", good)
    cut = lab.directory / "cut.xml"
    cut.write_text(whole.read_text()[:-20])
    refused(lab, cut, "not well-formed XML")
    assert "nothing has been imported" in contacts(lab, whole, cut, status=2) and stored(lab) == {}
    other = lab.directory / "other.xml"
    for text, words in (
            ("<html/>", "is no export by XEP-0227"), ("", "not well-formed"), (f"<server-data xmlns='x'><host jid='{HOST}'/></server-data>", "is no export"),
            (f"<!DOCTYPE x [<!ENTITY e SYSTEM 'file:///etc/passwd'>]><server-data {PIE}><host jid='{HOST}'>{good}</host></server-data>", "document type"),
            (f"<server-data {PIE}><host jid='{HOST}'>{good}{user('', '')}</host></server-data>", "is none"),
            (f"<server-data {PIE}><host jid='a@b/c'>{good}</host></server-data>", "a host without a domain"),
            (f"<user {PIE} name='alice'/>", "without a host"),
            (f"<server-data {PIE}><host jid='{HOST}'>{good}<user name='alice'>" + "<a>" * 120 + "</a>" * 120 + "</user></host></server-data>", "too deeply")):
        other.write_text(text)
        refused(lab, other, words)
    refused(lab, lab.directory / "nowhere.xml", "No such file")
    refused(lab, lab.directory, "directory")


def scenario_includes(lab):
    """Only what is in the folder of the file, as no link."""
    forgotten(lab)
    folder = lab.directory / "includes"
    (folder / "sub").mkdir(parents=True)
    xi = "xmlns:xi='http://www.w3.org/2001/XInclude'"
    secret = export(lab, "secret.xml", user(f"<item jid='{BOB}' subscription='both'/>"))
    main = folder / "main.xml"

    def including(href, more="", around="{}"):
        main.write_text(f"<server-data {PIE} {xi}>" + around.format(f"<xi:include href='{href}'{more}/>") + "</server-data>")
        return main
    for href in ("../secret.xml", str(secret), f"file://{secret}", "sub/../../secret.xml", "%2e%2e/secret.xml", "..", ""):
        refused(lab, including(href), "includes")
    (folder / "link.xml").symlink_to(secret)
    (folder / "away").symlink_to(lab.directory)
    refused(lab, including("link.xml"), "is a link")
    refused(lab, including("away/secret.xml"), "is a link")
    refused(lab, including("main.xml"), "is no export")
    refused(lab, including("main.xml", " parse='text'"), "other means")
    refused(lab, including("nowhere.xml"), "cannot be read")
    (folder / "sub" / "alice.xml").write_text(f"<user {PIE} name='alice'><query xmlns='jabber:iq:roster'><item jid='{BOB}' subscription='to'/></query></user>")
    said = contacts(lab, including("sub/alice.xml", around=f"<host jid='{HOST}'>{{}}</host>"))
    assert "2 files, 1 user of relay hosts: 1 contact added" in said and stored(lab) == {BOB: (True, False, False)}, said


def scenario_no_relay_host(lab):
    edge = Prosody(lab, "ordinary", ["ordinary.test"], partners=PARTNERS, register=False)
    edge.write_config()
    ran = edge.ctl("mod_s2s_partners", "contacts", export(lab, "for-nobody.xml", ""))
    assert ran.returncode == 1 and "there is no relay host with users" in ran.stdout, ran.stdout
    assert "contacts takes one or more files" in contacts(lab, status=2)
