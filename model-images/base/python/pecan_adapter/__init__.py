"""What adapters of models written in Python share: PEcAn's files and words in, standard output and an exit code out.

`config` reads what the run is, `traits` its parameters, `meteorology` CF weather by day; `standard_output` writes
`<year>.nc`; `command` is the program `/work/run` around a model. `meteorology` and `standard_output` need numpy and
netCDF4, which an image that uses them installs; the rest is the standard library.
"""
