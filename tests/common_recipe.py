"""Parameters of a training by their names alone, whether they stand on the estimator or in its recipe."""

import inspect

from sktransfer import Recipe

FLAT = {"trainable", "max_epochs", "batch_size", "lr", "augment"}
IN_RECIPES = set(inspect.signature(Recipe).parameters) - FLAT


def with_recipe(**options):
    """Put what only a recipe holds into one."""
    moved = {name: value for name, value in options.items() if name in IN_RECIPES}
    rest = {name: value for name, value in options.items() if name not in IN_RECIPES}
    return {**rest, "recipe": Recipe(**moved)} if moved else rest
