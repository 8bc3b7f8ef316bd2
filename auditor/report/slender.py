"""Takes from a drawing what draws nothing: a PDF is made node by node, and half of what matplotlib writes is wrapping."""

from __future__ import annotations

import re

_METADATA = re.compile(r"\s*<metadata>.*?</metadata>", re.DOTALL)
_SHEET = re.compile(r'\s*<defs>\s*<style type="text/css">\*\{([^}]*)\}</style>\s*</defs>')
_STYLE = re.compile(r' style="([^"]*)"')
_GROUP = re.compile(r"[ \t]*<(/?)g\b([^>]*?)(/?)>\n?")
_UNTURNED = re.compile(r' transform="rotate\(-?0 [^"]*\)"')
_FAMILY = re.compile(r' font-family="[^"]*"')
_NAMED = re.compile(r'\s*id="[^"]*"\s*')


def slender(svg: str) -> str:
    """Return the same picture without metadata, style sheet and groups that only carry a name.

    Style declarations become attributes, which need no parser of styles; a font that all words share is named once.
    A drawing that is none of matplotlib's passes unharmed.
    """
    sheet = _SHEET.search(svg)
    svg = _SHEET.sub("", _METADATA.sub("", svg))
    if sheet is not None:
        svg = svg.replace("<svg ", f"<svg{_attributes(sheet[1])} ", 1)
    svg = _UNTURNED.sub("", _ungrouped(_STYLE.sub(lambda found: _attributes(found[1]), svg)))
    families = set(_FAMILY.findall(svg))
    return svg if len(families) != 1 else _FAMILY.sub("", svg).replace("<svg ", f"<svg{families.pop()} ", 1)


def _attributes(declarations: str) -> str:
    pairs = (part.partition(":") for part in declarations.split(";") if part.strip())
    return "".join(f' {name.strip()}="{value.strip()}"' for name, _, value in pairs)


def _ungrouped(svg: str) -> str:
    dropped: list[bool] = []

    def kept(found: re.Match[str]) -> str:
        closing, attributes, empty = found.groups()
        if closing:
            return "" if dropped.pop() else found[0]
        plain = not attributes.strip() or _NAMED.fullmatch(attributes) is not None
        if not empty:
            dropped.append(plain)
        return "" if plain else found[0]

    return _GROUP.sub(kept, svg)
