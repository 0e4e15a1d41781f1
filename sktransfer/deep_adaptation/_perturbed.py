"""Views of target rows: changed at random where they are, without the files that they came from."""

import torch
from torch.nn import functional

__all__ = ["perturbed_maps", "perturbed_rows"]


def perturbed_maps(maps: torch.Tensor, noise: float) -> torch.Tensor:
    """Move pictures at random, change their brightness and contrast, and paint a rectangle over.

    Parameters
    ----------
    maps : torch.Tensor of shape (n, channels, height, width)
    noise : float
        Sides of the rectangle, as a share of those of the picture; contrast changes by up to this share, brightness by
        up to this share of the standard deviation of the picture, and moves are up to a quarter of this share.

    Returns
    -------
    torch.Tensor of shape (n, channels, height, width)
    """
    n, _, height, width = maps.shape

    def draw(low, high):
        return torch.empty_like(maps[:, :1, :1, :1]).uniform_(low, high)

    # The grid that pictures are sampled at is 2 wide; where it leaves them, their edge is repeated.
    moves = torch.stack([draw(-noise / 2, noise / 2).view(n) for _ in range(2)], dim=1)
    upright = torch.eye(2).to(maps).expand(n, 2, 2)
    grid = functional.affine_grid(torch.cat([upright, moves[:, :, None]], dim=2), list(maps.shape), align_corners=False)
    views = functional.grid_sample(maps, grid, padding_mode="border", align_corners=False)
    mean = views.mean((1, 2, 3), keepdim=True)
    deviation = views.std((1, 2, 3), correction=0, keepdim=True)
    views = mean + (views - mean) * (1 + draw(-noise, noise)) + deviation * draw(-noise, noise)
    rows = torch.linspace(0, 1, height).to(maps).view(1, 1, height, 1)
    columns = torch.linspace(0, 1, width).to(maps).view(1, 1, 1, width)
    covered = ((rows - draw(0, 1)).abs() < noise / 2) & ((columns - draw(0, 1)).abs() < noise / 2)
    return torch.where(covered, mean, views)


def perturbed_rows(rows: torch.Tensor, noise: float) -> torch.Tensor:
    """Replace numbers at random by those that another row of the batch has in their place.

    Unlike dropout it leaves every feature its distribution, whatever its unit and mean.

    Parameters
    ----------
    rows : torch.Tensor of shape (n, ...)
    noise : float
        Probability of each number to be replaced.

    Returns
    -------
    torch.Tensor of shape (n, ...)
    """
    others = rows[torch.randperm(len(rows), device=rows.device)]
    return torch.where(torch.rand_like(rows) < noise, others, rows)
