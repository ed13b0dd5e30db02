"""Pages that can be sent: a report or a comparison as one HTML file, with its tables and figures, for any browser.

`bnn.pages.write(bnn.analyze(model, images), "geometry.html")`; in the terminal, `bnn analyze RUN --html FILE`.
"""

from bnn.lazy_exports import face

__getattr__, __dir__, __all__ = face(__name__, document=["html", "write"])
