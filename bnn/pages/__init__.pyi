from .document import html as html
from .document import write as write
