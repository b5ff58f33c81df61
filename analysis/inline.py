"""What a page carries inside itself: figures as SVG in the page's own typeface, data to save, packed."""

import base64
import gzip
import re
from io import BytesIO, StringIO

import pandas as pd
from markupsafe import Markup

from ecgscale.analysis.figures.figure import Page
from ecgscale.analysis.figures.typesetting import in_a_page

_REFERENCES = re.compile(r"""(?:url\(#|href="#)([^")]+)""")
_OF_A_FILE = re.compile(
    r"<\?xml.*?\?>|<!DOCTYPE.*?>|<metadata>.*?</metadata>|<!--.*?-->| xmlns(?::\w+)?=\"[^\"]*\"", re.S
)


def svg(page: Page, name: str, title: str) -> Markup:
    """A figure as an ``<svg>`` element: its letters are text, its ids start with ``name``, ``title`` is its label.

    A hundredth of a point is as fine as it is drawn, and what only a file of its own needs is left out.
    """
    sink = BytesIO()
    with in_a_page():
        page.savefig(sink, format="svg", metadata={"Date": None, "Creator": None})
    text = _OF_A_FILE.sub("", sink.getvalue().decode()).strip()
    referred = set(_REFERENCES.findall(text))
    text = re.sub(r' id="([^"]*)"', lambda m: f' id="{name}-{m[1]}"' if m[1] in referred else "", text)
    text = _REFERENCES.sub(lambda m: m[0].replace(f"#{m[1]}", f"#{name}-{m[1]}"), text)
    text = re.sub(r"<[^>]*>", lambda tag: re.sub(r"(\d\.\d\d)\d+", r"\1", tag[0]), text)
    text = re.sub(r"\s+", " ", text).replace("> <", "><")
    label = Markup('<svg role="img" aria-label="{}"').format(title)
    return Markup(text.replace("<svg", label, 1))


def packed(data: bytes) -> str:
    """Bytes for an attribute: gzip, base64; the same bytes give the same text. The page's script unpacks them."""
    return base64.b64encode(gzip.compress(data, 9, mtime=0)).decode()


def as_uri(data: bytes, kind: str) -> str:
    """Bytes as a ``data:`` URI."""
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def csv(frame: pd.DataFrame) -> bytes:
    """A table as CSV with eight digits."""
    sink = StringIO()
    frame.to_csv(sink, index=False, float_format="%.8g", lineterminator="\n")
    return sink.getvalue().encode()
