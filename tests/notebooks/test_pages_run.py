"""The Python code of pages, executed in order as it stands there."""

import numpy as np
import pytest
from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser

from tests.support import ROOT


@pytest.mark.parametrize("page", ["faq"])
def test_the_code_of_a_page_runs(page, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    document = Sybil([PythonCodeBlockParser()]).parse(ROOT / "docs" / f"{page}.md")
    for example in document.examples():
        example.evaluate()
    assert set(np.unique(document.namespace["signs"])) == {-1.0, 1.0}
    assert "[-1.  1.  1.]" in capsys.readouterr().out
