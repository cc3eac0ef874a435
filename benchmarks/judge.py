"""Trains the judge of generated digits (``fastdiff.training.judge``) and prints how good it is."""

from __future__ import annotations

import argparse

from fastdiff.training import load_digits
from fastdiff.training.judge import frechet_distance, judge


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=20)
    args = parser.parse_args()
    train, test = load_digits()
    result = judge(train, test, args.device, args.seed, args.epochs)
    print(f"test accuracy {result.test_accuracy:.4f}")
    distance = frechet_distance(result.features(train.images), result.features(test.images))
    print(f"Frechet distance of train and test digits {distance:.4f}")


if __name__ == "__main__":
    main()
