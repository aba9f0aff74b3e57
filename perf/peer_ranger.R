# SPDX-License-Identifier: BSD-3-Clause
# One forest of ranger, for prf-vs-peers: Rscript peer_ranger.R FOLDER TREES MTRY THREADS
# SEED CLASSES. FOLDER holds x, y, xt, yt as 64-bit floats (rows after each other) and
# shape: rows, features, test rows. Prints one JSON object, as peer_forest.py does.
args <- commandArgs(trailingOnly = TRUE)
suppressMessages(library(ranger))
folder <- args[1]
shape <- as.integer(readLines(file.path(folder, "shape")))
get <- function(name, n) readBin(file.path(folder, name), "double", n)
x <- matrix(get("x", shape[1] * shape[2]), shape[1], byrow = TRUE)
xt <- matrix(get("xt", shape[3] * shape[2]), shape[3], byrow = TRUE)
y <- get("y", shape[1])
yt <- get("yt", shape[3])
colnames(x) <- colnames(xt) <- paste0("f", seq_len(shape[2]))
classes <- args[6] == "1"
begin <- proc.time()[["elapsed"]]
model <- ranger(x = x, y = if (classes) factor(y) else y, num.trees = as.integer(args[2]),
                mtry = as.integer(args[3]), num.threads = as.integer(args[4]),
                seed = as.integer(args[5]), min.node.size = 1)
middle <- proc.time()[["elapsed"]]
found <- predict(model, xt, num.threads = as.integer(args[4]))$predictions
end <- proc.time()[["elapsed"]]
value <- if (classes) mean(as.numeric(as.character(found)) == yt) else
  1 - sum((found - yt)^2) / sum((yt - mean(yt))^2)
cat(sprintf('{"version": "%s", "train_seconds": %.6f, "predict_seconds": %.6f, "value": %.6f}\n',
            as.character(packageVersion("ranger")), middle - begin, end - middle, value))
