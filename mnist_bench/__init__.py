"""Does the paper's Table I hold on the machine that you own, and what does it cost?"""

from importlib.metadata import version

__version__ = version("mnist-bench")
