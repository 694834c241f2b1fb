"""Does the paper's Table I hold on the machine that you own, and what does it cost?

The commands are the interface; there is no public Python API yet.
"""
