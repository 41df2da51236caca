"""Partner files and anchors that are no files, or never end: the server does not stand still, and the log says what to do."""

import os

from scenarios._edge import configuration, edge_server, partner

GOOD = configuration(partner("fabrikam.test"))


def with_file(lab, name, make, message, option='s2s_partners_files = { "one.cfg.lua" }'):
    """The edge starts, refuses, and names the file; a reload does not stand still either."""
    edge = edge_server(lab, f"{GOOD}{option}\n", name=name, register=False)
    make(edge.directory / "one.cfg.lua")
    edge.start()
    edge.wait_log(message)
    edge.shell("> 1")       # only then does it take signals
    mark = edge.mark()
    edge.reload()
    edge.wait_log(message, 5, mark)
    edge.stop()


def scenario_endless_partner_file(lab):
    with_file(lab, "endless", lambda path: path.write_text("while true do end\n"), r"error.*one.cfg.lua.*takes too long")


def scenario_endless_in_a_callback(lab):
    text = "return { { domain = ('x'):gsub('x', function () while true do end end) } }\n"
    with_file(lab, "callback", lambda path: path.write_text(text), r"error.*one.cfg.lua.*takes too long")


def scenario_fifo_for_a_partner_file(lab):
    with_file(lab, "fifo", os.mkfifo, r"error.*one.cfg.lua.*is not a file")


def scenario_directory_for_a_partner_file(lab):
    with_file(lab, "directory", os.mkdir, r"error.*one.cfg.lua.*is not a file")


def scenario_huge_partner_file(lab):
    def make(path):
        with open(path, "wb") as file:
            file.truncate(20 << 30)      # all holes
    with_file(lab, "huge", make, r"error.*one.cfg.lua.*larger than")


def scenario_loop_of_links_for_a_partner_file(lab):
    with_file(lab, "links", lambda path: path.symlink_to(path), r"error.*one.cfg.lua.*(no such file|is not a file|too many levels)")


def scenario_fifo_for_trust_anchors(lab):
    with_file(lab, "anchors", os.mkfifo, r"error.*one.cfg.lua.*is not a file",
              's2s_partners = { { domain = "fabrikam.test"; partner_type = "federated"; trust_anchors = "one.cfg.lua" } }')


def scenario_partner_file_with_a_byte_order_mark(lab):
    """Some editors put one in front; Lua itself passes over it in files."""
    edge = edge_server(lab, 's2s_partners_files = { "one.cfg.lua" }\n', name="mark", register=False)
    (edge.directory / "one.cfg.lua").write_text(
        "\ufeffreturn { { domain = 'fabrikam.test'; partner_type = 'federated' } }\n")
    edge.start()
    edge.wait_log("Partner configuration applied: 1 partner")
    edge.shell("> 1")
    edge.stop()
