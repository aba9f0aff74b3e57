#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Trajectories of the optimizers in plain double precision: what test_optim_gold holds
libdml against. Written from the papers' equations, one element at a time, and
knows nothing of libdml.

Five tensors (weights all zero; gradients all zero; a bias, exempt from decay and adaptation;
one dimension; two dimensions) make twenty steps at a rate that changes. Values are
multiples of 2^-23, so that f32 holds them exactly.

    test/gold/optim.py > test/gold/optim.txt      write the fixture
    test/gold/optim.py --check test/gold/optim.txt
"""
import math
import sys

STEPS, SHOWN = 20, (1, 2, 10, 20)
COUNTS = (12, 10, 5, 7, 33)
ZERO_WEIGHT, ZERO_GRADIENT, EXEMPT = 0, 1, 2

# name, rule, options: all that are not given have libdml's documented defaults.
CASES = [
    ("plain", "sgd", dict(momentum=0)),
    ("decay", "sgd", dict(momentum=0, weight_decay=0.01)),
    ("momentum", "sgd", dict()),
    ("nesterov", "sgd", dict(nesterov=1, weight_decay=0.01)),
    ("inside", "sgd", dict(velocity=1, weight_decay=0.01)),
    ("inside_nesterov", "sgd", dict(velocity=1, nesterov=1)),
    ("corrected", "sgd", dict(velocity=1, momentum_correction=1)),
    ("corrected_nesterov", "sgd", dict(velocity=1, momentum_correction=1, nesterov=1)),
    ("clip_norm", "sgd", dict(clip_norm=1.5)),
    ("clip_value", "sgd", dict(clip_value=0.25, weight_decay=0.01)),
    ("adam", "adam", dict()),
    ("adam_decay", "adam", dict(weight_decay=0.02, eps=1e-6)),
    ("adam_biased", "adam", dict(bias_correction=0, beta1=0.8, beta2=0.9)),
    ("adam_clip_value", "adam", dict(clip_value=0.1)),
    ("adamw", "adamw", dict()),
    ("adamw_clip_norm", "adamw", dict(clip_norm=0.75, weight_decay=0.05)),
    ("lars", "lars", dict(trust=0.02)),
    ("lars_default", "lars", dict()),
    ("lars_outside", "lars", dict(trust=0.02, velocity=0, nesterov=1)),
    ("lars_corrected", "lars", dict(trust=0.02, momentum_correction=1, eps=0.01)),
    ("lars_max", "lars", dict(trust=0.5, trust_max=0.25, weight_decay=0.01)),
    ("lars_clip_norm", "lars", dict(trust=0.02, clip_norm=1, weight_decay=0.1)),
    ("lamb", "lamb", dict()),
    ("lamb_clip_norm", "lamb", dict(clip_norm=1)),
    ("lamb_max", "lamb", dict(trust_max=0.5, weight_decay=0)),
    ("lamb_biased", "lamb", dict(bias_correction=0, weight_decay=0.1)),
    ("adagrad", "adagrad", dict()),
    ("adagrad_decay", "adagrad", dict(weight_decay=0.02, eps=0.01)),
    ("adagrad_clip_norm", "adagrad", dict(clip_norm=0.5)),
]
DEFAULTS = {
    "sgd": dict(momentum=0.9),
    "adam": dict(beta1=0.9, beta2=0.999, eps=1e-8),
    "adamw": dict(beta1=0.9, beta2=0.999, eps=1e-8, weight_decay=0.01),
    "lars": dict(momentum=0.9, weight_decay=1e-4, velocity=1, trust=0.001),
    "lamb": dict(beta1=0.9, beta2=0.999, eps=1e-6, weight_decay=0.01),
    "adagrad": dict(eps=1e-10),
}


def value(tensor, element, step):
    """In [-1, 1); step 0 are the weights."""
    mixed = (tensor * 7919 + element * 104729 + step * 1299709 + 12345) * 2654435761
    mixed = (mixed ^ mixed % 2**32 >> 15) * 2246822519
    return (mixed % 2**32 >> 8) / 2**23 - 1


def start(tensor):
    if tensor == ZERO_WEIGHT:
        return [0.0] * COUNTS[tensor]
    return [value(tensor, i, 0) for i in range(COUNTS[tensor])]


def gradient(tensor, step):
    if tensor == ZERO_GRADIENT:
        return [0.0] * COUNTS[tensor]
    return [value(tensor, i, step) for i in range(COUNTS[tensor])]


def rate(rule, step):
    """Warms up for 4 steps, and is halved after 10."""
    base = 0.1 if rule in ("sgd", "lars") else 0.02
    return base * min(step, 4) / 4 * (0.5 if step > 10 else 1)


def norm(values):
    return math.sqrt(sum(x * x for x in values))


def clipped(grads, opts):
    limit = opts.get("clip_value", 0)
    if limit:
        return [[max(-limit, min(limit, x)) for x in g] for g in grads]
    limit, whole = opts.get("clip_norm", 0), norm([x for g in grads for x in g])
    if limit and whole > limit:
        return [[x * limit / whole for x in g] for g in grads]
    return grads


def bounded(ratio, opts):
    return min(ratio, opts["trust_max"]) if opts.get("trust_max") else ratio


class Momentum:
    """SGD and LARS on one tensor."""

    def __init__(self, weights, opts, decay, trust):
        self.w, self.opts, self.decay, self.trust = weights, opts, decay, trust
        self.v = [0.0] * len(weights)
        self.old_rate = None

    def ratio(self, g):
        wn, gn = norm(self.w), norm(g)
        if not self.trust or wn == 0 or gn == 0:
            return 1.0
        below = gn + self.decay * wn + self.opts.get("eps", 0)
        return bounded(self.opts["trust"] * wn / below, self.opts)

    def step(self, g, eta, _):
        mu, local = self.opts["momentum"], self.ratio(g)
        change = 1.0
        if self.opts.get("momentum_correction") and self.old_rate:
            change = eta / self.old_rate
        self.old_rate = eta
        for i, w in enumerate(self.w):
            d = local * (g[i] + self.decay * w)
            if self.opts.get("velocity", 0) == 1:
                self.v[i] = mu * change * self.v[i] + eta * d
                move = eta * d + mu * self.v[i] if self.opts.get("nesterov") else self.v[i]
                self.w[i] = w - move
            else:
                self.v[i] = mu * self.v[i] + d
                move = d + mu * self.v[i] if self.opts.get("nesterov") else self.v[i]
                self.w[i] = w - eta * move


class Adam:
    """Adam, AdamW and LAMB on one tensor."""

    def __init__(self, weights, opts, decay, rule, adapts):
        self.w, self.opts, self.decay, self.rule = weights, opts, decay, rule
        self.adapts = adapts
        self.m, self.v = [0.0] * len(weights), [0.0] * len(weights)

    def step(self, g, eta, t):
        b1, b2, eps = self.opts["beta1"], self.opts["beta2"], self.opts["eps"]
        c1, c2 = (1, 1) if self.opts.get("bias_correction") == 0 else (1 - b1**t, 1 - b2**t)
        if self.rule == "adam":
            g = [x + self.decay * w for x, w in zip(g, self.w)]
        self.m = [b1 * m + (1 - b1) * x for m, x in zip(self.m, g)]
        self.v = [b2 * v + (1 - b2) * x * x for v, x in zip(self.v, g)]
        u = [m / c1 / (math.sqrt(v / c2) + eps) for m, v in zip(self.m, self.v)]
        if self.rule != "adam":
            u = [x + self.decay * w for x, w in zip(u, self.w)]
        local = 1.0
        if self.adapts and norm(self.w) > 0 and norm(u) > 0:
            local = bounded(norm(self.w) / norm(u), self.opts)
        self.w = [w - eta * local * x for w, x in zip(self.w, u)]


class AdaGrad:
    def __init__(self, weights, opts, decay):
        self.w, self.opts, self.decay = weights, opts, decay
        self.sum = [0.0] * len(weights)

    def step(self, g, eta, _):
        g = [x + self.decay * w for x, w in zip(g, self.w)]
        self.sum = [s + x * x for s, x in zip(self.sum, g)]
        self.w = [w - eta * x / (math.sqrt(s) + self.opts["eps"])
                  for w, x, s in zip(self.w, g, self.sum)]


def trajectory(rule, given):
    """{step: weights of all tensors} of the steps that are shown."""
    opts = {**DEFAULTS[rule], **given}
    tensors = []
    for t in range(len(COUNTS)):
        decay = 0 if t == EXEMPT else opts.get("weight_decay", 0)
        if rule in ("sgd", "lars"):
            tensors.append(Momentum(start(t), opts, decay, rule == "lars" and t != EXEMPT))
        elif rule == "adagrad":
            tensors.append(AdaGrad(start(t), opts, decay))
        else:
            adapts = rule == "lamb" and t != EXEMPT
            tensors.append(Adam(start(t), opts, decay, rule, adapts))
    shown = {}
    for step in range(1, STEPS + 1):
        grads = clipped([gradient(t, step) for t in range(len(COUNTS))], opts)
        for tensor, g in zip(tensors, grads):
            tensor.step(g, rate(rule, step), step)
        if step in SHOWN:
            shown[step] = [list(tensor.w) for tensor in tensors]
    return shown


def fixture():
    """Lines: "case NAME RULE OPTION=VALUE..."; then "STEP TENSOR VALUE..."."""
    lines = []
    for name, rule, given in CASES:
        options = "".join(f" {key}={number:.17g}" for key, number in given.items())
        lines.append(f"case {name} {rule}{options}")
        for step, weights in trajectory(rule, given).items():
            for tensor, values in enumerate(weights):
                numbers = " ".join(f"{x:.13g}" for x in values)
                lines.append(f"{step} {tensor} {numbers}")
    return "\n".join(lines) + "\n"


def same(text, other):
    """Whether all words are equal, numbers within what C libraries may differ by."""
    words, others = text.split(), other.split()
    return len(words) == len(others) and all(
        a == b or (a[-1].isdigit() and b[-1].isdigit() and "=" not in a + b
                   and abs(float(a) - float(b)) < 1e-11)
        for a, b in zip(words, others))


def main():
    if len(sys.argv) == 3 and sys.argv[1] == "--check":
        with open(sys.argv[2]) as file:
            equal = same(file.read(), fixture())
        print(f"{int(equal)} passed, {int(not equal)} failed")
        sys.exit(0 if equal else f"{sys.argv[2]} is not what this script writes")
    if len(sys.argv) > 1:
        sys.exit(__doc__)
    sys.stdout.write(fixture())


if __name__ == "__main__":
    main()
