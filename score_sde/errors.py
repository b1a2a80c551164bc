"""The one exception that a user's mistake ends in: main.py prints it and exits with status 2."""


class UserError(Exception):
    """Says in a line or two what was given, what was expected and what to do."""
