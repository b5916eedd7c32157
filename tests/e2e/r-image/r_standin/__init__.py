"""A stand-in of PEcAn's R framework for tests: what `R CMD BATCH workflow.R` does to files, database and broker.

It runs no R. It does what PEcAn's workflow.R (web/workflow.R and what that calls) leaves behind, at the same places and in
the same order, and refuses what R would only stumble over later. What it does beyond R is in the node `standin` of
pecan.xml: see orders.py.
"""
