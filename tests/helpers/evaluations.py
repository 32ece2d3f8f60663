"""Contents of an evaluation.json, with the figures that a test needs."""


def figure(value, reach=0.02):
    return {"value": value, "low": value - reach, "high": value + reach}


def made(accuracy=0.9, kid=0.1, net="[cardnet 3f9a, 136-d, 400 vs 1000, 80x64]", copied=0.01, real=2000):
    classes = {kind: {"classifier": "SVC (C 10)", "accuracy": figure(accuracy)} for kind in ("generated", "held_out")}
    return {
        "counts": {"real": real, "generated": 400, "held_out": 1000},
        "size": [80, 64],
        "how": "1000 real cards that the generator has not seen",
        "classes": [classes],
        "masks": None,
        "held_out_masks": None,
        "distances": [
            {"name": "FD", "net": net, "generated": None, "floor": None, "refused": "too few"},
            {"name": "KID", "net": net, "generated": figure(kid), "floor": figure(0.0), "refused": ""},
        ],
        "copies": [{"unit": "grey levels, root mean square", "share": figure(copied), "held_out_share": figure(0.01)}],
    }
