"""meshnode: a person's own devices know, trust and reach each other."""

__version__ = "0.1.0"
