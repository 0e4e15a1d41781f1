"""Store the teacher's feature maps of the rendered views, for the map losses of the training.

Writes ``maps_NNN.npy`` per chunk: for every view the concatenated, flattened float16 maps named in `MAPS`.
"""

import time

import numpy as np
import torch
from common import TEACHER, WEIGHTS, WORK, import_timm
from torch.nn import functional

SIDE = 128
# Block whose output is kept (None: the last 1 x 1 convolution), its channels and the side of the stored map.
MAPS = ((2, 32, 6), (4, 96, 6), (None, 1280, 3))


def backbone_maps(model, pixels):
    """Return the maps of `MAPS` of a timm MobileNetV2, in order, at the model's own resolution."""
    x = model.bn1(model.conv_stem(pixels))
    kept = []
    wanted = [block for block, _, _ in MAPS]
    for number, block in enumerate(model.blocks):
        x = block(x)
        if number in wanted:
            kept.append(x)
    return [*kept, model.bn2(model.conv_head(x))]


def main():
    """Store the maps of all chunks that lack them."""
    torch.set_num_threads(1)
    timm = import_timm()
    teacher = timm.create_model(f"local-dir:{WEIGHTS / TEACHER}", pretrained=True, num_classes=0).eval()
    teacher = teacher.to(memory_format=torch.channels_last)
    for path in sorted(WORK.glob("labels_*.npy")):
        target = WORK / path.name.replace("labels", "maps")
        if target.exists():
            continue
        start, views, rows = time.perf_counter(), np.load(WORK / path.name.replace("labels", "views")), []
        for batch in np.array_split(views, len(views) // 100):
            pixels = torch.from_numpy(batch).permute(0, 3, 1, 2).float().div(127.5).sub(1)
            with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
                pixels = functional.interpolate(pixels, size=SIDE, mode="bilinear")
                maps = backbone_maps(teacher, pixels.contiguous(memory_format=torch.channels_last))
                small = [
                    functional.adaptive_avg_pool2d(m.float(), side) for m, (_, _, side) in zip(maps, MAPS, strict=True)
                ]
            rows.append(np.concatenate([m.flatten(1).numpy().astype(np.float16) for m in small], axis=1))
        np.save(target.with_suffix(".new.npy"), np.concatenate(rows))
        target.with_suffix(".new.npy").replace(target)
        print(f"{target.name}: {time.perf_counter() - start:.0f} s", flush=True)


if __name__ == "__main__":
    main()
