"""The parts of a page, as HTML: texts, tables that can be sorted, what stands out, figures. All texts are escaped."""

import base64
import math
import re
from html import escape

from bnn.analysis.core import findings, statistics
from bnn.console.tables import cell

# Characters that HTML does not allow, and those that change the direction of the text around them.
CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
LINK = re.compile(r"\[([^\]]*)\]\(([^)]*)\)")
# What to see in each figure of `plots.save_all`.
CAPTIONS = {
    "angles": "Each row is a layer: the angles of its units between quantized and latent kernel, beside the angle of "
    "Gaussian weights.",
    "latent_weights": "Each panel is a layer: its latent weights, and a normal density of the same spread. The angle "
    "is larger where the weights are more peaked.",
    "dot_products": "Each panel is a layer: products with quantized against products with latent kernels. In the "
    "shaded quadrants the signs differ; the narrower the cloud, the less the quantizer changes.",
    "permuted": "The same after the activations of each image were permuted. The structure of the inputs is lost, and "
    "r falls to about the cosine of the angle.",
    "activations": "Each panel is a layer: products of quantized against those of real activations.",
    "training": "Accuracy, loss and the fraction of signs that flip, over the epochs.",
    "geometry_history": "Angle, gain and r of every layer, over the epochs of the training.",
}


def text(value):
    """Return a text for HTML; characters that a page must not hold are replaced."""
    return escape(CONTROL.sub("\ufffd", str(value)))


def prose(value):
    """Return a text of docs/statistics.md for HTML: code is marked, and links become their words and targets."""

    def target(match):
        return f"{match[1]} (docs/{'statistics.md' if match[2].startswith('#') else ''}{match[2]})"

    return re.sub(r"`([^`]+)`", r"<code>\1</code>", text(LINK.sub(target, value)))


def number(value, decimals, classes=""):
    """Return a cell of a statistic: None was not measured, NaN is not defined; a pair is a number and its text."""
    kind = f" class='{classes}'" if classes else ""
    if value is None:
        return f"<td{kind} title='not measured'>&ndash;</td>"
    if isinstance(value, str):
        return f"<td class='{f'{classes} name'.strip()}'>{text(value)}</td>"
    value, shown = value if isinstance(value, tuple) else (value, cell(value, decimals))
    if math.isnan(value):
        return f"<td{kind} title='not defined'>NaN</td>"
    return f"<td{kind} data-value='{float(value)!r}'>{text(shown).replace('-', '&minus;')}</td>"


def statistics_table(names, rows, first, flagged=()):
    """Return a table of statistics that can be sorted, with a switch that shows all columns.

    Args:
        names: list of the headings of the columns with names, before the statistics.
        rows: list of (names, dict from the key of a statistic to a number or to (number, text)).
        first: keys of the statistics that are always shown.
        flagged: set of (the last name, key) of cells that stand out.
    """
    shown = [s for s in statistics.STATISTICS if s.key != "layer" and any(s.key in row for _, row in rows)]
    shown.sort(key=lambda statistic: statistic.key not in first)
    more = {s.key: "" if s.key in first else " more" for s in shown}
    heads = [f"<th scope='col' class='name'>{text(name)}</th>" for name in names]
    heads += [
        f"<th scope='col' class='{more[s.key].strip()}' title='{text(s.meaning)}'>{text(statistics.title(s.key))}</th>"
        for s in shown
    ]
    body = []
    for labels, row in rows:
        cells = [f"<th scope='row' class='name' dir='auto'>{text(labels[0])}</th>"]
        cells += [f"<td class='name' dir='auto'>{text(label)}</td>" for label in labels[1:]]
        for s in shown:
            flag = " flag" if (tuple(labels), s.key) in flagged else ""
            cells.append(number(row.get(s.key), s.decimals, f"{more[s.key]}{flag}".strip()))
        body.append(f"<tr>{''.join(cells)}</tr>")
    switch = (
        "<label class='switch' hidden><input type='checkbox' data-shows='statistics'> all statistics</label>"
        if any(more.values())
        else ""
    )
    return (
        f"{switch}<div class='scroll' tabindex='0' role='region' aria-label='Statistics of the layers'>"
        f"<table class='statistics sortable' id='statistics'><caption>Press a heading to sort. Marked numbers "
        f"stand out.</caption><thead><tr>{''.join(heads)}</tr></thead><tbody>{''.join(body)}</tbody></table></div>"
    )


def table(heads, rows, kind="texts"):
    """Return a table of texts, each row a list; the first column has the names of the rows."""
    top = "".join(f"<th scope='col'>{text(head)}</th>" for head in heads)
    body = "".join(
        f"<tr><th scope='row' dir='auto'>{text(first)}</th>{''.join(f'<td>{text(one)}</td>' for one in others)}</tr>"
        for first, *others in rows
    )
    return f"<div class='scroll'><table class='{kind}'><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>"


def standing_out(found):
    """Return the section of what stands out: each rule with its layers, and all rules with their thresholds.

    Args:
        found: list of (name, Finding); the name is that of the network, or "".
    """
    held = [rule for rule in findings.RULES if any(finding.rule is rule for _, finding in found)]
    shown = "".join(_held(rule, [(name, one) for name, one in found if one.rule is rule]) for rule in held)
    rules = table(
        ["rule", "what it means", "what to do"], [[r.condition, r.meaning, r.advice] for r in findings.RULES]
    )
    every = f"<details><summary>All rules, with their thresholds</summary>{rules}</details>"
    return f"<h2>What stands out</h2>{shown or '<p>No layer stands out.</p>'}{every}"


def _held(rule, found):
    layers = "".join(
        f"<li><b dir='auto'>{text(one.layer)}</b>{f' of {text(name)}' if name else ''}: {text(_values(one))}</li>"
        for name, one in found
    )
    what = f"<p>{text(rule.meaning)} {text(rule.advice)}</p>"
    return f"<h3>{text(rule.condition)}</h3><ul class='layers'>{layers}</ul>{what}"


def _values(finding):
    shown = [(statistics.find(key), value) for key, value in finding.values.items()]
    if len(shown) == 1:
        return cell(shown[0][1], shown[0][0].decimals)
    return ", ".join(f"{one.title} {cell(value, one.decimals)}" for one, value in shown)


def meanings(keys):
    """Return the section that says what each column means, from the table of statistics."""
    rows = []
    for key in keys:
        one = statistics.find(key)
        defined = f" <span class='lead'>{prose(one.definition)}</span>" if one.definition else ""
        rows.append(
            f"<tr><th scope='row'>{text(statistics.title(key))}</th><td><code>{text(key)}</code></td>"
            f"<td>{prose(one.meaning)}{defined}</td></tr>"
        )
    return (
        "<h2>What the columns mean</h2><p class='lead'>a is the input of the layer, w_c the latent and w_b the "
        "quantized kernel. A dash was not measured; NaN is not defined.</p>"
        "<div class='scroll'><table class='texts'><thead><tr>"
        "<th scope='col'>column</th><th scope='col'>key</th><th scope='col'>meaning</th></tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def pairs(title, values):
    """Return a section with a list of names and their values."""
    rows = "".join(f"<dt>{text(name)}</dt><dd>{text(value)}</dd>" for name, value in values.items())
    return f"<section><h3>{text(title)}</h3><dl>{rows}</dl></section>" if rows else ""


def figures(drawings):
    """Return the section of the figures, as pictures within the page.

    Args:
        drawings: dict from the name of a figure to a function that draws it. The page says which cannot be drawn.
    """
    return "<h2>Figures</h2>" + "".join(_figure(name, draw) for name, draw in drawings.items())


def _figure(name, draw):
    from bnn.plots import overview, style

    try:
        picture, alt = style.png(figure := draw()), figure.alt
    except Exception as error:
        return f"<p>{text(name)}: this figure could not be drawn ({text(overview.reason(error))}).</p>"
    data = base64.b64encode(picture).decode()
    caption = CAPTIONS.get(name, alt)
    return (
        f"<figure><figcaption>{text(caption)}</figcaption>"
        f"<img src='data:image/png;base64,{data}' alt='{text(alt)}'></figure>"
    )
