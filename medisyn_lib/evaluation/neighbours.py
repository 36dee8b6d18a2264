"""Exact nearest neighbours in an index that may be larger than memory."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import numpy as np
import torch

from medisyn_lib.errors import InputError
from medisyn_lib.runtime.device import accelerator

BLOCK_ROWS = 4096  # of the index in one block of products
SPARE = 8  # candidates beyond k, so that rounding in single precision does not decide


class Neighbours(NamedTuple):
    """The k nearest rows of each query, nearest first: `distance` float64 (q, k), `row` int64 (q, k)."""

    distance: np.ndarray
    row: np.ndarray


def nearest(queries: np.ndarray, index: np.ndarray, k: int) -> Neighbours:
    """Find the k nearest rows of an index by Euclidean distance.

    Candidates are chosen by products in float32, block by block, on the device that Accelerate was
    launched on; their distances are computed again in float64. Among equally near rows the first comes first.

    Parameters
    ----------
    queries : float (q, d), or (q, v, d): of v views of a query the nearest counts
    index : float (n, d), may be memory-mapped
    k : number of neighbours, 1 to n

    Returns
    -------
    Neighbours

    Raises
    ------
    InputError
        If the index holds fewer than k rows.
    """
    views = queries if queries.ndim == 3 else queries[:, None]
    if not 0 < k <= len(index):
        raise InputError(
            f"index of {len(index)} images: {k} nearest are asked for; add images or ask for fewer"
        )
    found = Neighbours(np.empty((len(views), k)), np.empty((len(views), k), np.int64))
    step = max(1, BLOCK_ROWS // views.shape[1])
    n_candidates, device = min(len(index), k + SPARE), accelerator().device
    find = _candidates if device.type == "cpu" else partial(_candidates_on, device)
    for start in range(0, len(views), step):
        block = np.asarray(views[start : start + step], np.float32)
        for place, candidates in enumerate(find(block, index, n_candidates), start):
            best = _nearest_of(views[place], index, np.sort(candidates), k)
            found.distance[place], found.row[place] = best
    return found


def _nearest_of(views: np.ndarray, index: np.ndarray, rows: np.ndarray, k: int) -> Neighbours:
    """Sort some rows of the index by their float64 distance from one query's views (v, d); keep k."""
    candidates = np.asarray(index[rows], np.float64)
    apart = views[:, None].astype(np.float64) - candidates
    distance = np.sqrt((apart**2).sum(-1)).min(0)
    order = np.argsort(distance, kind="stable")[:k]
    return Neighbours(distance[order], rows[order])


def _candidates(views: np.ndarray, index: np.ndarray, keep: int) -> np.ndarray:
    """Find the nearest rows (q, keep), in no order, of float32 views (q, v, d)."""
    n_queries, n_views, width = views.shape
    queries = _extended_queries(views)
    best = np.full((n_queries, keep), np.inf, np.float32)
    rows = np.full((n_queries, keep), -1)
    most = min(BLOCK_ROWS, len(index))
    products = np.empty((most, len(queries)), np.float32)
    block = np.ones((most, width + 2), np.float32)
    # Blocks double in size, so that few rows of a block are nearer than the best of those before it.
    start, size = 0, keep
    while start < len(index):
        part = block[: len(index[start : start + size])]
        part[:, :width] = index[start : start + size]
        np.einsum("ij,ij->i", part[:, :width], part[:, :width], out=part[:, width + 1])
        squared = np.matmul(part, queries.T, out=products[: len(part)])
        squared = squared.reshape(-1, n_views, n_queries)
        squared = squared[:, 0] if n_views == 1 else squared.min(1)
        _merge_block(best, rows, squared, start)
        start += size
        size = min(2 * size, BLOCK_ROWS)
    return rows


def _candidates_on(
    device: torch.device, views: np.ndarray, index: np.ndarray, keep: int
) -> np.ndarray:
    """Find what `_candidates` finds, by a card: only blocks of the index go there, only rows come back."""
    n_queries, n_views, width = views.shape
    queries = torch.from_numpy(_extended_queries(views)).to(device)
    best = torch.full((n_queries, keep), torch.inf, device=device)
    rows = torch.full((n_queries, keep), -1, device=device)
    for start in range(0, len(index), BLOCK_ROWS):
        block = np.ones((len(index[start : start + BLOCK_ROWS]), width + 2), np.float32)
        block[:, :width] = index[start : start + BLOCK_ROWS]
        np.einsum("ij,ij->i", block[:, :width], block[:, :width], out=block[:, width + 1])
        squared = queries @ torch.from_numpy(block).to(device).T
        squared = squared.reshape(n_views, n_queries, -1).amin(0)
        numbers = torch.arange(start, start + len(block), device=device).expand(n_queries, -1)
        # Stable: among equally near rows the first comes first.
        all_squared, all_rows = torch.cat([best, squared], 1), torch.cat([rows, numbers], 1)
        order = all_squared.sort(dim=1, stable=True).indices[:, :keep]
        best, rows = all_squared.gather(1, order), all_rows.gather(1, order)
    return rows.cpu().numpy()


def _extended_queries(views: np.ndarray) -> np.ndarray:
    """Extend views (q, v, d) to (v * q, d + 2), whose product with (x, 1, |x|^2) is a squared distance.

    |y - x|^2 = -2 y x + |y|^2 + |x|^2, so a query y becomes (-2 y, |y|^2, 1).
    """
    n_queries, n_views, width = views.shape
    extended = np.ones((n_views * n_queries, width + 2), np.float32)
    doubled = extended[:, :width]
    np.multiply(views.swapaxes(0, 1).reshape(-1, width), -2, out=doubled)
    extended[:, width] = np.einsum("ij,ij->i", doubled, doubled) / 4
    return extended


def _merge_block(best: np.ndarray, rows: np.ndarray, squared: np.ndarray, start: int) -> None:
    """Merge a block's squared distances (rows of the block, q) into the best so far, in place.

    `best` and `rows` are (q, keep); `start` is the number of the block's first row.
    """
    n_queries, keep = best.shape
    hits = np.flatnonzero(squared < best.max(1))
    hit_row, hit_query = np.divmod(hits, n_queries)
    improved, owner = np.unique(hit_query, return_inverse=True)
    places = np.arange(len(improved))
    value = np.concatenate([best[improved].ravel(), squared[hit_row, hit_query]])
    number = np.concatenate([rows[improved].ravel(), start + hit_row])
    owner = np.concatenate([np.repeat(places, keep), owner])
    order = np.lexsort((number, value, owner))
    first = np.searchsorted(owner[order], places)
    chosen = order[first[:, None] + np.arange(keep)]
    best[improved], rows[improved] = value[chosen], number[chosen]
