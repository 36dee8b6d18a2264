"""Exact nearest neighbours over an index that is kept, mapped into memory and reused."""

from __future__ import annotations

import numpy as np

from medisyn_lib.errors import InputError

ROWS, SPARE = (
    4096,
    8,
)  # of the index in one block of products; winners beyond k, so that rounding does not decide
GRID, CENTRE, CROP = (
    12,
    0.8,
    0.8,
)  # cells a side of a window; its side in the index; the smallest crop, by area
LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # luma of red, green and blue (ITU-R BT.601)


def nearest(queries: np.ndarray, index: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Euclidean distances float64 (q, k) to the k nearest rows of an index, nearest first, and their numbers.

    `queries` are (q, d), or (q, v, d) where of v views of each the nearest counts; `index` is (n, d) and may be
    larger than memory. Products are taken in float32, block by block; the winners' distances again in float64. Of
    equally near rows the first comes first. Raises InputError where the index holds fewer than k rows.
    """
    views = queries if queries.ndim == 3 else queries[:, None]
    if not 0 < k <= len(index):
        raise InputError(
            f"index of {len(index)} images: {k} nearest are asked for; add images or ask for fewer"
        )
    found = np.empty((len(views), k)), np.empty((len(views), k), np.int64)
    step = max(1, ROWS // views.shape[1])
    for start in range(0, len(views), step):
        some = np.asarray(views[start : start + step], np.float32)
        for place, numbers in enumerate(
            _candidates(some, index, min(len(index), k + SPARE)), start
        ):
            numbers = np.sort(numbers)
            apart = views[place][:, None].astype(np.float64) - np.asarray(
                index[numbers], np.float64
            )
            away = np.sqrt((apart**2).sum(-1)).min(0)
            order = np.argsort(away, kind="stable")[:k]
            found[0][place], found[1][place] = away[order], numbers[order]
    return found


def _candidates(views: np.ndarray, index: np.ndarray, keep: int) -> np.ndarray:
    """The numbers (q, keep) of the nearest rows of an index in float32, in no order."""
    (q, v, d), start, size = views.shape, 0, keep
    flat = np.ones(
        (v * q, d + 2), np.float32
    )  # with a column of squared lengths, and one of ones for the index's
    np.multiply(views.swapaxes(0, 1).reshape(v * q, d), -2, out=flat[:, :d])
    flat[:, d] = np.einsum("ij,ij->i", flat[:, :d], flat[:, :d]) / 4
    best, number = np.full((q, keep), np.inf, np.float32), np.full((q, keep), -1)
    room = np.empty((min(ROWS, len(index)), v * q), np.float32)
    block = np.ones((len(room), d + 2), np.float32)
    while start < len(index):
        rows = block[: len(index[start : start + size])]
        rows[:, :d] = index[start : start + size]
        np.einsum("ij,ij->i", rows[:, :d], rows[:, :d], out=rows[:, d + 1])
        squared = np.matmul(rows, flat.T, out=room[: len(rows)]).reshape(-1, v, q)
        squared = squared[:, 0] if v == 1 else squared.min(1)
        row, query = np.divmod(np.flatnonzero(squared < best.max(1)), q)
        # Blocks grow twofold, so that not many more of a block than `keep` are nearer than the best before it.
        hit, owner = np.unique(query, return_inverse=True)
        value = np.concatenate([best[hit].ravel(), squared[row, query]])
        names = np.concatenate([number[hit].ravel(), start + row])
        owner = np.concatenate([np.repeat(np.arange(len(hit)), keep), owner])
        order = np.lexsort((names, value, owner))
        take = order[np.searchsorted(owner[order], np.arange(len(hit)))[:, None] + np.arange(keep)]
        best[hit], number[hit] = value[take], names[take]
        start, size = start + size, min(2 * size, ROWS)
    return number


def centre(pixels: np.ndarray) -> np.ndarray:
    """What the index keeps of images uint8 (n, h, w, 3): the grey middle, 80% of a side, as 12 x 12 cells, (n, 144).

    Float32; the mean is taken away and the length made 1, so that brightness and contrast do not count.
    """
    return _windows(pixels, CENTRE, 1)[:, 0]


def views(pixels: np.ndarray) -> np.ndarray:
    """Windows (n, 90, 144) of queries, among them the `centre` of what they were flipped, shifted or cropped from.

    Windows of the index's own size in 3 x 3 places find shifts, those of the size that its middle has in a crop to 80%
    of the area, in 6 x 6 places, find crops; and all again in the mirror.
    """
    sizes = (CENTRE, 3), (CENTRE / CROP**0.5, 6)
    return np.concatenate(
        [_windows(side, *size) for side in (pixels, pixels[:, :, ::-1]) for size in sizes], 1
    )


def _windows(pixels: np.ndarray, share: float, places: int) -> np.ndarray:
    """Windows of a share of the side in `places` squared places, evenly spread; one lies in the middle."""
    import torch
    from torch.nn.functional import interpolate

    grey = torch.from_numpy(pixels.astype(np.float32) @ LUMA)[:, None]
    room = grey.shape[2] - (side := round(share * grey.shape[2]))
    corners = (
        [room // 2] if places == 1 else np.rint(np.linspace(0, room, places)).astype(int).tolist()
    )
    cut = [grey[:, :, top : top + side, left : left + side] for top in corners for left in corners]
    cells = torch.stack(
        [interpolate(x, (GRID, GRID), mode="bilinear", antialias=True).flatten(1) for x in cut], 1
    )
    cells -= cells.mean(2, keepdim=True)
    return (cells / cells.norm(dim=2, keepdim=True).clamp_min(1e-6)).numpy()
