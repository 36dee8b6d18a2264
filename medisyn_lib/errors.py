"""The one error that means: the input is wrong, and this is how to correct it."""


class InputError(ValueError):
    """Bad input. The message is one line that names the input, what was wrong and what to do."""
