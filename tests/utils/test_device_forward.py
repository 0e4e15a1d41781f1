import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from torch import nn

from sktransfer.utils._device_forward import forward_in_micro_batches
from sktransfer.utils._random import isolated_rng
from sktransfer.utils._threads import torch_threads

CPU = torch.device("cpu")
ROWS = 4


class TestForwardInMicroBatches:
    @pytest.fixture(params=[1, 2])
    def threads(self, request):
        with torch_threads(request.param):
            yield request.param

    @pytest.fixture
    def network(self):
        with isolated_rng(0):
            return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 14 * 14, 5)).eval()

    @pytest.fixture
    def x(self):
        return torch.randn(11, 3, 16, 16, generator=torch.Generator().manual_seed(0))

    @staticmethod
    def forward(function, x, *, batch_size=4, precision="float32"):
        return forward_in_micro_batches(
            function, x, batch_size=batch_size, device=CPU, precision=precision, cpu_rows=ROWS
        )

    @pytest.mark.parametrize("n", [1, 4, 11])
    def test_equals_one_plain_forward_pass(self, n, network, x, threads):
        result = self.forward(network, x[:n])
        with torch.no_grad():
            assert_allclose(result, network(x[:n]).numpy(), rtol=1e-5, atol=1e-6)
        assert result.dtype == np.float32

    @pytest.mark.parametrize("rows", [slice(0, 1), slice(3, 8), slice(None, None, 2)], ids=str)
    def test_a_row_does_not_depend_on_the_rows_beside_it(self, rows, network, x, threads):
        assert_array_equal(self.forward(network, x[rows]), self.forward(network, x)[rows])

    def test_number_of_threads_changes_no_bit(self, network, x):
        results = []
        for n in (1, 2):
            with torch_threads(n):
                results.append(self.forward(network, x))
        assert_array_equal(*results)

    @pytest.mark.parametrize("n", [3, 11])
    def test_every_pass_has_one_shape_one_thread_and_no_gradients(self, n, network, x, threads):
        seen = []

        def function(part):
            result = network(part)
            seen.append((len(part), torch.get_num_threads(), result.requires_grad))
            return result

        self.forward(function, x[:n], batch_size=7)
        assert seen == [(ROWS, 1, False)] * -(-n // ROWS)
        assert torch.get_num_threads() == threads

    def test_the_last_pass_is_filled_up_with_zeros(self, x):
        last = []
        self.forward(lambda part: last.append(part) or part, x[:5])
        assert_array_equal(last[-1][0], x[4])
        assert not last[-1][1:].any()

    def test_no_rows_give_no_rows(self, network, x):
        assert self.forward(network, x[:0]).shape == (0, 5)

    @pytest.mark.parametrize("precision", ["bfloat16", "float16"])
    def test_reduced_precision_is_near_and_comes_back_as_float32(self, precision, network, x):
        expected, result = self.forward(network, x), self.forward(network, x, precision=precision)
        assert result.dtype == np.float32
        assert not np.array_equal(result, expected)
        assert_allclose(result, expected, atol=0.05)

    def test_an_error_reaches_the_caller_and_leaves_the_threads_as_they_were(self, x, threads):
        def broken(part):
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            self.forward(broken, x)
        assert torch.get_num_threads() == threads
