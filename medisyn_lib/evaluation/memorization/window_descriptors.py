"""Windows of images as short unit vectors, so that flipped, shifted and cropped copies are found by distance."""

from __future__ import annotations

import numpy as np

GRID = 12  # cells along a side of a window
INDEXED_SIDE = 0.8  # side of the indexed window, as a fraction of the image's
CROP_AREA = 0.8  # smallest crop that is searched for, as a fraction of the image's area
SHIFT_PLACES = 3  # along a side: where shifted copies are searched for
CROP_PLACES = 6  # along a side: where crops are searched for
LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # of red, green and blue (ITU-R BT.601)


def centre_window(pixels: np.ndarray) -> np.ndarray:
    """Describe the central window of each image, which the index stores.

    Parameters
    ----------
    pixels : uint8 (n, h, h, 3)

    Returns
    -------
    float32 (n, 144): luma of 12 x 12 cells over the central 80% of a side, less its mean and scaled to
    length 1, so that brightness and contrast do not count.
    """
    return _describe_windows(pixels, INDEXED_SIDE, 1)[:, 0]


def query_windows(pixels: np.ndarray) -> np.ndarray:
    """Describe the windows of each image in which the `centre_window` of its original may lie.

    Windows of the indexed size find shifts. Larger ones find crops: in a crop to 80% of the area, what was
    the centre of the original takes up more of the side. Both are repeated on the mirror image.

    Parameters
    ----------
    pixels : uint8 (n, h, h, 3)

    Returns
    -------
    float32 (n, 90, 144), each window a unit vector as of `centre_window`.
    """
    side_in_crop = INDEXED_SIDE / CROP_AREA**0.5
    parts = []
    for images in (pixels, pixels[:, :, ::-1]):
        parts.append(_describe_windows(images, INDEXED_SIDE, SHIFT_PLACES))
        parts.append(_describe_windows(images, side_in_crop, CROP_PLACES))
    return np.concatenate(parts, axis=1)


def _describe_windows(pixels: np.ndarray, fraction: float, places: int) -> np.ndarray:
    """Describe windows of a fraction of the side, in `places` x `places` positions evenly spread."""
    import torch
    from torch.nn.functional import interpolate

    grey = torch.from_numpy(pixels.astype(np.float32) @ LUMA)[:, None]
    side = round(fraction * grey.shape[2])
    room = grey.shape[2] - side
    if places == 1:
        corners = [room // 2]
    else:
        corners = np.rint(np.linspace(0, room, places)).astype(int).tolist()
    windows = []
    for top in corners:
        for left in corners:
            window = grey[:, :, top : top + side, left : left + side]
            shrunk = interpolate(window, (GRID, GRID), mode="bilinear", antialias=True)
            windows.append(shrunk.flatten(1))
    cells = torch.stack(windows, 1)
    cells -= cells.mean(2, keepdim=True)
    return (cells / cells.norm(dim=2, keepdim=True).clamp_min(1e-6)).numpy()
