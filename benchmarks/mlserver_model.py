"""The reference model as a joblib file, fitted by the peer's own environment: `mlserver_model.py FILE`."""

import sys

import joblib
from sklearn.datasets import load_wine
from sklearn.linear_model import LogisticRegression

if __name__ == "__main__":
    rows, classes = load_wine(return_X_y=True)
    joblib.dump(LogisticRegression(max_iter=5000, C=0.01).fit(rows, classes != 0), sys.argv[1])
