"""The one error of the example: something the person at the keyboard can put right."""


class ExampleError(Exception):
    """Names the thing, the cause and the next step."""
