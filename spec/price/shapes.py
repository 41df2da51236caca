"""Text of a given size, as hostile as XML can be.  A shape is a function (room, round) -> Text: of at most `room` bytes, and in each
round with other names where there are names, so that what is kept of one is not taken for what is kept of another."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Text:
    text: str
    elements: int = 1       # top-level elements, for the price of one
    header: dict = None     # of the stream header instead, for those that send one
    leaf: dict = None       # of a certificate instead: changes to fixtures/certificates/kinds.json's row "good"


# What fills an element: functions (room) -> text

def nested(name="a"):
    """Elements in elements in elements."""
    return lambda room: f"<{name}>" * (room // (2 * len(name) + 5)) + f"</{name}>" * (room // (2 * len(name) + 5))


def many(child):
    """The same child again and again."""
    return lambda room: child * (room // len(child))


def numbered(child):
    """The child, each with another {n}."""
    def fill(room):
        parts, number = [], 0
        while room > 0:
            part = child.replace("{n}", str(number))
            room -= len(part)
            if room >= 0:
                parts.append(part)
            number += 1
        return "".join(parts)
    return fill


def tree(depth, bottom, child="<a/>"):
    """Children at the bottom of a chain of elements."""
    def fill(room):
        room -= depth * 7 + len(bottom)
        return "<x>" * depth + child * (room // len(child)) + bottom + "</x>" * depth
    return fill


TEXT = many("x")
APOSTROPHES = many("'")
ENTITIES = many("&lt;")
DEEP = nested()
CHILDREN = many("<a/>")
TEXTED = many("<a>b</a>")
NAMESPACES = numbered("<a xmlns='n{n}'/>")
NAMES = numbered("<a{n}/>")
ATTRIBUTES = numbered(" a{n}=''")
LANGUAGES = numbered("<body xml:lang='l{n}'>b</body>")
STATUSES = many("<status>s</status>")
LANGUAGE_STATUSES = numbered("<status xml:lang='l{n}'>s</status>")
STATUS_DEEP = tree(60, "<status>s</status>")


# Shapes

def one(head, fill, tail):
    """One element: head, what fills it, tail; {r} in the head is the round."""
    def shape(room, turn):
        begin = head.replace("{r}", str(turn))
        return Text(begin + fill(room - len(begin) - len(tail)) + tail)
    return shape


def attributed(head, tail):
    """One element with as many attributes as fit."""
    return one(head, ATTRIBUTES, tail)


def flood(pattern, most=None):
    """Elements one after the other; {n} is the number of each, {r} the round."""
    def shape(room, turn):
        count = room // len(pattern.replace("{n}", "0000").replace("{r}", "0"))
        if most:
            count = min(most, count)
        return Text("".join(pattern.replace("{n}", f"{number:04}").replace("{r}", str(turn)) for number in range(count)), max(count, 1))
    return shape


def header(attribute, fill, **others):
    """A stream header of which one attribute is long; nothing behind it."""
    return lambda room, _: Text("", header={**others, attribute: fill(room - 300)})


def header_attributes(fill):
    """A stream header with more attributes, as raw text."""
    return lambda room, _: Text("", header={"raw": fill(room - 300)})


def bytes_only(fill):
    """What is no stream at all."""
    return lambda room, _: Text(fill(room), header={"none": True})


def certificate(label, **changes):
    """A certificate; the size is how many names, or certificates in the chain, there are."""
    def shape(room, turn):
        made = {key: value for key, value in changes.items() if key != "names_of"}
        if "names_of" in changes:
            made["raw_names"] = [[form, value, room] for form, value in changes["names_of"]]
        if "chain_of" in made:
            made["chain"] = [made.pop("chain_of")] * room
        return Text("", leaf={"label": f"{label}-{room}", **made})
    return shape


def zone(line):
    """Records of DNS; the size is how many there are."""
    return lambda room, _: Text("".join(line.replace("{n}", str(number)) + "\n" for number in range(room)))
