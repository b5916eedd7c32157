"""Pure decisions: no input or output, no clock, no randomness unless passed in."""
