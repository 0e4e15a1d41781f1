"""Begin the student from its teacher: half the channels, refitted layer by layer by least squares.

MobileNetV2's blocks end in linear bottlenecks, so what flows between them can be projected onto its principal
components and every layer that reads it be refitted to the projection. Hidden channels sit behind a ReLU6 and can only
be chosen: those stay that carry most of the block's output. Each layer is fitted on what the layers before it, already
halved, really give, and so corrects their errors. Writes ``initial.pt``, where the training starts.
"""

import numpy as np
import torch
from common import ARCHITECTURE, INPUT_SIZE, TEACHER, WEIGHTS, WORK, import_timm

VIEWS = 480
ROWS = 40000  # positions that a least-squares fit sees
RIDGE = 1e-3  # of the mean variance of its inputs


def rows_of(maps, chosen):
    """Return the channels of maps (n, C, H, W) at the chosen positions, shape (rows, C)."""
    return maps.permute(0, 2, 3, 1).reshape(-1, maps.shape[1])[chosen]


def choose_rows(maps, rng):
    """Return positions of maps (n, C, H, W), at most `ROWS` of them."""
    n = maps.shape[0] * maps.shape[2] * maps.shape[3]
    return torch.from_numpy(rng.permutation(n)[:ROWS])


def least_squares(inputs, targets):
    """Return weight (C_out, C_in) and bias of the ridge regression of targets on inputs, both (rows, C)."""
    x_mean, y_mean = inputs.mean(0), targets.mean(0)
    x, y = inputs - x_mean, targets - y_mean
    gram = x.T @ x
    gram += RIDGE * gram.diagonal().mean() * torch.eye(len(gram))
    weight = torch.linalg.solve(gram, x.T @ y).T
    return weight, y_mean - weight @ x_mean


def set_affine(conv, norm, weight, bias, inputs):
    """Let a 1 x 1 convolution and its batch norm compute an affine map, in training mode as in evaluation mode."""
    out = inputs @ weight.T
    mean, variance = out.mean(0), out.var(0)
    conv.weight.copy_(weight[:, :, None, None])
    norm.running_mean.copy_(mean)
    norm.running_var.copy_(variance)
    norm.weight.copy_((variance + norm.eps).sqrt())
    norm.bias.copy_(bias + mean)


def copy_channels(own, own_norm, other, other_norm, kept, inputs):
    """Copy the `kept` filters of a convolution; the batch norm keeps its function on the statistics of `inputs`."""
    own.weight.copy_(other.weight[kept])
    out = own(inputs)
    mean, variance = out.mean((0, 2, 3)), out.var((0, 2, 3))
    gain = other_norm.weight[kept] / (other_norm.running_var[kept] + other_norm.eps).sqrt()
    own_norm.running_mean.copy_(mean)
    own_norm.running_var.copy_(variance)
    own_norm.weight.copy_(gain * (variance + own_norm.eps).sqrt())
    own_norm.bias.copy_(other_norm.bias[kept] + gain * (mean - other_norm.running_mean[kept]))


def principal_axes(streams, n_kept):
    """Return the axes (C, n_kept) of the largest variance of several maps of one stage."""
    rows = torch.cat([m.permute(0, 2, 3, 1).reshape(-1, m.shape[1]) for m in streams])
    return torch.linalg.eigh(torch.cov(rows.T))[1][:, -n_kept:]


def strongest(hidden, weight, axes, n_kept):
    """Return the hidden channels that move the projected output of a block most."""
    reach = (axes.T @ weight.flatten(1)).norm(dim=0)
    return torch.topk(hidden.std((0, 2, 3)) * reach, n_kept).indices.sort().values


def folded(conv, norm):
    """Return the weight of a 1 x 1 convolution with its batch norm multiplied in, shape (C_out, C_in)."""
    return conv.weight.flatten(1) * (norm.weight / (norm.running_var + norm.eps).sqrt())[:, None]


def before_activation(conv, norm, x):
    """Return a convolution and its batch norm applied to `x`, without the activation that timm puts into the norm."""
    return torch.nn.functional.batch_norm(
        conv(x), norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps
    )


def shrink_block(own, other, z, x, axes, rng):
    """Fit one inverted residual; returns what student and teacher hand on.

    Parameters
    ----------
    own, other : module
        Block of the student and of the teacher.
    z, x : Tensor
        What enters them.
    axes : Tensor of shape (C, n_kept)
        Principal axes of the teacher's stream in this stage.
    rng : numpy.random.Generator
        Source of the positions.
    """
    hidden = other.bn2(other.conv_dw(other.bn1(other.conv_pw(x))))
    kept = strongest(hidden, folded(other.conv_pwl, other.bn3), axes, own.conv_dw.weight.shape[0])
    chosen = choose_rows(z, rng)
    inputs = rows_of(z, chosen)
    wanted = rows_of(before_activation(other.conv_pw, other.bn1, x)[:, kept], chosen)
    set_affine(own.conv_pw, own.bn1, *least_squares(inputs, wanted), inputs)
    opened = own.bn1(own.conv_pw(z))
    copy_channels(own.conv_dw, own.bn2, other.conv_dw, other.bn2, kept, opened)
    mine = own.bn2(own.conv_dw(opened))
    return fit_projection(own, own.conv_pwl, own.bn3, mine, z, other(x), axes, rng)


def shrink_first(own, other, z, x, kept, axes, rng):
    """Fit the first block, which has no expansion: its hidden channels are those `kept` of the stem."""
    copy_channels(own.conv_dw, own.bn1, other.conv_dw, other.bn1, kept, z)
    mine = own.bn1(own.conv_dw(z))
    return fit_projection(own, own.conv_pw, own.bn2, mine, z, other(x), axes, rng)


def fit_projection(own, conv, norm, mine, z, taught, axes, rng):
    """Fit the last convolution of a block to the teacher's projected output; returns what both hand on."""
    wanted = torch.einsum("nchw,ck->nkhw", taught, axes)
    if getattr(own, "has_skip", False):
        wanted = wanted - z
    chosen = choose_rows(mine, rng)
    inputs = rows_of(mine, chosen)
    set_affine(conv, norm, *least_squares(inputs, rows_of(wanted, chosen)), inputs)
    return own(z), taught


def shrink(student, teacher, pixels, rng):
    """Fit all layers of the student, first to last."""
    x = teacher.bn1(teacher.conv_stem(pixels))
    first = teacher.blocks[0][0]
    n_first = student.conv_stem.weight.shape[0]
    reach = folded(first.conv_pw, first.bn2)
    kept = strongest(first.bn1(first.conv_dw(x)), reach, torch.eye(len(reach)), n_first)
    copy_channels(student.conv_stem, student.bn1, teacher.conv_stem, teacher.bn1, kept, pixels)
    z = student.bn1(student.conv_stem(pixels))
    for number, (own_stage, other_stage) in enumerate(zip(student.blocks, teacher.blocks, strict=True)):
        streams, flow = [], x
        for other in other_stage:
            flow = other(flow)
            streams.append(flow)
        last = own_stage[-1]
        width = (last.conv_pwl if hasattr(last, "conv_pwl") else last.conv_pw).weight.shape[0]
        axes = principal_axes(streams, width)
        for position, (own, other) in enumerate(zip(own_stage, other_stage, strict=True)):
            if number == 0 and position == 0:
                z, x = shrink_first(own, other, z, x, kept, axes, rng)
            else:
                z, x = shrink_block(own, other, z, x, axes, rng)
    pre = before_activation(teacher.conv_head, teacher.bn2, x)
    chosen = choose_rows(z, rng)
    inputs = rows_of(z, chosen)
    set_affine(student.conv_head, student.bn2, *least_squares(inputs, rows_of(pre, chosen)), inputs)


def main():
    """Halve the teacher and store the student's first weights."""
    torch.set_num_threads(1)
    timm = import_timm()
    teacher = timm.create_model(f"local-dir:{WEIGHTS / TEACHER}", pretrained=True, num_classes=0).eval()
    torch.manual_seed(0)
    student = timm.create_model(ARCHITECTURE, num_classes=0).eval()
    rng = np.random.default_rng(0)
    chunks = sorted(WORK.glob("views_*.npy"))
    views = np.concatenate([np.load(path, mmap_mode="r")[:: 4000 * len(chunks) // VIEWS] for path in chunks])
    slack = (views.shape[1] - INPUT_SIZE) // 2
    views = views[:, slack : slack + INPUT_SIZE, slack : slack + INPUT_SIZE]
    pixels = torch.from_numpy(np.ascontiguousarray(views)).permute(0, 3, 1, 2).float().div(127.5).sub(1)
    with torch.inference_mode():
        shrink(student, teacher, pixels, rng)
        cosine = torch.nn.functional.cosine_similarity(student(pixels), teacher(pixels)).mean()
    torch.save(student.state_dict(), WORK / "initial.pt")
    print(f"cosine of student and teacher features on the views of the fit: {float(cosine):.3f}")


if __name__ == "__main__":
    main()
