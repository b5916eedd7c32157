"""WOFOST 7.2 as a PEcAn model: CF meteorology, PEcAn traits and WOFOST's own parameters in, PEcAn standard output out.

`parameters` and `weather` turn PEcAn's words into WOFOST's, `engine` lets pcse run the model, `standard_output` turns
the result back, `adapter` joins them. `record` reads crops, soil and weather from the data that pcse comes with. Only
`engine` and `record` import pcse.
"""
