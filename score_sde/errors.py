"""The exceptions that a user's mistake ends in: main.py prints them in a line and exits with status 2.

Any other exception is a mistake in code, ours or a user's own network, and keeps its traceback.
"""


class UserError(Exception):
    """Says in a line or two what was given, what was expected and what to do."""


class ConfigError(UserError, ValueError):
    """A value of the configuration, or of a constructor's argument that it becomes, that cannot work."""
