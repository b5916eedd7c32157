"""What can go wrong, by what has to happen next."""


class OperatorError(Exception):
    """Carries a CamelCase `reason` and a sentence for a condition."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


class UserError(OperatorError):
    """The resource asks for something that cannot be; retried only when it or what it names changes."""


class NotYet(OperatorError):
    """Something that is expected to come is not there yet; tried again after `retry_seconds`."""

    def __init__(self, reason: str, message: str, retry_seconds: float = 5.0) -> None:
        super().__init__(reason, message)
        self.retry_seconds = retry_seconds


class Unavailable(OperatorError):
    """A service (database, broker, API server) does not answer: what it would say is unknown, never zero."""


class Superseded(BaseException):
    """Another operator has taken over: this process has to end. Not an `Exception`, for no handler may live on with it."""
