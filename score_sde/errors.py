"""Exceptions for mistakes of the user, which main.py prints on one line before it exits with status 2.

Any other exception is a bug, in our code or in a user's own network, and keeps its traceback.
"""


class UserError(Exception):
    """A mistake of the user; the message says in a line or two what was given, what was expected and what to do."""


class ConfigError(UserError, ValueError):
    """An invalid value of a configuration field, or of the constructor argument that it sets."""
