"""The one error that a user can mend: bad input."""


class InputError(ValueError):
    """Bad input: the message names what is at fault and the way out, on one line.

    The command line prints it without a traceback and exits with status 2.
    """
