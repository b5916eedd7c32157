"""DALEC evergreen as a PEcAn model: CF meteorology and PEcAn traits in, PEcAn standard output out.

`model` holds the equations, `traits` and `drivers` turn PEcAn's words into theirs, `standard_output` turns the result
back, `adapter` joins them; what any model's adapter does is in pecan_adapter. `wageningen` and `weather` make the
demo's weather.
"""
