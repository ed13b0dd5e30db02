"""A Sphinx extension that makes a site of Markdown pages that GitHub shows, too.

The sidebar is the list of pages in the README. Formulas are MathML, which needs no script and no network. Code in the
text, such as `bnn.analyze`, leads to the reference. The pages of the reference are made from the packages, and
the gallery from the notebooks.
"""

import importlib
import inspect
import re
import shutil
import sys
from pathlib import Path

import gallery
from docutils import nodes
from latex2mathml.converter import convert
from sphinx.addnodes import download_reference, pending_xref
from sphinx.transforms import SphinxTransform

import bnn

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = (
    "bnn",
    "bnn.layers",
    "bnn.networks",
    "bnn.geometry",
    "bnn.analysis",
    "bnn.binarization",
    "bnn.plots",
    "bnn.datasets",
    "bnn.models",
    "bnn.training",
    "bnn.optimizers",
    "bnn.runs",
    "bnn.settings",
    "bnn.packed",
)
# A public name in the text, perhaps with arguments.
PUBLIC_NAME = re.compile(r"(bnn(?:\.\w+)+)(\(.*\))?")
CITED = re.compile(r"\[(\d+)\]_")
LISTED = re.compile(r"\.\. \[(\d+)\]")
PAGE = re.compile(r"\[([^][]+)\]\(([\w./-]+?)(\.md|\.ipynb)\)")


def setup(app):
    """Register everything."""
    app.add_html_math_renderer("mathml", (visit_math, None), (visit_math_block, None))
    app.add_transform(NamesLeadToTheReference)
    app.add_transform(FoldersHaveNoPage)
    app.add_transform(PagesStayPages)
    app.connect("build-finished", copy_pages)
    app.connect("builder-inited", write_reference)
    app.connect("source-read", add_sidebar)
    app.connect("autodoc-process-docstring", as_restructured_text, priority=400)  # before napoleon
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def write_reference(app):
    """Write one page for each package of `PACKAGES`, which autodoc fills with its public names."""
    folder = ROOT / "docs" / "reference"
    folder.mkdir(exist_ok=True)
    for package in PACKAGES:
        members = ", ".join(_functions(package))
        page = f"# {package}\n\n```{{eval-rst}}\n.. automodule:: {package}\n   :members: {members}\n```\n"
        path = folder / f"{package}.md"
        if not path.is_file() or path.read_text() != page:
            path.write_text(page)
    gallery.write(folder, ROOT)


def _functions(package):
    """The public functions and classes of a package, without those on the page of `bnn`."""
    module = importlib.import_module(package)
    names = getattr(module, "__all__", None) or [name for name in vars(module) if not name.startswith("_")]
    found = {name: getattr(module, name) for name in names}
    first = [getattr(bnn, name) for name in bnn.__all__] if module is not bnn else []
    return [
        name
        for name, value in found.items()
        if callable(value) and value.__module__.startswith("bnn") and value not in first
    ]


def add_sidebar(app, docname, source):
    """Make hidden lists of contents from the README's section "Documentation": one for each of its lines."""
    if docname != app.config.root_doc:
        if docname.endswith("/seed0/README"):  # reached from the list of runs
            source[0] = f"---\norphan: true\n---\n\n{source[0]}"
        return
    section = source[0].partition("\n## Documentation\n")[2].partition("\n## ")[0]
    for line in filter(None, section.splitlines()):
        caption, _, links = line.partition(":")
        pages = [f"{title[0].upper()}{title[1:]} <{page}>" for title, page, _ in PAGE.findall(links)]
        if pages:
            source[0] += _toctree(caption.strip("-* "), pages)
    source[0] += _toctree("Reference", [f"docs/reference/{name}" for name in ("gallery", *PACKAGES)])


def _toctree(caption, pages):
    return "\n".join(["", "", "```{toctree}", ":hidden:", f":caption: {caption}", *pages, "```", ""])


def as_restructured_text(app, what, name, obj, options, lines):
    """Mend what Google's docstrings have and reStructuredText reads otherwise.

    References become lists, also those of the module, to which the docstring refers by number. |x| is no
    substitution, and *args no emphasis. `.name` is an attribute of what was named before. An indented block after a
    colon stays as it is.
    """
    text = inspect.cleandoc("\n".join(lines))
    cited, listed = set(CITED.findall(text)), set(LISTED.findall(text))
    if missing := sorted(cited - listed):
        entries = _references(sys.modules.get(getattr(obj, "__module__", None)))
        text += "\n\nReferences:\n" + "\n".join(f"    {entries[n]}" for n in missing if n in entries)
    text = CITED.sub(r"[\1]", LISTED.sub(r"*  [\1]", text))
    text = re.sub(r":\n\n(?=    )", "::\n\n", text)
    text = re.sub(r"`(\.\w+)`", r"``\1``", text)
    lines[:] = re.sub(r"(\||(?<=\W)\*(?=\w))", r"\\\1", text).splitlines()


def _references(module):
    """A dict from the number of each reference in a module's docstring to its entry."""
    text = inspect.getdoc(module) or ""
    entries = re.findall(r"^ *(\.\. \[(\d+)\] .*(?:\n {5,}(?!\.\.).*)*)", text, re.MULTILINE)
    return {number: " ".join(entry.split()) for entry, number in entries}


class NamesLeadToTheReference(SphinxTransform):
    """Make each public name in the text a link to its entry of the reference, if it has one."""

    default_priority = 5

    def apply(self, **options):
        """Wrap each literal that is a name in a reference that Sphinx resolves, or leaves as it is."""
        for literal in list(self.document.findall(nodes.literal)):
            found = PUBLIC_NAME.fullmatch(literal.astext())
            if found and not isinstance(literal.parent, nodes.reference | pending_xref):
                link = pending_xref("", refdomain="py", reftype="obj", reftarget=found[1], refwarn=False)
                link["refdoc"] = self.env.docname
                literal.replace_self(link)
                link += literal


class FoldersHaveNoPage(SphinxTransform):
    """Make a link to a folder one to its README, or plain text if it has none."""

    default_priority = 4

    def apply(self, **options):
        """Change links of Markdown to existing folders."""
        page = Path(self.env.doc2path(self.env.docname))
        for link in list(self.document.findall(pending_xref)):
            folder = page.parent / link["reftarget"].partition("#")[0]
            if link["reftype"] == "myst" and folder.is_dir():
                if (folder / "README.md").is_file():
                    target = (folder / "README").resolve().relative_to(ROOT)
                    link.attributes |= {"refdomain": "doc", "reftarget": str(target), "reftargetid": None}
                else:
                    link.replace_self(link.children)


class PagesStayPages(SphinxTransform):
    """Make a link to a page of HTML one that opens it, not one that downloads it."""

    default_priority = 4

    def apply(self, **options):
        """Change the links that Markdown made downloads."""
        for link in list(self.document.findall(download_reference)):
            if link["reftarget"].endswith(".html"):
                link.replace_self(
                    nodes.reference("", "", *link.children, refuri=link["reftarget"], internal=True)
                )


def copy_pages(app, exception):
    """Copy the pages of HTML in docs/ to the place beside the others."""
    for path in (ROOT / "docs").glob("*.html"):
        shutil.copy(path, Path(app.outdir, "docs"))


def visit_math(self, node):
    """Write a formula within a line."""
    self.body.append(_mathml(node.astext(), "inline"))
    raise nodes.SkipNode


def visit_math_block(self, node):
    """Write a formula of its own line."""
    self.body.append(f'<div class="formula">{_mathml(node.astext(), "block")}</div>')
    raise nodes.SkipNode


def _mathml(latex, display):
    return convert(latex.replace(r"\,", r"\thinspace ").replace(r"\!", ""), display=display)
