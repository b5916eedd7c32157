"""Join core and clients: parse, observe, decide, apply, report."""
