"""The workloads of `benches/peers/workloads.rs` in PyTorch and Keras, under the same names.

`python workloads.py torch|jax|tensorflow` reads lines from standard input, a name, a tab and the seconds to spend on it,
and answers a line for each variant of the workload: name, median seconds, variant; an empty line ends the answer.

A workload is one function that yields variants: a name, and a function that does the workload once and returns the
seconds that count. A variant in brackets does less work than `wengert` does and is shown, but not compared.

`python workloads.py torch|jax|tensorflow --memory NAME I` takes some steps of the workload's variant number I, and answers
with the largest resident size of the process in bytes instead of the seconds; no line when there is no such variant.
"""

import copy
import gzip
import itertools
import os
import pathlib
import re
import statistics
import sys
import time

LIBRARY = sys.argv[1] if len(sys.argv) > 1 else "torch"
THREADS = int(os.environ.get("OMP_NUM_THREADS", "2"))
LONGEST, REPEATS, STEPS, FAR = 5.0, 20, 12, 1.3
WORKLOADS = {}
ONCE = {"mnist epoch"}


def workload(pattern):
    """Registers a function for the names that match; it is called with the numbers in the name."""

    def register(function):
        WORKLOADS[re.compile(pattern)] = function
        return function

    return register


def timed(function, repeats=1):
    """The seconds that a repeat takes, when the function does so many."""

    def run():
        start = time.perf_counter()
        result = function()
        seconds = (time.perf_counter() - start) / repeats
        del result
        return seconds

    return run


def released(function):
    """The seconds of the function and of giving its result back."""
    return timed(lambda: (function(), None)[1])


def mnist(directory):
    """The training images, `[60000, 28, 28]` in [0, 1], and their labels, from the IDX files."""
    import numpy

    def read(name, header):
        path = pathlib.Path(directory) / name
        packed = path.with_name(name + ".gz")
        data = gzip.decompress(packed.read_bytes()) if packed.exists() else path.read_bytes()
        return numpy.frombuffer(data, numpy.uint8, offset=header)

    images = read("train-images-idx3-ubyte", 16).reshape(-1, 28, 28)
    return images.astype(numpy.float32) / numpy.float32(255), read("train-labels-idx1-ubyte", 8).astype(numpy.int64)


def texts():
    """32 texts of 64 letters, and the letters that follow."""
    import numpy

    i = numpy.arange(64 * 32).reshape(64, 32).T
    return (i * i + 7 * i) % 65, (i * i + 7 * (i + 1)) % 65


def define_torch():
    import everyday
    import torch
    from torch import nn
    from torch.nn import functional as F

    torch.set_num_threads(THREADS)

    def mnist_cnn():
        return nn.Sequential(
            nn.Conv2d(1, 32, 3), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(64, 64, 3), nn.ReLU(),
            nn.Flatten(), nn.Linear(576, 64), nn.ReLU(), nn.Linear(64, 10),
        )

    def mlp():
        return nn.Sequential(nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10))

    def classes(n):
        return torch.arange(n) % 10

    def adam(net, **options):
        return torch.optim.Adam(net.parameters(), lr=1e-3, **options)

    def training_step(net, loss_of, make_optimizer, compiled=False):
        """Clears the gradients, forward, loss, backward, update. `loss_of(net)` gives the loss."""
        optimizer = make_optimizer(net)
        forward = torch.compile(lambda: loss_of(net)) if compiled else lambda: loss_of(net)

        def step():
            optimizer.zero_grad(set_to_none=True)
            loss = forward()
            loss.backward()
            optimizer.step()
            return loss.item()

        return step

    def training(make, loss_of, make_optimizer=adam, images=None):
        """The variants of a training step; `loss_of(net, *data)`. With `images`, channels-last ones too."""
        data = images if images is not None else ()
        yield "eager, foreach", timed(training_step(make(), lambda net: loss_of(net, *data), lambda n: make_optimizer(n, foreach=True)))
        fused = lambda net: make_optimizer(net, fused=True)
        yield "eager, fused", timed(training_step(make(), lambda net: loss_of(net, *data), fused))
        yield "compiled, fused", timed(training_step(make(), lambda net: loss_of(net, *data), fused, True))
        if data and data[0].dim() == 4:
            last = (data[0].to(memory_format=torch.channels_last), *data[1:])
            of_last = lambda net: loss_of(net, *last)
            to_last = lambda: make().to(memory_format=torch.channels_last)
            yield "channels last, fused", timed(training_step(to_last(), of_last, fused))
            yield "compiled, channels last, fused", timed(training_step(to_last(), of_last, fused, True))

    def classified(net, x, y):
        return F.cross_entropy(net(x), y)

    @workload("mnist_cnn")
    def _():
        return training(mnist_cnn, classified, images=(torch.rand(64, 1, 28, 28), classes(64)))

    @workload("mlp")
    def _():
        return training(mlp, classified, images=(torch.rand(64, 784), classes(64)))

    class Reader(nn.Module):
        def __init__(self, recurrent, batch_first):
            super().__init__()
            self.letters = nn.Embedding(65, 128)
            self.recurrent = recurrent(128, 256, batch_first=batch_first)
            self.next = nn.Linear(256, 65)

        def forward(self, x):
            return self.next(self.recurrent(self.letters(x))[0])

    @workload("(lstm|gru)_lm")
    def _(cell):
        recurrent = {"lstm": nn.LSTM, "gru": nn.GRU}[cell]
        letters, following = (torch.from_numpy(text).T.contiguous() for text in texts())

        def loss_of(net, x, y):
            return F.cross_entropy(net(x).flatten(0, 1), y.flatten())

        yield from training(lambda: Reader(recurrent, False), loss_of, images=(letters, following))
        net = Reader(recurrent, True)
        of_texts = lambda net: loss_of(net, letters.T.contiguous(), following.T.contiguous())
        yield "batch first, fused", timed(training_step(net, of_texts, lambda net: adam(net, fused=True)))

    class Generator(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(100, 7 * 7 * 128)
            self.up = nn.Sequential(
                nn.ReLU(), nn.ConvTranspose2d(128, 64, 4, 2, 1), nn.ReLU(), nn.ConvTranspose2d(64, 1, 4, 2, 1), nn.Tanh()
            )

        def forward(self, z):
            return self.up(self.fc(z).view(-1, 128, 7, 7))

    def discriminator():
        return nn.Sequential(
            nn.Conv2d(1, 64, 4, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(64, 128, 4, 2, 1), nn.LeakyReLU(0.2),
            nn.Flatten(), nn.Linear(6272, 1),
        )

    def dcgan_step(memory_format=torch.contiguous_format, compiled=False, **options):
        g, d = Generator().to(memory_format=memory_format), discriminator().to(memory_format=memory_format)
        g_optimizer, d_optimizer = (
            torch.optim.Adam(net.parameters(), lr=2e-4, betas=(0.5, 0.999), **options) for net in (g, d)
        )
        make, judge = (torch.compile(g), torch.compile(d)) if compiled else (g, d)
        real, z = (torch.rand(64, 1, 28, 28) * 2 - 1).to(memory_format=memory_format), torch.randn(64, 100)
        ones, zeros, bce = torch.ones(64, 1), torch.zeros(64, 1), F.binary_cross_entropy_with_logits
        trained = list(g.parameters())

        def step():
            fake = make(z)
            d_optimizer.zero_grad(set_to_none=True)
            d_loss = bce(judge(real), ones) + bce(judge(fake.detach()), zeros)
            d_loss.backward()
            d_optimizer.step()
            g_optimizer.zero_grad(set_to_none=True)
            g_loss = bce(judge(fake), ones)
            g_loss.backward(inputs=trained)  # none for the discriminator
            g_optimizer.step()
            return d_loss.item(), g_loss.item()

        return step

    @workload("dcgan")
    def _():
        last = torch.channels_last
        yield "eager, foreach", timed(dcgan_step(foreach=True))
        yield "eager, fused", timed(dcgan_step(fused=True))
        yield "channels last, fused", timed(dcgan_step(last, fused=True))
        yield "compiled, fused", timed(dcgan_step(compiled=True, fused=True))
        yield "compiled, channels last, fused", timed(dcgan_step(last, compiled=True, fused=True))

    class GptBlock(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm1, self.norm2 = nn.LayerNorm(128), nn.LayerNorm(128)
            self.qkv, self.out = nn.Linear(128, 3 * 128), nn.Linear(128, 128)
            self.fc1, self.fc2 = nn.Linear(128, 512), nn.Linear(512, 128)

        def forward(self, x):
            batch, length, width = x.shape
            q, k, v = (
                part.view(batch, length, 4, width // 4).transpose(1, 2) for part in self.qkv(self.norm1(x)).split(width, 2)
            )
            heads = F.scaled_dot_product_attention(q, k, v, is_causal=True)
            x = x + self.out(heads.transpose(1, 2).reshape(batch, length, width))
            return x + self.fc2(F.gelu(self.fc1(self.norm2(x))))

    class Gpt(nn.Module):
        def __init__(self):
            super().__init__()
            self.tokens, self.positions = nn.Embedding(65, 128), nn.Embedding(64, 128)
            self.blocks = nn.Sequential(*(GptBlock() for _ in range(4)))
            self.norm, self.head = nn.LayerNorm(128), nn.Linear(128, 65)

        def forward(self, characters):
            return self.head(self.norm(self.blocks(self.tokens(characters) + self.positions.weight)))

    @workload("gpt")
    def _():
        x = torch.arange(12 * 64) * 7 % 65
        y = (torch.arange(12 * 64) + 1) * 7 % 65
        adamw = lambda net, **options: torch.optim.AdamW(net.parameters(), lr=1e-3, weight_decay=0.01, **options)
        loss_of = lambda net, x, y: F.cross_entropy(net(x).view(-1, 65), y)
        return training(Gpt, loss_of, adamw, (x.view(12, 64), y))

    class BasicBlock(nn.Module):
        def __init__(self, inputs, outputs, stride):
            super().__init__()
            self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
            self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
            self.bn1, self.bn2 = nn.BatchNorm2d(outputs), nn.BatchNorm2d(outputs)
            self.downsample = nn.Identity()
            if stride != 1 or inputs != outputs:
                shortcut = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
                self.downsample = nn.Sequential(shortcut, nn.BatchNorm2d(outputs))

        def forward(self, x):
            y = F.relu(self.bn1(self.conv1(x)), inplace=True)
            return F.relu(self.bn2(self.conv2(y)) + self.downsample(x), inplace=True)

    def resnet18_cifar():
        stages = [(64, 64, 1), (64, 128, 2), (128, 256, 2), (256, 512, 2)]
        blocks = [BasicBlock(*sizes) for i, o, s in stages for sizes in ((i, o, s), (o, o, 1))]
        stem = nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64), nn.ReLU(inplace=True)
        return nn.Sequential(*stem, *blocks, nn.AvgPool2d(4), nn.Flatten(), nn.Linear(512, 10))

    @workload("resnet18_cifar")
    def _():
        sgd = lambda net, **options: torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9, **options)
        return training(resnet18_cifar, classified, sgd, (torch.rand(32, 3, 32, 32), classes(32)))

    @workload(r"infer (\d+)")
    def _(batch):
        x = torch.rand(batch, 1, 28, 28)

        def inference(forward):
            def run():
                with torch.inference_mode():
                    return forward(x)

            return released(run)

        yield "eager", inference(mnist_cnn().eval())
        yield "channels last", inference(mnist_cnn().eval().to(memory_format=torch.channels_last))
        traced = torch.jit.optimize_for_inference(torch.jit.trace(mnist_cnn().eval(), x))
        yield "traced, frozen", inference(traced)
        import torch._inductor.config as inductor

        def frozen(net):
            inductor.freezing = True
            try:
                with torch.no_grad():
                    forward = torch.compile(net)
                    forward(x)
            finally:
                inductor.freezing = False

            def run():
                with torch.no_grad():
                    return forward(x)

            return released(run)

        yield "compiled, frozen", frozen(mnist_cnn().eval())

    def small_inference(net, *inputs, images=False):
        def run(net, *inputs):
            def call():
                with torch.inference_mode():
                    return net(*inputs)

            return released(call)

        net = net.eval()
        yield "eager", run(net, *inputs)
        if images:
            by_pixels = inputs[0].to(memory_format=torch.channels_last)
            yield "channels last", run(copy.deepcopy(net).to(memory_format=torch.channels_last), by_pixels)
        with torch.no_grad():
            yield "traced, frozen", run(torch.jit.optimize_for_inference(torch.jit.trace(net, inputs)), *inputs)

    @workload(r"infer linear (\d+)x1024x1024")
    def _(rows):
        return small_inference(nn.Linear(1024, 1024), torch.randn(rows, 1024))

    @workload("infer lstm 1x1x128x256")
    def _():
        state = torch.zeros(1, 1, 256), torch.zeros(1, 1, 256)
        return small_inference(nn.LSTM(128, 256), torch.randn(1, 1, 128), state)

    @workload("infer conv2d 1x512x4x4")
    def _():
        return small_inference(nn.Conv2d(512, 512, 3, padding=1), torch.randn(1, 512, 4, 4), images=True)

    @workload("mnist epoch")
    def _():
        def epoch(last, compiled):
            def run():
                images, labels = mnist(os.environ["WENGERT_MNIST"])
                x, y = torch.from_numpy(images).unsqueeze(1), torch.from_numpy(labels)
                net = mnist_cnn()
                if last:
                    net = net.to(memory_format=torch.channels_last)
                    x = x.to(memory_format=torch.channels_last)
                optimizer = adam(net, fused=True)
                forward = torch.compile(net, dynamic=False) if compiled else net
                seen, hits, losses = 0, 0, 0.0
                order = torch.randperm(len(x))
                for step, indices in enumerate(order.split(64)):
                    images, labels = x[indices], y[indices]
                    optimizer.zero_grad(set_to_none=True)
                    logits = forward(images)
                    loss = F.cross_entropy(logits, labels)
                    loss.backward()
                    optimizer.step()
                    seen += len(labels)
                    losses += loss.item() * len(labels)
                    hits += (logits.argmax(1) == labels).sum().item()
                    if step % 100 == 0:
                        print(f"{seen} samples, loss {losses / seen:.4f}, accuracy {hits / seen:.4f}", file=sys.stderr)

            return timed(run)

        yield "eager, fused", epoch(False, False)
        yield "channels last, fused", epoch(True, False)

    @workload(r"sgemm (\d+)x(\d+)x(\d+)")
    def _(m, k, n):
        a, b, out = torch.randn(m, k), torch.randn(k, n), torch.empty(m, n)
        yield "new tensor", released(lambda: a @ b)
        yield "out=", timed(lambda: torch.mm(a, b, out=out))

    @workload(r"conv2d (\d+)x(\d+)x(\d+)x(\d+) forward(, backward)?")
    def _(batch, channels, height, width, backward):
        padding, filters = (1, 64) if channels > 1 else (0, 32)
        for variant, memory_format in [("eager", torch.contiguous_format), ("channels last", torch.channels_last)]:
            x = torch.randn(batch, channels, height, width).to(memory_format=memory_format)
            net = nn.Conv2d(channels, filters, 3, padding=padding).to(memory_format=memory_format)
            if not backward:
                def run(net=net, x=x):
                    with torch.inference_mode():
                        return net(x)
            else:
                x.requires_grad_(channels > 1)
                leaves = [net.weight, net.bias] + ([x] if channels > 1 else [])
                grad = torch.randn_like(net(x))

                def run(net=net, x=x, leaves=leaves, grad=grad):
                    return torch.autograd.grad(net(x), leaves, grad)

            yield variant, released(run)

    def square():
        return torch.randn(4096, 4096)

    def unary(name, shape, function, in_place=None):
        @workload(re.escape(name))
        def _():
            x = torch.randn(*shape)
            yield "new tensor", released(lambda: function(x))
            if in_place:
                out = torch.empty_like(x)
                yield "(existing tensor)", timed(lambda: in_place(x, out))
            compiled = torch.compile(function)
            yield "compiled, new tensor", released(lambda: compiled(x))

    unary("exp 4096x4096", (4096, 4096), torch.exp, lambda x, out: torch.exp(x, out=out))
    unary("tanh 4096x4096", (4096, 4096), torch.tanh, lambda x, out: torch.tanh(x, out=out))
    unary("gelu 4096x4096", (4096, 4096), F.gelu, lambda x, out: torch.ops.aten.gelu.out(x, out=out))
    unary("softmax 4096x1024", (4096, 1024), lambda x: F.softmax(x, 1))
    unary("layer_norm 4096x768", (4096, 768), nn.LayerNorm(768).requires_grad_(False))
    unary("sum axis 0 4096x4096", (4096, 4096), lambda x: x.sum(0))
    unary("sum axis 1 4096x4096", (4096, 4096), lambda x: x.sum(1))
    unary("transposed copy 4096x4096", (4096, 4096), lambda x: x.t().contiguous(), lambda x, out: out.copy_(x.t()))

    def binary(name, transposed):
        @workload(name)
        def _():
            a, b, out = square(), square(), torch.empty(4096, 4096)
            b = b.t() if transposed else b
            yield "new tensor", released(lambda: a + b)
            yield "(existing tensor)", timed(lambda: torch.add(a, b, out=out))

    binary("add 4096x4096", False)
    binary("add transposed 4096x4096", True)

    def chain(x, length=100):
        for _ in range(length):
            x = torch.relu(x)
        return x

    @workload("op on 16 forward")
    def _():
        x = torch.randn(16, requires_grad=True)
        yield "eager", timed(lambda: chain(x), 100)

    @workload("op on 16 backward")
    def _():
        x, grad = torch.randn(16, requires_grad=True), torch.ones(16)

        def run():
            y = chain(x)
            start = time.perf_counter()
            torch.autograd.grad(y, x, grad)
            del y
            return (time.perf_counter() - start) / 100

        yield "eager", run

    @workload("everyday (.+)")
    def _(name):
        return ((layout, released(run)) for layout, run in everyday.variants(name))


def define_keras(backend):
    os.environ["KERAS_BACKEND"] = backend
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if backend == "tensorflow":
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(THREADS)
        tf.config.threading.set_inter_op_parallelism_threads(THREADS)
    import keras
    import numpy
    from keras import layers

    def mnist_cnn():
        return keras.Sequential([
            keras.Input((28, 28, 1)),
            layers.Conv2D(32, 3, activation="relu"), layers.MaxPooling2D(),
            layers.Conv2D(64, 3, activation="relu"), layers.MaxPooling2D(),
            layers.Conv2D(64, 3, activation="relu"),
            layers.Flatten(), layers.Dense(64, activation="relu"), layers.Dense(10),
        ])

    def mlp():
        return keras.Sequential([
            keras.Input((784,)), layers.Dense(512, activation="relu"), layers.Dense(512, activation="relu"),
            layers.Dense(10),
        ])

    def compiled(net, jit, **options):
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        net.compile(optimizer=keras.optimizers.Adam(1e-3), loss=loss, jit_compile=jit, **options)
        return net

    # JAX has no other way than its compiler.
    ways = [("XLA", True)] if backend == "jax" else [("graph", False), ("XLA", True)]

    def training(make, *shape):
        return training_on(make, numpy.random.rand(*shape).astype("float32"), numpy.arange(shape[0]) % 10)

    def training_on(make, x, y):
        for way, jit in ways:
            net = compiled(make(), jit)
            yield f"{backend}, {way}, train_on_batch", timed(lambda net=net: net.train_on_batch(x, y))
            many, labels = numpy.concatenate([x] * 32), numpy.concatenate([y] * 32)
            net = compiled(make(), jit, steps_per_execution=32)
            fit = lambda net=net: net.fit(many, labels, batch_size=len(x), shuffle=False, verbose=0)
            yield f"{backend}, {way}, fit, 32 steps per execution", timed(fit, 32)

    @workload("mnist_cnn")
    def _():
        return training(mnist_cnn, 64, 28, 28, 1)

    @workload("mlp")
    def _():
        return training(mlp, 64, 784)

    @workload("(lstm|gru)_lm")
    def _(cell):
        recurrent = {"lstm": layers.LSTM, "gru": layers.GRU}[cell]

        def reader():
            parts = [layers.Embedding(65, 128), recurrent(256, return_sequences=True), layers.Dense(65)]
            return keras.Sequential([keras.Input((64,), dtype="int32"), *parts])

        return training_on(reader, *texts())

    @workload(r"infer (\d+)")
    def _(batch):
        x = numpy.random.rand(batch, 28, 28, 1).astype("float32")
        for way, jit in ways:
            net = compiled(mnist_cnn(), jit)
            yield f"{backend}, {way}, predict_on_batch", timed(lambda net=net: net.predict_on_batch(x))
            net = mnist_cnn()
            if backend == "jax":
                import jax

                parameters = [v.value for v in net.trainable_variables], [v.value for v in net.non_trainable_variables]
                function = jax.jit(lambda x: net.stateless_call(*parameters, x, training=False)[0])
                on_device = jax.numpy.asarray(x)
                yield f"{backend}, jit", timed(lambda: function(on_device).block_until_ready())
            else:
                function = tf.function(lambda x, net=net: net(x, training=False), jit_compile=jit)
                on_device = tf.constant(x)
                yield f"{backend}, {way}, tf.function", timed(lambda function=function: function(on_device).numpy())

    @workload("mnist epoch")
    def _():
        def epoch(jit, **options):
            def run():
                images, labels = mnist(os.environ["WENGERT_MNIST"])
                net = compiled(mnist_cnn(), jit, metrics=["accuracy"], **options)
                net.fit(images[..., None], labels, batch_size=64, shuffle=True, verbose=2)

            return timed(run)

        # XLA's convolutions are many times slower on a processor: minutes for an epoch.
        if backend == "tensorflow":
            yield f"{backend}, graph, fit", epoch(False, steps_per_execution=16)


def variants(name):
    """The variants of a workload; those that cannot be prepared are left out."""
    found = []
    for pattern, function in WORKLOADS.items():
        if match := pattern.fullmatch(name):
            try:
                for variant, run in function(*(int(g) if g and g.isdigit() else g for g in match.groups())):
                    try:
                        if name not in ONCE:
                            run()  # the first call compiles
                        found.append((variant, run))
                    except Exception as error:
                        complain(name, variant, error)
            except Exception as error:
                complain(name, "preparation", error)
    return found


def peak_memory(name, index):
    """Name, bytes and variant in a line, or none. What comes before the variant is made, but makes no step."""
    for pattern, function in WORKLOADS.items():
        if match := pattern.fullmatch(name):
            # A compiler in the process takes more than any network, and so do the batches of 32 steps.
            lean = (v for v in function(*match.groups()) if "compiled" not in v[0] and "steps per execution" not in v[0])
            for variant, run in itertools.islice(lean, index, index + 1):
                for _ in range(STEPS):
                    run()
                if (status := pathlib.Path("/proc/self/status")).exists():
                    kibibytes = re.search(r"VmHWM:\s+(\d+) kB", status.read_text())[1]
                    return f"{name}\t{1024 * int(kibibytes)}\t{variant}\n"
    return ""


def complain(name, variant, error):
    print(f"{LIBRARY}: {name}: {variant}: {type(error).__name__}: {str(error)[:500]}", file=sys.stderr)


def median(run, seconds):
    """The median of at least 20 repeats, for at least `seconds` and at most 5 s, after a warm-up."""
    start = time.perf_counter()
    for _ in range(5):
        run()
        if time.perf_counter() - start > seconds:
            break
    start, times = time.perf_counter(), []
    while (spent := time.perf_counter() - start) < LONGEST and (len(times) < REPEATS or spent < seconds):
        times.append(run())
    return statistics.median(times)


def main():
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what the libraries print is no answer
    define_torch() if LIBRARY == "torch" else define_keras(LIBRARY)
    if "--memory" in sys.argv:
        answers.write(peak_memory(sys.argv[3], int(sys.argv[4])))
        answers.close()
        return
    ready = {}
    for line in sys.stdin:
        name, seconds = line.rstrip("\n").split("\t")
        if name not in ready:
            ready[name] = variants(name)
        results = [run() if name in ONCE else median(run, float(seconds)) for _, run in ready[name]]
        for (variant, _), result in zip(ready[name], results):
            answers.write(f"{name}\t{result:e}\t{variant}\n")
        # What is far from being the best is not measured again.
        best = min((r for (variant, _), r in zip(ready[name], results) if variant[0] != "("), default=0)
        ready[name] = [v for v, result in zip(ready[name], results) if result < FAR * best or v[0][0] == "("]
        answers.write("\n")
        answers.flush()


if __name__ == "__main__":
    main()
