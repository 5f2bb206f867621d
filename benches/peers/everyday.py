"""Operations of everyday in PyTorch, under the names of everyday.rs."""

import torch
from torch import nn
from torch.nn import functional as F

# Name: the function, what prepares each of its operands, and whether they may lie channels last.
OPERATIONS = {}


def add(name, function, *operands, images=False):
    OPERATIONS[name] = (function, operands, images)


def tensor(*shape):
    return lambda: torch.randn(*shape)


def indices(shape, end):
    """Whole numbers below `end`, in no order, of every 2048 others."""
    i = torch.arange(torch.Size(shape).numel())
    return lambda: ((i * 7919 + i // 2048 * 31) % end).view(shape)


def step(net):
    """The layer's output and the gradients of its parameters and of its input."""

    def function(x, grad):
        x.requires_grad_(True)
        return torch.autograd.grad(net(x), [x, *net.parameters()], grad)

    return function


matrix, images = tensor(1024, 2048), tensor(32, 64, 28, 28)
positive, mask = lambda: matrix().abs(), lambda: matrix() > matrix()

add("sum", lambda a: a.sum(), matrix)
add("sum axis 0", lambda a: a.sum(0), matrix)
add("sum axis 1", lambda a: a.sum(1), matrix)
add("sum of transposed", lambda a: a.t().sum(), matrix)
add("sum over images", lambda x: x.sum((0, 2, 3)), images, images=True)
add("sum over channels", lambda x: x.sum(1), images, images=True)
add("mean over pixels", lambda x: x.mean((2, 3)), images, images=True)
add("amax axis 0", lambda a: a.amax(0), matrix)
add("amax axis 1", lambda a: a.amax(1), matrix)
add("argmax axis 0", lambda a: a.argmax(0), matrix)
add("argmax axis 1", lambda a: a.argmax(1), matrix)
add("var axis 0", lambda a: a.var(0), matrix)
add("var axis 1", lambda a: a.var(1), matrix)
add("norm", lambda a: a.norm(), matrix)
add("logsumexp axis 1", lambda a: a.logsumexp(1), matrix)
add("softmax axis 0", lambda a: a.softmax(0), matrix)
add("softmax axis 1", lambda a: a.softmax(1), matrix)
add("log_softmax axis 1", lambda a: a.log_softmax(1), matrix)
add("softmax over channels", lambda x: x.softmax(1), images, images=True)
add("cat axis 0", lambda a, b: torch.cat([a, b], 0), matrix, matrix)
add("cat axis 1", lambda a, b: torch.cat([a, b], 1), matrix, matrix)
add("stack axis 2", lambda a, b: torch.stack([a, b], 2), matrix, matrix)
add("index_select axis 0", lambda a, i: a.index_select(0, i), matrix, indices([1024], 1024))
add("index_select axis 1", lambda a, i: a.index_select(1, i), matrix, indices([1024], 1024))
add("gather axis 0", lambda a, i: a.gather(0, i), matrix, indices([1024, 2048], 1024))
add("gather axis 1", lambda a, i: a.gather(1, i), matrix, indices([1024, 2048], 2048))
add("scatter_add axis 0", lambda a, b, i: a.scatter_add(0, i, b), matrix, matrix, indices([1024, 2048], 1024))
add("scatter_add axis 1", lambda a, b, i: a.scatter_add(1, i, b), matrix, matrix, indices([1024, 2048], 2048))
add("masked_fill", lambda a, m: a.masked_fill(m, 0.0), matrix, mask)
add("where", lambda a, b, m: torch.where(m, a, b), matrix, matrix, mask)
add("gt", lambda a, b: a > b, matrix, matrix)
add("logical_and", lambda m, n: m.logical_and(n), mask, mask)
add("cast to i64", lambda a: a.long(), matrix)
add("cast of a mask", lambda m: m.float(), mask)
add("tril", lambda a: a.tril(), matrix)
add("abs", lambda a: a.abs(), matrix)
add("relu", lambda a: a.relu(), matrix)
add("leaky_relu", lambda a: F.leaky_relu(a, 0.1), matrix)
add("sqrt", lambda a: a.sqrt(), positive)
add("sigmoid", lambda a: a.sigmoid(), matrix)
add("silu", lambda a: F.silu(a), matrix)
add("elu", lambda a: F.elu(a), matrix)
add("softplus", lambda a: F.softplus(a), matrix)
add("log", lambda a: a.log(), positive)
add("sin", lambda a: a.sin(), matrix)
add("erf", lambda a: a.erf(), matrix)
add("pow 3", lambda a: a.pow(3.0), matrix)
add("div", lambda a, b: a / b, matrix, matrix)
add("mul by a scalar", lambda a: a * 2.0, matrix)
add("add a row", lambda a, b: a + b, matrix, tensor(2048))
add("add a column", lambda a, b: a + b, matrix, tensor(1024, 1))
add("mul by channel", lambda x, b: x * b, images, tensor(1, 64, 1, 1), images=True)
add("copy every second column", lambda a: a[:, ::2].contiguous(), matrix)
add("copy of 1000 columns", lambda a: a.narrow(1, 3, 1000).contiguous(), matrix)
add("permute 0, 2, 3, 1", lambda x: x.permute(0, 2, 3, 1).contiguous(), images)
add("permute 1, 0, 2, 3", lambda x: x.permute(1, 0, 2, 3).contiguous(), images)
add("zeros", lambda: torch.zeros(1024, 2048))
add("rand", lambda: torch.rand(1024, 2048))
add("randn", lambda: torch.randn(1024, 2048))
add("dropout", lambda a: F.dropout(a, 0.5, True), matrix)
add("embedding", lambda w, i: F.embedding(i, w), tensor(50000, 128), indices([8192], 50000))
add("matmul by a vector", lambda a, b: a @ b, matrix, tensor(2048))
add("matmul of 64, 128 x 64 x 128", lambda a, b: a @ b, tensor(64, 128, 64), tensor(64, 64, 128))
add("matmul of 8192, 8 x 8 x 8", lambda a, b: a @ b, tensor(8192, 8, 8), tensor(8192, 8, 8))
add("max_pool2d 2", lambda x: F.max_pool2d(x, 2), images, images=True)
add("max_pool2d 3, stride 2", lambda x: F.max_pool2d(x, 3, 2, 1), images, images=True)
add("max_pool2d 3, stride 2, backward", step(nn.MaxPool2d(3, 2, 1)), images, tensor(32, 64, 14, 14), images=True)
add("avg_pool2d 2", lambda x: F.avg_pool2d(x, 2), images, images=True)


def conv2d(name, weight, x=images, **options):
    add(f"conv2d {name}", lambda x, w: F.conv2d(x, w, **options), x, tensor(*weight), images=True)


conv2d("1x1", (128, 64, 1, 1))
conv2d("3x3, stride 2", (128, 64, 3, 3), stride=2, padding=1)
conv2d("3x3, dilation 2", (128, 64, 3, 3), padding=2, dilation=2)
conv2d("5x5", (64, 64, 5, 5), padding=2)
conv2d("7x7, stride 2, 3 channels", (64, 3, 7, 7), tensor(8, 3, 224, 224), stride=2, padding=3)
conv2d("3x3, 4 groups", (64, 16, 3, 3), padding=1, groups=4)
conv2d("3x3, depthwise", (64, 1, 3, 3), padding=1, groups=64)
add("conv1d 5", lambda x, w: F.conv1d(x, w, padding=2), tensor(32, 64, 512), tensor(64, 64, 5))
add(
    "conv_transpose2d 4x4, stride 2", lambda x, w: F.conv_transpose2d(x, w, stride=2, padding=1),
    images, tensor(64, 32, 4, 4), images=True,
)
add("group_norm 8", nn.GroupNorm(8, 64).requires_grad_(False), images, images=True)
add("group_norm 8, backward", step(nn.GroupNorm(8, 64)), images, images, images=True)
add("batch_norm, backward", step(nn.BatchNorm2d(64)), images, images, images=True)
add("conv2d 3x3, depthwise, backward", step(nn.Conv2d(64, 64, 3, padding=1, groups=64)), images, images, images=True)


def variants(name):
    """The ways to lay out its operands, each with what runs the operation on them."""
    function, operands, images = OPERATIONS[name]
    for layout, memory_format in [("eager", torch.contiguous_format), ("channels last", torch.channels_last)][: 1 + images]:
        given = [operand() for operand in operands]
        given = [x.contiguous(memory_format=memory_format) if x.dim() == 4 else x for x in given]
        yield layout, lambda given=given: function(*given)
