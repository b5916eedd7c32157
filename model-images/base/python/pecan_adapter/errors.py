"""What can be wrong with a run, by the exit code that tells the worker what to do about it."""

EXIT_BAD_DATA = 65
"""sysexits EX_DATAERR: the input is wrong and stays wrong, so the run is never tried again."""
EXIT_INTERNAL = 70
"""sysexits EX_SOFTWARE: a fault of the adapter itself."""
EXIT_INPUT_OUTPUT = 74
"""sysexits EX_IOERR: a file cannot be read or written; may be better at the next attempt."""


class BadData(Exception):
    """The run's configuration or input cannot be used; the message says what, where, and what to do."""
