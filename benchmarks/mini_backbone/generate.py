"""Generated pictures: textures, fractals, mosaics, shapes and X-ray-like greys.

Every generator takes a random generator and a side length and returns a uint8 array of shape (side, side, 3).
"""

import numpy as np
from PIL import Image, ImageDraw, ImageFilter
from scipy.ndimage import gaussian_filter
from scipy.spatial import cKDTree
from scipy.special import expit


def random_colour(rng):
    """Draw a colour as a tuple of three integers, now and then a near-grey one."""
    if rng.random() < 0.25:
        level = rng.integers(0, 256)
        return tuple(int(c) for c in np.clip(level + rng.integers(-12, 13, 3), 0, 255))
    return tuple(int(c) for c in rng.integers(0, 256, 3))


def colourise(values, rng):
    """Map a plane of values to colours along a random palette.

    Parameters
    ----------
    values : ndarray of shape (height, width)
        Any real values; they are scaled to [0, 1] first.
    rng : numpy.random.Generator
        Source of the palette.

    Returns
    -------
    picture : ndarray of shape (height, width, 3)
        Pixels of type uint8.
    """
    low, high = values.min(), values.max()
    values = (values - low) / (high - low + 1e-9)
    stops = rng.integers(2, 6)
    palette = np.array([random_colour(rng) for _ in range(stops)], dtype=float)
    places = np.linspace(0, 1, stops)
    return np.stack([np.interp(values, places, palette[:, c]) for c in range(3)], axis=-1).astype(np.uint8)


def power_noise(rng, side, exponent):
    """Draw one plane of noise whose amplitude falls as frequency ** -exponent."""
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None, :])
    frequency[0, 0] = 1.0
    spectrum = rng.standard_normal(frequency.shape) + 1j * rng.standard_normal(frequency.shape)
    plane = np.fft.irfft2(spectrum * frequency**-exponent, s=(side, side))
    return (plane - plane.mean()) / (plane.std() + 1e-9)


def noise_texture(rng, side):
    """Coloured noise, smooth or thresholded into blobs."""
    exponent = rng.uniform(0.5, 2.2)
    if rng.random() < 0.5:
        plane = power_noise(rng, side, exponent)
        if rng.random() < 0.4:
            plane = np.tanh(plane * rng.uniform(2, 12))
        return colourise(plane, rng)
    planes = np.stack([power_noise(rng, side, exponent) for _ in range(3)], axis=-1)
    mixed = planes @ rng.normal(0, 1, (3, 3)) * rng.uniform(15, 50) + rng.uniform(40, 215, 3)
    return np.clip(mixed, 0, 255).astype(np.uint8)


def grating(rng, side):
    """Sum of warped sine gratings, rings or checks."""
    y, x = np.mgrid[:side, :side] / side - rng.uniform(0.2, 0.8, 2)[:, None, None]
    warp = power_noise(rng, side, 2.0) * rng.choice([0.0, 0.01, 0.05])
    plane = np.zeros((side, side))
    for _ in range(rng.integers(1, 4)):
        angle, cycles = rng.uniform(0, np.pi), rng.uniform(1.5, 25)
        along = np.hypot(x, y) if rng.random() < 0.25 else x * np.cos(angle) + y * np.sin(angle)
        plane += np.sin(2 * np.pi * cycles * (along + warp) + rng.uniform(0, 6))
    if rng.random() < 0.4:
        plane = np.tanh(plane * 8)
    return colourise(plane, rng)


def voronoi(rng, side):
    """Mosaic of Voronoi cells, flat or shaded by distance, with or without dark seams."""
    points = rng.uniform(0, side, (rng.integers(4, 90), 2))
    grid = np.stack(np.mgrid[:side, :side], axis=-1).reshape(-1, 2)
    distance, index = cKDTree(points).query(grid, k=2)
    colours = np.array([random_colour(rng) for _ in points], dtype=float)
    if rng.random() < 0.4:
        colours = colours * 0.3 + colours.mean(0) * 0.7
    picture = colours[index[:, 0]]
    if rng.random() < 0.5:
        picture = picture * (1 - 0.7 * distance[:, :1] / (distance[:, 0].max() + 1e-9))
    if rng.random() < 0.5:
        seam = np.clip((distance[:, 1] - distance[:, 0]) / rng.uniform(1, 6), 0, 1)
        picture = picture * seam[:, None]
    return picture.reshape(side, side, 3).astype(np.uint8)


def fractal(rng, side):
    """Attractor of a random iterated function system, coloured by visit density and map."""
    maps = rng.integers(2, 6)
    matrices = rng.uniform(-1, 1, (maps, 2, 2))
    # Shrinking each map below one keeps the orbit bounded.
    matrices *= (rng.uniform(0.45, 0.9, maps) / np.linalg.norm(matrices, ord=2, axis=(1, 2)))[:, None, None]
    shifts = rng.uniform(-1, 1, (maps, 2))
    points = rng.uniform(-1, 1, (600, 2))
    visits = []
    for step in range(70):
        chosen = rng.integers(0, maps, len(points))
        points = np.einsum("nij,nj->ni", matrices[chosen], points) + shifts[chosen]
        if step >= 10:
            visits.append(points)
    visits = np.concatenate(visits)
    low, high = np.percentile(visits, [1, 99], axis=0)
    scaled = (visits - low) / (np.max(high - low) + 1e-9) * 0.9 + 0.05
    density = np.histogram2d(scaled[:, 0], scaled[:, 1], bins=side, range=((0, 1), (0, 1)))[0]
    density = gaussian_filter(np.log1p(density), rng.uniform(0.4, 1.5))
    return colourise(density, rng)


def shape_mask(rng, side, extent):
    """Mask of one random ellipse, box, rounded box, polygon, star or smooth blob.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of randomness.
    side : int
        Side length of the mask.
    extent : float
        Radius of the shape in pixels.

    Returns
    -------
    mask : PIL.Image.Image
        Mask of mode "L".
    """
    mask = Image.new("L", (side, side))
    draw = ImageDraw.Draw(mask)
    centre = rng.uniform(0, side, 2) if extent < side / 4 else rng.uniform(0.3 * side, 0.7 * side, 2)
    kind = rng.integers(0, 4)
    half = extent * rng.uniform(0.3, 1.0, 2)
    box = [*(centre - half), *(centre + half)]
    if kind == 0:
        draw.ellipse(box, fill=255)
    elif kind == 1:
        draw.rounded_rectangle(box, radius=float(half.min() * rng.choice([0, 0.2, 0.6])), fill=255)
    else:
        corners = int(rng.integers(3, 12) if kind == 2 else 40)
        angles = np.linspace(0, 2 * np.pi, corners, endpoint=False) + rng.uniform(0, 6)
        if kind == 2:
            radius = extent * rng.uniform(0.35, 1.0, corners)
        else:
            waves = rng.integers(2, 6)
            radius = extent * (0.75 + rng.uniform(0.05, 0.25) * np.sin(waves * angles))
        outline = centre + radius[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)
        draw.polygon([tuple(point) for point in outline], fill=255)
    return mask.rotate(float(rng.uniform(0, 180)), center=tuple(centre)) if kind == 1 else mask


def gradient(rng, side):
    """Linear gradient between two colours; often nearly flat, as a wall or a sheet of paper."""
    first, second = np.array(random_colour(rng), float), np.array(random_colour(rng), float)
    if rng.random() < 0.4:
        first = rng.uniform(215, 255) + rng.uniform(-6, 6, 3)
        second = first - rng.uniform(0, 40)
    y, x = np.mgrid[:side, :side] / side
    angle = rng.uniform(0, 2 * np.pi)
    t = np.clip((x - 0.5) * np.cos(angle) + (y - 0.5) * np.sin(angle) + 0.5, 0, 1)[..., None]
    return np.clip(first * (1 - t) + second * t, 0, 255).astype(np.uint8)


def dead_leaves(rng, side):
    """Occluding shapes of power-law sizes, some filled with texture."""
    picture = Image.fromarray(gradient(rng, side))
    texture = Image.fromarray(rng.choice([noise_texture, grating])(rng, side))
    textured = rng.uniform(0, 0.5)
    for _ in range(rng.integers(8, 60)):
        extent = min(side * 0.5, side * 0.04 / rng.random() ** 0.7)
        fill = texture if rng.random() < textured else random_colour(rng)
        picture.paste(fill, (0, 0) if fill is texture else None, shape_mask(rng, side, extent))
    return np.asarray(picture)


def things(rng, side):
    """Draw a few shaded parts, rows of keys and handles on a plain ground, as product photographs have."""
    picture = Image.fromarray(gradient(rng, side))
    for _ in range(rng.integers(1, 5)):
        mask = shape_mask(rng, side, side * rng.uniform(0.12, 0.5))
        if rng.random() < 0.5:
            shadow = mask.filter(ImageFilter.GaussianBlur(4)).point(lambda v: v // 3)
            picture.paste((0, 0, 0), (3, 5), shadow)
        picture.paste(Image.fromarray(gradient(rng, side)), (0, 0), mask)
    draw = ImageDraw.Draw(picture)
    if rng.random() < 0.5:
        rows, columns = rng.integers(1, 7), rng.integers(2, 13)
        left, top = rng.uniform(0, 0.5 * side, 2)
        step = rng.uniform(0.3, 0.95) * side / max(rows, columns)
        fill, line = random_colour(rng), random_colour(rng)
        for row in range(rows):
            for column in range(columns):
                x, y = left + column * step, top + row * step
                draw.rectangle([x, y, x + 0.8 * step, y + 0.75 * step], fill=fill, outline=line)
    for _ in range(rng.integers(0, 5)):
        box = np.sort(rng.uniform(0, side, (2, 2)), axis=0) + np.array([[0], [2]])
        width = int(rng.integers(1, 8))
        if rng.random() < 0.5:
            draw.arc([*box[0], *box[1]], *sorted(rng.uniform(0, 360, 2)), fill=random_colour(rng), width=width)
        else:
            draw.line([*rng.uniform(0, side, 4)], fill=random_colour(rng), width=width)
    return np.asarray(picture.rotate(float(rng.normal(0, 12)), resample=Image.Resampling.BILINEAR))


def grey_chest(rng, side):
    """Soft grey picture with two dark lobes, pale ribs and a pale core, loosely like a chest X-ray."""
    y, x = np.mgrid[:side, :side] / side
    body = 150 + 40 * power_noise(rng, side, 2.2) * rng.uniform(0.1, 0.5)
    middle, tilt = rng.uniform(0.45, 0.55), rng.normal(0, 0.05)
    for sign in (-1, 1):
        u = (x - middle - sign * rng.uniform(0.18, 0.25) - tilt * y) / rng.uniform(0.11, 0.18)
        v = (y - rng.uniform(0.42, 0.55)) / rng.uniform(0.28, 0.42)
        lobe = expit(rng.uniform(4, 10) * (1 - np.abs(u) ** 2.2 - np.abs(v) ** 2.5))
        haze = rng.choice([0.0, 1.0]) * gaussian_filter((power_noise(rng, side, 1.5) > 0.6).astype(float), side * 0.02)
        body = body - lobe * (rng.uniform(50, 110) - 80 * haze)
    bend = rng.uniform(0.5, 1.5) * (x - middle) ** 2
    ribs = np.sin(2 * np.pi * (y + bend) * rng.uniform(5, 9) + rng.uniform(0, 6))
    body = body + rng.uniform(3, 14) * ribs + rng.uniform(10, 70) * np.exp(-(((x - middle) / 0.07) ** 2))
    body = gaussian_filter(body, side * rng.uniform(0.005, 0.03)) + rng.normal(0, rng.uniform(0, 4), body.shape)
    return np.repeat(np.clip(body, 0, 255).astype(np.uint8)[..., None], 3, axis=-1)


GENERATORS = (noise_texture, grating, voronoi, fractal, dead_leaves, dead_leaves, things, things, things, grey_chest)
