"""Our steps around PEcAn's R, where that is the framework: what R is given, and what becomes of what it wrote."""
