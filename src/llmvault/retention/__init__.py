"""How long recovery points are kept: rules, holds and locks make a plan that people approve."""
