"""The composition root: settings and policy become ports with concrete drivers behind them.

``base`` holds what every command needs; what only one slice needs is wired in a file of its name.
"""

from llmvault.app.base import App, build_app

__all__ = ["App", "build_app"]
