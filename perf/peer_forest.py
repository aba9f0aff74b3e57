# SPDX-License-Identifier: BSD-3-Clause
"""One forest of a peer of dml-prf on one data set, for prf-vs-peers.

usage: peer_forest.py PEER DATA.npz TREES MTRY THREADS SEED

DATA.npz holds x, y, xt, yt (float32 rows, integer classes or float targets). Prints one
JSON object: version, train_seconds, predict_seconds, value (accuracy or R2).
"""
import json
import sys
import time

import numpy


def sklearn(classes, trees, mtry, threads, seed, features):
    import sklearn
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
    kind = RandomForestClassifier if classes else RandomForestRegressor
    return sklearn.__version__, kind(n_estimators=trees, max_features=mtry, n_jobs=threads,
                                     random_state=seed)


def lightgbm(classes, trees, mtry, threads, seed, features):
    import lightgbm
    # Its memory and time grow with the limit of leaves: 2 GB and minutes at 131072.
    kind = lightgbm.LGBMClassifier if classes else lightgbm.LGBMRegressor
    return lightgbm.__version__, kind(
        boosting_type="rf", n_estimators=trees, num_leaves=4096, max_depth=-1, histogram_pool_size=1024,
        min_child_samples=1, min_child_weight=0, subsample=0.632, subsample_freq=1,
        feature_fraction_bynode=mtry / features, n_jobs=threads, random_state=seed,
        verbose=-1)


def xgboost(classes, trees, mtry, threads, seed, features):
    import xgboost
    kind = xgboost.XGBRFClassifier if classes else xgboost.XGBRFRegressor
    return xgboost.__version__, kind(
        n_estimators=trees, tree_method="hist", max_depth=0, grow_policy="lossguide",
        max_leaves=0, min_child_weight=0, reg_lambda=0, subsample=0.632,
        colsample_bynode=mtry / features, n_jobs=threads, random_state=seed)


def main():
    name, path, trees, mtry, threads, seed = sys.argv[1:]
    data = numpy.load(path)
    x, y, xt, yt = (data[key] for key in ("x", "y", "xt", "yt"))
    classes = y.dtype.kind == "i"
    version, model = globals()[name](classes, int(trees), int(mtry), int(threads),
                                     int(seed), x.shape[1])
    begin = time.monotonic()
    model.fit(x, y)
    middle = time.monotonic()
    found = model.predict(xt)
    end = time.monotonic()
    if classes:
        value = float((found == yt).mean())
    else:
        value = float(1 - ((found - yt) ** 2).sum() / ((yt - yt.mean()) ** 2).sum())
    print(json.dumps({"version": version, "train_seconds": middle - begin,
                      "predict_seconds": end - middle, "value": value}))


if __name__ == "__main__":
    main()
