"""PNG and JPEG files of every form: transparent, turned, gray, deep and animated ones, against what they show."""

import struct
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image, ImageOps

from bnn import datasets
from bnn.datasets import DataError, picture_files, pictures

rng = np.random.default_rng(0)
GRAY, COLOR, ALPHA = (rng.integers(0, 256, (6, 8, *more), dtype=np.uint8) for more in ((), (3,), ()))
ORIENTATION = 0x0112  # of EXIF


@pytest.fixture(autouse=True)
def _without_warnings():
    """Let no warning of Pillow pass."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def on_white(pixels, alpha):
    """Return (height, width, channels) pixels, where alpha 0 is white and 255 is the pixel."""
    part = alpha[..., None] / 255
    return part * pixels.reshape(6, 8, -1) + (1 - part) * 255


def png(depth, kind, rows, *chunks):
    """Return a PNG file of 4 pixels per row."""

    def chunk(name, content):
        return (
            struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
        )

    head = chunk(b"IHDR", struct.pack(">2I5B", 4, len(rows), depth, kind, 0, 0, 0))
    data = chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows)))
    more = b"".join(chunk(name, content) for name, content in chunks)
    return b"\x89PNG\r\n\x1a\n" + head + more + data + chunk(b"IEND", b"")


def read(tmp_path, picture, name="a.png", **options):
    path = tmp_path / name
    path.write_bytes(picture) if isinstance(picture, bytes) else picture.save(path, **options)
    return picture_files.read(path)


def palette(colors, **options):
    picture = Image.fromarray(np.arange(48, dtype=np.uint8).reshape(6, 8) % 4, "P")
    picture.putpalette(np.array(colors, np.uint8).tobytes())
    return picture, options


COLORS = np.array([[10, 20, 30], [200, 100, 0], [0, 0, 0], [255, 255, 0]], np.uint8)
GRAYS = np.array([[10] * 3, [200] * 3, [0] * 3, [255] * 3], np.uint8)
INDEX = np.arange(48).reshape(6, 8) % 4
SOME = np.array([0, 255, 100, 255], np.uint8)  # alpha of each entry of a palette


@pytest.mark.parametrize(
    ("picture", "options", "pixels", "alpha"),
    [
        (Image.fromarray(np.dstack([COLOR, ALPHA])), {}, COLOR, ALPHA),
        (Image.fromarray(np.dstack([GRAY, ALPHA]), "LA"), {}, GRAY, ALPHA),
        (*palette(COLORS, transparency=bytes(SOME)), COLORS[INDEX], SOME[INDEX]),
        (*palette(COLORS, transparency=2), COLORS[INDEX], np.uint8(255 * (INDEX != 2))),
        (*palette(GRAYS, transparency=bytes(SOME)), GRAYS[INDEX][..., :1], SOME[INDEX]),
        (Image.fromarray(COLOR), {"transparency": tuple(COLOR[1, 2].tolist())}, COLOR, None),
        (Image.fromarray(GRAY), {"transparency": int(GRAY[1, 2])}, GRAY, None),
        (Image.fromarray(GRAY > 99), {"transparency": 0}, np.uint8(GRAY > 99) * 255, np.uint8(GRAY > 99) * 255),
    ],
    ids=["RGBA", "LA", "palette", "one color of it", "grays", "RGB with a color", "L with one", "1 with one"],
)  # fmt: skip
def test_transparency_is_composed_on_white(tmp_path, picture, options, pixels, alpha):
    """Gray pictures stay gray. A color may be transparent, as of the pixel (1, 2)."""
    if alpha is None:
        same = (pixels.reshape(6, 8, -1) == pixels[1, 2]).all(axis=-1)
        alpha = np.uint8(255 * ~same)
    found = read(tmp_path, picture, **options)
    expected = on_white(pixels, alpha)
    assert found.remarks == {"transparent"} and found.pixels.shape == expected.shape
    np.testing.assert_allclose(found.pixels.astype(float), expected, atol=1)
    np.testing.assert_array_equal(found.pixels[alpha % 255 == 0], expected[alpha % 255 == 0])


@pytest.mark.parametrize(("depth", "row"), [(2, [0b00011011]), (4, [0x05, 0xAF])])
def test_a_transparent_gray_of_few_bits_is_found(tmp_path, depth, row):
    """The largest value is white, and the second pixel is made transparent, too."""
    levels = [0, 1, 2, 3] if depth == 2 else [0, 5, 10, 15]
    content = png(depth, 0, [bytes(row)], (b"tRNS", struct.pack(">H", levels[1])))
    assert read(tmp_path, content).pixels.ravel().tolist() == [0, 255, 170, 255]


def test_opaque_pictures_are_as_they_are(tmp_path):
    opaque = np.full_like(ALPHA, 255)
    for picture, pixels in (
        (Image.fromarray(np.dstack([COLOR, opaque])), COLOR),
        (Image.fromarray(np.dstack([GRAY, opaque]), "LA"), GRAY[..., None]),
        (palette(COLORS)[0], COLORS[INDEX]),
        (palette(GRAYS)[0], GRAYS[INDEX][..., :1]),
        (Image.fromarray(COLOR), COLOR),
    ):
        found = read(tmp_path, picture)
        np.testing.assert_array_equal(found.pixels, pixels)
        assert not found.remarks


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["a.png", "a.jpg"])
def test_pictures_are_turned_upright(tmp_path, name, orientation):
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    found = read(tmp_path, Image.fromarray(COLOR), name, exif=exif)
    upright = np.asarray(ImageOps.exif_transpose(Image.open(tmp_path / name)))
    np.testing.assert_array_equal(found.pixels, upright)
    assert found.remarks == ({"turned"} if orientation > 1 else set())


@pytest.mark.parametrize("exif", [b"Exif\0\0nonsense", b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12"])
def test_damaged_exif_data_leave_the_picture(tmp_path, exif):
    Image.fromarray(COLOR).save(tmp_path / "b.jpg")
    found = read(tmp_path, Image.fromarray(COLOR), "a.jpg", exif=exif)
    np.testing.assert_array_equal(found.pixels, np.asarray(Image.open(tmp_path / "b.jpg")))


@pytest.mark.parametrize(("kind", "samples"), [(0, 1), (2, 3), (4, 2), (6, 4)])
def test_16_bits_per_channel_are_refused(tmp_path, kind, samples):
    row = struct.pack(f">{4 * samples}H", *range(0, 4 * samples * 300, 300))
    with pytest.raises(DataError, match=r"a.png: expected 8 bits per channel, received 16 bits$"):
        read(tmp_path, png(16, kind, [row]))


def test_of_several_frames_the_first_is_taken(tmp_path):
    frames = [Image.fromarray(pixels) for pixels in (COLOR, 255 - COLOR)]
    found = read(tmp_path, frames[0], save_all=True, append_images=frames[1:])
    assert found.remarks == {"frames"}
    np.testing.assert_array_equal(found.pixels, COLOR)


def drawings(folder, count=10):
    """Write black drawings on transparent ground, which differ in alpha alone; return where they are black."""
    black = rng.random((2 * count, 6, 8)) < 0.5
    for i, drawing in enumerate(black):
        path = folder / ("cat", "dog")[i % 2] / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.dstack([np.zeros((6, 8, 3), np.uint8), 255 * np.uint8(drawing)])).save(path)
    return black


def test_a_folder_of_transparent_drawings(tmp_path, capsys):
    black = drawings(tmp_path / "photos")
    data = datasets.load(f"{tmp_path / 'photos'}/")
    images = np.concatenate([split.images for split in (data.train, data.validation, data.test)])
    expected = np.repeat(np.where(black, 0, 255)[..., None], 3, axis=-1)
    assert sorted(images.tolist()) == sorted(expected.tolist())
    assert (
        capsys.readouterr().err == f"{tmp_path / 'photos'}: images: 20 with transparency, composed on white\n"
    )
    assert data.earlier_digest != data.digest


def test_predict_reads_pictures_as_training_does(tmp_path, capsys):
    black = drawings(tmp_path)
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    Image.fromarray(COLOR.swapaxes(0, 1)).save(tmp_path / "z.png", exif=exif)
    ((_, images),) = pictures.parts(pictures.find([tmp_path]), (6, 8, 3))
    assert {image.tobytes() for image in images[:-1]} == {
        np.repeat(np.where(drawing, 0, 255)[..., None], 3, axis=-1).astype(np.uint8).tobytes()
        for drawing in black
    }
    np.testing.assert_array_equal(images[-1], COLOR[:, ::-1])
    said = "images: 20 with transparency, composed on white; 1 turned upright by EXIF orientation\n"
    assert capsys.readouterr().err == said


def test_sizes_are_compared_upright(tmp_path):
    exif = Image.Exif()
    exif[ORIENTATION] = 8
    for i in range(6):
        path = tmp_path / ("cat", "dog")[i % 2] / f"{i}.jpg"
        path.parent.mkdir(exist_ok=True)
        lying = Image.fromarray(COLOR.swapaxes(0, 1)) if i else Image.fromarray(COLOR)
        lying.save(path, exif=exif if i else Image.Exif())
    assert datasets.load(f"{tmp_path}/").train.images.shape[1:] == (6, 8, 3)


def test_gray_with_alpha_and_gray_palettes_make_a_gray_data_set(tmp_path):
    ways = {
        "a": Image.fromarray(np.dstack([GRAY, ALPHA]), "LA"),
        "b": palette(GRAYS)[0],
        "c": Image.fromarray(GRAY),
    }
    for name, picture in ways.items():
        (tmp_path / name).mkdir()
        for i in range(3):
            picture.save(tmp_path / name / f"{i}.png")
    gray = datasets.load(f"{tmp_path}/")
    assert gray.train.images.shape[1:] == (6, 8, 1)
    Image.fromarray(COLOR).save(tmp_path / "c" / "3.png")
    assert datasets.load(f"{tmp_path}/").train.images.shape[1:] == (6, 8, 3)
