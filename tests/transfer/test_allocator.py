import numpy as np

from hires_nst.transfer.allocator import give_back_memory, keep_freed_memory, zeros
from hires_nst.transfer.canvas import Canvas


def test_memory_can_be_kept_and_given_back_again_and_again() -> None:
    assert keep_freed_memory() == keep_freed_memory()
    block = np.ones(1 << 22)
    del block
    give_back_memory()
    give_back_memory()


def test_an_array_in_a_map_is_an_array_of_zeros_that_can_be_written() -> None:
    for size in (12, 720_000):
        array = zeros(size)
        assert array.shape == (size,) and array.dtype == np.uint8 and not array.any()
        array[:] = 5
        assert array.mean() == 5


def test_a_canvas_in_memory_outlives_the_name_of_its_map() -> None:
    canvas = Canvas.empty(300, 200)
    pixels = canvas.pixels
    del canvas
    pixels += 1
    assert float(pixels.sum()) == 300 * 200 * 3
