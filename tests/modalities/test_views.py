"""Mirror images and crops of pictures, the same ones each time."""

import numpy as np
import pytest
import torch
from PIL import Image

from sktransfer.modalities import Images, Tables, Texts
from sktransfer.modalities._views import MOST_VIEWS, picture_views

SIDE = 16  # of which a crop is 14


def pictures(n=3, seed=0):
    return torch.rand((n, 3, SIDE, SIDE), generator=torch.Generator().manual_seed(seed))


def test_the_first_is_the_picture_and_the_second_its_mirror_image():
    x = pictures()
    whole, mirrored = (view(x) for view in picture_views(2))
    assert torch.equal(whole, x)
    np.testing.assert_array_equal(mirrored, x.numpy()[..., ::-1])


@pytest.mark.parametrize(("number", "top", "left"), [(2, 1, 1), (4, 0, 0), (6, 2, 2), (8, 0, 2), (10, 2, 0)])
def test_crops_are_those_that_pillow_cuts_and_enlarges(number, top, left):
    x = pictures()
    view, mirrored = picture_views(MOST_VIEWS)[number : number + 2]
    for row in range(len(x)):
        for channel in range(3):
            crop = Image.fromarray(x[row, channel].numpy()).crop((left, top, left + 14, top + 14))
            expected = crop.resize((SIDE, SIDE), Image.Resampling.BILINEAR)
            np.testing.assert_allclose(view(x)[row, channel], np.asarray(expected), atol=1e-6)
    assert torch.equal(mirrored(x), view(x).flip(-1))


def test_all_differ_and_keep_the_shape():
    x = pictures()[..., :12]
    seen = [view(x) for view in picture_views(MOST_VIEWS)]
    assert all(view.shape == x.shape for view in seen)
    assert len({view.numpy().tobytes() for view in seen}) == MOST_VIEWS == 12


def test_a_picture_does_not_depend_on_its_batch():
    x = pictures()
    for view in picture_views(MOST_VIEWS):
        assert torch.equal(view(x)[1:2], view(x[1:2]))


def test_more_than_there_are_is_refused_with_their_number():
    with pytest.raises(ValueError, match=r"n_views=13: there are 12 views of a picture .* number from 1 to 12"):
        Images({}).views(13)


@pytest.mark.parametrize(("kind", "noun"), [(Texts, "text"), (Tables, "row")])
def test_other_kinds_have_one_view_and_say_so(kind, noun):
    modality = object.__new__(kind)
    assert modality.views(1)[0](noun) == noun
    with pytest.raises(
        ValueError, match=f"n_views=2 averages over mirror images and crops, which a {noun} has none of"
    ):
        modality.views(2)
