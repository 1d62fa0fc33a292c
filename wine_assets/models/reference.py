"""The reference run: its hyperparameters, whose family is the one that a config gets which names none."""

from wine_assets.models.families import logistic_regression

REFERENCE = logistic_regression.REFERENCE
DEFAULT_FAMILY = REFERENCE.family
REFERENCE_DESCRIPTION = "LogisticRegression with C=0.01 and no scaler"
"""What reports call the reference."""
