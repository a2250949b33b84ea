"""Triton kernels of FuNet: convolutions with reflected borders, and the end of a gradient residual dense block.

Maps are (images, H, W, channels) in half precision; a program computes ROWS x COLUMNS pixels of one image, and sums products
in float32. Parameters in capitals are constants of the compiled kernel.
"""

import triton
import triton.language as tl


@triton.jit
def reflect(index, size):
    """Reflect indices at the borders of an axis; those far outside, of pixels that are not stored, become 0."""
    index = tl.abs(index)
    return tl.maximum(tl.where(index >= size, 2 * size - 2 - index, index), 0)


@triton.jit
def _locate(ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """Return the rows and columns of the pixels of this block."""
    pixels = tl.arange(0, ROWS * COLUMNS)
    return tl.program_id(1) * ROWS + pixels // COLUMNS, tl.program_id(0) * COLUMNS + pixels % COLUMNS


@triton.jit
def _leaky_relu(values, SLOPE: tl.constexpr):
    return tl.where(values > 0, values, values * SLOPE)


@triton.jit
def _interpolate(maps, y, x, height, width, STRIDE: tl.constexpr, channels, mask):
    """Interpolate maps (height, width, STRIDE) bilinearly at pixels, as torch does without aligned corners."""
    y, x = tl.maximum(y, 0.0), tl.maximum(x, 0.0)  # constant outside of the outer centers
    row, column = tl.minimum(y.to(tl.int32), height - 1), tl.minimum(x.to(tl.int32), width - 1)
    down, across = (y - row)[:, None], (x - column)[:, None]
    top, bottom = row * width * STRIDE, tl.minimum(row + 1, height - 1) * width * STRIDE
    left, right = column * STRIDE, tl.minimum(column + 1, width - 1) * STRIDE
    base = maps + channels[None, :]
    upper = (1 - across) * tl.load(base + (top + left)[:, None], mask=mask, other=0.0)
    upper += across * tl.load(base + (top + right)[:, None], mask=mask, other=0.0)
    lower = (1 - across) * tl.load(base + (bottom + left)[:, None], mask=mask, other=0.0)
    lower += across * tl.load(base + (bottom + right)[:, None], mask=mask, other=0.0)
    return (1 - down) * upper + down * lower


@triton.jit
def stem_kernel(
    source,
    weights,
    bias,
    target,
    height,
    width,
    SLOPE: tl.constexpr,
    IN: tl.constexpr,
    OUT: tl.constexpr,
    OUT_PADDED: tl.constexpr,
    STRIDE: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """Convolve an image (IN, H, W), float32, and write OUT of the STRIDE channels of every pixel."""
    rows, columns = _locate(ROWS, COLUMNS)
    image = tl.program_id(2).to(tl.int64) * height * width
    source += image * IN
    target += image * STRIDE
    outputs = tl.arange(0, OUT_PADDED)
    total = tl.zeros((ROWS * COLUMNS, OUT_PADDED), tl.float32) + tl.load(bias + outputs)[None, :]
    for tap in tl.static_range(9):
        pixels = reflect(rows + tap // 3 - 1, height) * width + reflect(columns + tap % 3 - 1, width)
        for channel in tl.static_range(IN):
            values = tl.load(source + channel * height * width + pixels)
            total += values[:, None] * tl.load(weights + (tap * IN + channel) * OUT_PADDED + outputs)[None, :]
    mask = ((rows < height) & (columns < width))[:, None] & (outputs < OUT)[None, :]
    places = ((rows * width + columns) * STRIDE)[:, None] + outputs[None, :]
    tl.store(target + places, _leaky_relu(total, SLOPE).to(target.dtype.element_ty), mask=mask)


@triton.jit
def convolution_kernel(
    source,
    weights,
    bias,
    target,
    height,
    width,
    images_per_set,
    target_image_stride,
    target_channel_stride,
    context,
    context_height,
    context_width,
    CONTEXT: tl.constexpr,
    SLOPE: tl.constexpr,
    ACTIVATION: tl.constexpr,
    IN: tl.constexpr,
    IN_PADDED: tl.constexpr,
    OUT: tl.constexpr,
    OUT_PADDED: tl.constexpr,
    SOURCE_STRIDE: tl.constexpr,
    TARGET_STRIDE: tl.constexpr,
    CHUNK: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """Convolve IN of the SOURCE_STRIDE channels of every pixel. Every set of images has its own weights.

    CONTEXT is the factor by which the resolution of `context` (images, h, w, OUT), which is added, is lower; 0 without.
    """
    rows, columns = _locate(ROWS, COLUMNS)
    image = tl.program_id(2)
    source += image.to(tl.int64) * height * width * SOURCE_STRIDE
    target += image.to(tl.int64) * target_image_stride
    weights += (image // images_per_set) * 9 * IN_PADDED * OUT_PADDED
    outputs = tl.arange(0, OUT_PADDED)
    total = tl.zeros((ROWS * COLUMNS, OUT_PADDED), tl.float32)
    total += tl.load(bias + (image // images_per_set) * OUT_PADDED + outputs)[None, :]
    for tap in tl.static_range(9):
        pixels = reflect(rows + tap // 3 - 1, height) * width + reflect(columns + tap % 3 - 1, width)
        for start in tl.static_range(0, IN_PADDED, CHUNK):
            channels = start + tl.arange(0, CHUNK)
            places = (pixels * SOURCE_STRIDE)[:, None] + channels[None, :]
            values = tl.load(source + places, mask=channels[None, :] < IN, other=0.0)
            kernel = tl.load(weights + ((tap * IN_PADDED + channels) * OUT_PADDED)[:, None] + outputs[None, :])
            total = tl.dot(values, kernel, total)
    is_output = (outputs < OUT)[None, :]
    if CONTEXT:
        context += image.to(tl.int64) * context_height * context_width * OUT
        y, x = (rows + 0.5) / CONTEXT - 0.5, (columns + 0.5) / CONTEXT - 0.5
        total += _interpolate(context, y, x, context_height, context_width, OUT, outputs, is_output)
    if ACTIVATION == "leaky":
        total = _leaky_relu(total, SLOPE)
    elif ACTIVATION == "sigmoid":
        total = tl.sigmoid(total)
    mask = ((rows < height) & (columns < width))[:, None] & is_output
    places = ((rows * width + columns) * TARGET_STRIDE)[:, None] + (outputs * target_channel_stride)[None, :]
    tl.store(target + places, total.to(target.dtype.element_ty), mask=mask)


@triton.jit
def align_kernel(
    source,
    weights,
    gradient_weights,
    bias,
    projections,
    target,
    height,
    width,
    grid_height,
    grid_width,
    images_per_set,
    SLOPE: tl.constexpr,
    INJECT: tl.constexpr,
    IN: tl.constexpr,
    IN_PADDED: tl.constexpr,
    DENSE_PADDED: tl.constexpr,
    OUT: tl.constexpr,
    OUT_PADDED: tl.constexpr,
    CHUNK: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """Align both branches of a gradient residual dense block, inject semantics, and write one modality's part of z."""
    rows, columns = _locate(ROWS, COLUMNS)
    image = tl.program_id(2)
    modality, item = image // images_per_set, image % images_per_set
    source += image.to(tl.int64) * height * width * 3 * IN
    target += item.to(tl.int64) * height * width * 2 * OUT + modality * OUT
    weights += modality * DENSE_PADDED * OUT_PADDED
    gradient_weights += modality * IN_PADDED * OUT_PADDED
    outputs = tl.arange(0, OUT_PADDED)
    total = tl.zeros((ROWS * COLUMNS, OUT_PADDED), tl.float32)
    total += tl.load(bias + modality * OUT_PADDED + outputs)[None, :]
    above, below = reflect(rows - 1, height) * width, reflect(rows + 1, height) * width
    here = reflect(rows, height) * width
    before, after, middle = reflect(columns - 1, width), reflect(columns + 1, width), reflect(columns, width)
    stride: tl.constexpr = 3 * IN
    for start in tl.static_range(0, DENSE_PADDED, CHUNK):
        channels = start + tl.arange(0, CHUNK)
        places = ((here + middle) * stride)[:, None] + channels[None, :]
        values = tl.load(source + places, mask=channels[None, :] < stride, other=0.0)
        total = tl.dot(values, tl.load(weights + (channels * OUT_PADDED)[:, None] + outputs[None, :]), total)
    for start in tl.static_range(0, IN_PADDED, CHUNK):
        channels = start + tl.arange(0, CHUNK)
        mask = channels[None, :] < IN
        base = source + channels[None, :]
        top_left = tl.load(base + ((above + before) * stride)[:, None], mask=mask, other=0.0).to(tl.float32)
        top_right = tl.load(base + ((above + after) * stride)[:, None], mask=mask, other=0.0).to(tl.float32)
        low_left = tl.load(base + ((below + before) * stride)[:, None], mask=mask, other=0.0).to(tl.float32)
        low_right = tl.load(base + ((below + after) * stride)[:, None], mask=mask, other=0.0).to(tl.float32)
        left = tl.load(base + ((here + before) * stride)[:, None], mask=mask, other=0.0).to(tl.float32)
        right = tl.load(base + ((here + after) * stride)[:, None], mask=mask, other=0.0).to(tl.float32)
        top = tl.load(base + ((above + middle) * stride)[:, None], mask=mask, other=0.0).to(tl.float32)
        low = tl.load(base + ((below + middle) * stride)[:, None], mask=mask, other=0.0).to(tl.float32)
        magnitude = tl.abs(top_right + 2 * right + low_right - top_left - 2 * left - low_left)
        magnitude += tl.abs(low_left + 2 * low + low_right - top_left - 2 * top - top_right)
        kernel = tl.load(gradient_weights + (channels * OUT_PADDED)[:, None] + outputs[None, :])
        total = tl.dot(magnitude.to(kernel.dtype), kernel, total)
    total = _leaky_relu(total, SLOPE)
    is_output = (outputs < OUT)[None, :]
    if INJECT:
        y, x = (rows + 0.5) * (grid_height / height) - 0.5, (columns + 0.5) * (grid_width / width) - 0.5
        pixel: tl.constexpr = 4 * OUT
        projections += item * grid_height * grid_width * pixel + modality * OUT
        gate = tl.sigmoid(_interpolate(projections, y, x, grid_height, grid_width, pixel, outputs, is_output))
        semantic = _interpolate(projections + 2 * OUT, y, x, grid_height, grid_width, pixel, outputs, is_output)
        total += total * gate + semantic  # Eq. (7), (8)
    mask = ((rows < height) & (columns < width))[:, None] & is_output
    places = ((rows * width + columns) * 2 * OUT)[:, None] + outputs[None, :]
    tl.store(target + places, total.to(target.dtype.element_ty), mask=mask)
