"""Installed fonts that have the characters which the font of the figures lacks."""

import contextlib
import functools
import unicodedata

import matplotlib
from matplotlib import font_manager
from matplotlib.ft2font import FT2Font
from matplotlib.text import Text

OURS = "DejaVu Sans"  # comes with matplotlib
PLACEHOLDERS = ("last resort", "lastresort", "notdef", "tofu")  # fonts that draw a box for every character


def use_for(texts):
    """Add fonts to the current style, so that each character of some texts has a font, if one is installed.

    Args:
        texts: sequence of str.
    """
    families, _ = _search(_missing("".join(texts)))
    known = matplotlib.rcParams["font.family"]
    matplotlib.rcParams["font.family"] = [*known, *(name for name in families if name not in known)]


def lacking(texts):
    """Return the characters of some texts that no installed font has, a frozenset."""
    return _search(_missing("".join(texts)))[1]


def apply(fig):
    """Give the fonts of the current style to those texts of a figure that need them."""
    families = matplotlib.rcParams["font.family"]
    if len(families) > 1:
        for text in fig.findobj(Text):
            if _missing(text.get_text()):
                text.set_family(families)


def _missing(text):
    """The characters of a text that the font of the figures lacks."""
    return frozenset(c for c in text if not (c.isascii() or _ours().get_char_index(ord(c))))


@functools.cache
def _ours():
    return FT2Font(font_manager.findfont(OURS))


@functools.cache
def _search(missing):
    """Find fonts for some characters: (names of families, frozenset of the characters that none has)."""
    families = []
    for fonts in (_listed, _unlisted):
        if missing:
            covered = _covered(fonts(missing), missing)
            while missing and covered:
                best = max(covered, key=lambda name: len(covered[name] & missing))
                if not covered[best] & missing:
                    break
                families.append(best)
                missing -= covered[best]
    return tuple(families), missing


def _listed(missing):
    """The families in matplotlib's list of fonts that have one of the characters."""
    fonts = font_manager.fontManager.ttflist
    return {
        font.name
        for font in fonts
        if _is_plain(font) and _drawn(font.fname, getattr(font, "index", 0), missing)
    }


def _is_plain(font):
    weight = font_manager.weight_dict.get(font.weight, font.weight)
    return font.style == "normal" and weight in range(300, 501)


def _unlisted(missing):
    """Those that were installed after matplotlib had written its list; they are added to it."""
    listed = {font.fname for font in font_manager.fontManager.ttflist}
    for path in set(font_manager.findSystemFonts()) - listed:
        if _drawn(path, 0, missing):
            with contextlib.suppress(Exception):  # a font that matplotlib cannot use
                font_manager.fontManager.addfont(path)
    return _listed(missing)


def _covered(families, missing):
    """Dict from each family to the characters that it has, preferred families first: plain ones with short names."""
    region = _region(missing)
    covered = {}
    for name in sorted(
        families,
        key=lambda name: ("Serif" in name or "Mono" in name, not name.endswith(region), len(name), name),
    ):
        if not any(word in name.lower() for word in PLACEHOLDERS):
            found = font_manager.findfont(name)
            covered[name] = _drawn(str(found), getattr(found, "face_index", 0), missing)
    return covered


def _region(characters):
    """The ending of the families whose forms of Chinese characters readers of these characters are used to."""
    scripts = {unicodedata.name(c, "").partition(" ")[0] for c in characters}
    return "JP" if scripts & {"HIRAGANA", "KATAKANA"} else "KR" if "HANGUL" in scripts else "SC"


def _drawn(path, face, characters):
    """Those of some characters that a font file has outlines for; none if it cannot be read."""
    try:
        font = (
            FT2Font(path, face_index=face) if face else FT2Font(path)
        )  # matplotlib 3.10 knows no other face
        return frozenset(c for c in characters if _has_outline(font, c))
    except Exception:  # a damaged file, or only bitmaps
        return frozenset()


def _has_outline(font, character):
    index = font.get_char_index(ord(character))
    if not index:
        return False
    font.load_glyph(index)
    return len(font.get_path()[0]) > 0
