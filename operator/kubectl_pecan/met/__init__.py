"""Meteorology: from a CSV to CF netCDF in PEcAn's names and units, and whether a file is such."""
