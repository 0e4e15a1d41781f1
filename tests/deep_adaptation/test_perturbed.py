"""Views of rows and of pictures."""

import numpy as np
import pytest
import torch

from sktransfer.deep_adaptation._perturbed import perturbed_maps, perturbed_rows


def test_views_of_rows_keep_the_distribution_of_every_column():
    generator = np.random.default_rng(0)
    rows = torch.tensor(generator.normal(loc=[1e3, -5.0], scale=[1.0, 9.0], size=(4000, 2)))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        views = perturbed_rows(rows, 0.3)
        same = perturbed_rows(rows, 0.0)
    assert torch.equal(same, rows)
    assert (views != rows).double().mean().item() == pytest.approx(0.3, abs=0.02)
    np.testing.assert_allclose(views.mean(0), rows.mean(0), atol=0.5)
    np.testing.assert_allclose(views.std(0), rows.std(0), rtol=0.05)


def test_views_of_pictures_are_moved_covered_and_other_in_brightness():
    pictures = torch.zeros(200, 3, 16, 24)
    pictures[:, :, 6:10, 10:14] = 1.0
    with torch.random.fork_rng():
        torch.manual_seed(0)
        views = perturbed_maps(pictures, 0.4)
        same = perturbed_maps(pictures, 0.0)
    torch.testing.assert_close(same, pictures, atol=1e-5, rtol=0)
    assert views.shape == pictures.shape
    assert len(torch.unique(views[:, 0].flatten(1).argmax(1))) > 10
    # What covers is flat: its area is about that of the rectangle, where the edge does not cut it.
    flat = (views == views.mean((1, 2, 3), keepdim=True)).double().mean((1, 2, 3))
    assert views.amin((1, 2, 3)).std() > 0.01
    assert flat.max() < 0.4**2 + 0.1
