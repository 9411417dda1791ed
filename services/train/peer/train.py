"""The PyTorch counterpart of Radstream's training step, which `radtrain bench` is measured against.

It is the same model (trainer/onnxexport: the table of weights and the equations) and the same
step (trainer/torch: masked patches, both towers, centred heads, the objective clinvla, the
measures of collapse, backward, clipping, fused AdamW, moving biases), operator by operator, in
eager PyTorch. It needs torch and the standard library. It prints one line of JSON: the seconds of
each step on one synthetic batch or, with --check, the terms of the loss before any update.

A batch (--batch-file) is a JSON object. M images have K tokens each, the CLS token included;
there are B texts. What is marked * may be left out.

    patches      [M, K - CLS, patch * patch] uint8, nested or as base64
    position     [M, K] rows of the position table (a CLS token's is 0)
    valid*       [M, K] false: no token
    view, prior  [M]
    age*         [M] log(1 + days) of a prior, else 0
    image_study  [M] 0 to B-1, ascending, -1 for images at the end that only fill up
    ids          [B, T] tokens, padded
    lengths      [B] of the texts, padding left out
    sentences    [[study, start, end, group*], ...] ids[study][start:end], studies ascending
    text_group*  [B] equal for texts that say the same, as is group for sentences
"""

import argparse
import base64
import contextlib
import json
import math
import struct
import time
import types

import torch
import torch.nn.functional as F

WEIGHTS = {"global": 0.1, "global_nce": 1.0, "local": 0.8 * 0.1, "local_nce": 0.8}  # clinvla, lambda 0.8
ATTENTION_TEMPERATURE = 0.1
START_SCALE, HIGHEST_SCALE, SCALE_RATE = math.log(1 / 0.07), math.log(100), 30.0
TEXT_RATE, ADAPTER_RATE, DECAY, MOMENTUM = 0.2, 0.5, 1e-4, 0.95
IMAGE_STEP, TEXT_STEP = 4, 16  # images and tokens of a text are filled up to multiples of these
HEADS = ("image.global", "image.local", "text.global", "text.local")


def shapes(c):
    """Lists (name, shape, group, deviation, constant) of every weight: onnxexport.Shapes."""
    rows, image, text = [], c["image"], c["text"]

    def add(name, std, *shape, group="base", constant=0):
        rows.append((name, shape, group, std, constant))

    def linear(name, out, inner, group="base"):
        add(name + ".weight", inner**-0.5, out, inner, group=group)
        add(name + ".bias", 0, out, group=group)

    def norm(name, width):
        add(name + ".weight", 0, width, constant=1)
        add(name + ".bias", 0, width)

    def bottleneck(name, group, width, inner):
        add(name + ".down", (2 / width) ** 0.5, inner, width, group=group)
        add(name + ".up", 0, width, inner, group=group)

    def tower(prefix, t):
        h, d = t["width"], c["adapter"]
        for f in "fg" if c["invertible"] else "":
            bottleneck(f"{prefix}.invertible.{f}", "invertible", h // 2, h // 4)
        for i in range(t["layers"]):
            name = f"{prefix}.layers.{i}"
            for part in ("query", "key", "value", "output"):
                linear(f"{name}.attention.{part}", h, h)
            norm(name + ".norm1", h)
            linear(name + ".mlp.up", h * t["mlp_ratio"], h)
            linear(name + ".mlp.down", h, h * t["mlp_ratio"])
            norm(name + ".norm2", h)
            for group in ("language", "task") if d else ():
                bottleneck(f"{name}.{group}", group, h, d)

    h = image["width"]
    linear("image.patch", h, image["patch"] ** 2)
    add("image.position", 0.02, patches_of(image) + image["cls"], h)
    for name, shape in ("cls", (h,)), ("view", (2, h)), ("time", (2, h)), ("days", (h,)):
        if name != "cls" or image["cls"]:
            add("image." + name, 0.02, *shape)
    tower("image", image)
    norm("image.norm", h)
    add("image.pool.query", 3.0, h, group="head")
    h, e = text["width"], text["vocabulary_width"]
    add("text.vocabulary", 0.02, text["vocabulary"], e or h)
    if e:
        add("text.vocabulary_projection", e**-0.5, h, e)
    add("text.position", 0.02, text["max_length"], h)
    norm("text.embedding_norm", h)
    tower("text", text)
    for head in HEADS:
        linear(head, c["joint"], c[head.split(".")[0]]["width"], "head")
    return rows


def patches_of(image):
    return (image["size"] // image["patch"]) ** 2


def read_weights(path):
    """Reads a safetensors file of float32."""
    with open(path, "rb") as f:
        data = bytearray(f.read())
    (size,) = struct.unpack_from("<Q", data)
    header = json.loads(data[8 : 8 + size])
    header.pop("__metadata__", None)
    out = {}
    for name, entry in header.items():
        if entry["dtype"] != "F32":
            raise SystemExit(f"{path}: {name} is {entry['dtype']}, not F32")
        start, end = entry["data_offsets"]
        x = torch.frombuffer(data, dtype=torch.float32, count=(end - start) // 4, offset=8 + size + start)
        out[name] = x.clone().reshape(entry["shape"])
    return out


def synthetic(c, args):
    """Draws a batch as it stands in a batch file: frontal and lateral views in turn, no priors."""
    image, text, m, t = c["image"], c["text"], args.batch * args.images, args.text_length
    n, cls = patches_of(image), int(image["cls"])
    kept = torch.stack([torch.randperm(n)[: args.kept].sort().values for _ in range(m)]) + cls
    cuts = [1 + (t - 2) * i // args.sentences for i in range(args.sentences + 1)]
    return {
        "patches": torch.randint(256, (m, args.kept, image["patch"] ** 2), dtype=torch.uint8),
        "position": torch.cat([torch.zeros(m, cls, dtype=torch.long), kept], 1),
        "view": torch.arange(m) % args.images % 2, "prior": torch.zeros(m),
        "image_study": torch.arange(m) // args.images,
        "ids": torch.randint(text["vocabulary"], (args.batch, t)), "lengths": [t] * args.batch,
        "sentences": [[s, a, b] for s in range(args.batch) for a, b in zip(cuts, cuts[1:])],
    }


def layout(b, c):
    """Lays a batch out as the tensors want it, with masks for what fills the corners: layout.go."""
    l, cls = types.SimpleNamespace(), int(c["image"]["cls"])
    given = len(b["image_study"])
    m = math.ceil(given / IMAGE_STEP) * IMAGE_STEP

    def rows(x, kind, value=0):  # one an image, filled up
        return F.pad(torch.as_tensor(x, dtype=kind).reshape(given, -1), (0, 0, 0, m - given), value=value)

    patches = b["patches"]
    if isinstance(patches, str):
        patches = torch.frombuffer(bytearray(base64.b64decode(patches)), dtype=torch.uint8)
    l.position, l.view, l.prior = (rows(b[name], torch.long) for name in ("position", "view", "prior"))
    k = l.position.shape[1]
    l.patches = rows(patches, torch.uint8).reshape(m, k - cls, -1)
    l.age = rows(b["age"], torch.float32).reshape(m, 1, 1) if l.prior.any() else None
    study = rows(b["image_study"], torch.long, -1)
    valid = rows(b.get("valid") or torch.ones(given, k), torch.bool) | (study < 0)
    l.valid = None if valid.all() else valid.reshape(m, 1, 1, k)

    # The tokens of each study side by side.
    lengths = torch.as_tensor(b["lengths"]).unsqueeze(1)
    n = l.studies = len(lengths)
    own = [((study == s) & valid).flatten().nonzero().flatten() for s in range(n)]
    order = torch.nn.utils.rnn.pad_sequence(own, batch_first=True)
    l.width = order.shape[1]
    pooled = torch.arange(l.width) >= torch.tensor([[len(o)] for o in own])
    hidden = pooled | (l.prior.bool() | (torch.arange(k) < cls)).flatten()[order]
    in_order = not pooled.any() and torch.equal(order.flatten(), torch.arange(m * k))
    l.order = None if in_order else order.flatten()
    l.pooled = pooled if pooled.any() else None
    l.local = hidden.unsqueeze(2) if hidden.any() else None  # not of a current image
    l.seen = (~hidden / (~hidden).sum()).reshape(1, -1) if hidden.any() else None

    longest = int(lengths.max())
    t = min(math.ceil(longest / TEXT_STEP) * TEXT_STEP, c["text"]["max_length"])
    present = torch.arange(t) < lengths
    l.ids = F.pad(torch.as_tensor(b["ids"]).reshape(n, -1)[:, :longest], (0, t - longest)) * present
    l.present = None if present.all() else present.reshape(n, 1, 1, t)
    l.mean = (present / lengths).reshape(n, 1, t)
    owner = [s for s, *_ in b["sentences"]]
    places, most = [owner[:i].count(s) for i, s in enumerate(owner)], max(owner.count(s) for s in owner)
    l.spans = torch.zeros(n, most, t)
    for (s, start, end, *_), place in zip(b["sentences"], places):
        l.spans[s, place, start:end] = 1 / (end - start)
    l.sentences = torch.tensor(owner) * most + torch.tensor(places)

    # What is a positive of what.
    texts = torch.as_tensor(b.get("text_group") or list(range(n)))
    phrases = torch.tensor([x[3] if len(x) > 3 else -i - 1 for i, x in enumerate(b["sentences"])])
    owns = torch.tensor(owner) == torch.arange(n).unsqueeze(1)  # [B, S]
    l.own = owns / len(owner)
    l.same_texts = targets(texts == texts.unsqueeze(1))
    l.said_in = targets(owns.float() @ (phrases == phrases.unsqueeze(1)).float() > 0)
    return l


def targets(positive):
    """Returns the targets over rows and over columns, divided by how many there are of each.
    Positives of one row (or column) share its target evenly."""
    rows, columns = positive.shape
    return torch.stack([positive / (positive.sum(1, keepdim=True) * rows), positive / (positive.sum(0) * columns)])


def unit(x):
    return x * torch.rsqrt((x * x).sum(-1, keepdim=True) + 1e-12)


def contrast(cosines, log_scale, target):
    logits = cosines * log_scale.exp()
    by_row, by_column = target
    return -0.5 * ((F.log_softmax(logits, 1) * by_row).sum() + (F.log_softmax(logits, 0) * by_column).sum())


@torch.no_grad()
def spread(x):
    """Mean off-diagonal cosine and effective rank of unit vectors: spread.go."""
    n = len(x)
    if n < 2:
        return {"cosine": 0.0, "rank": 1.0}
    square = x.double().sum(0).square().sum().item()
    rank = math.nan
    if not math.isnan(square):
        p = torch.linalg.svdvals(x).double()
        rank = math.exp(torch.special.entr(p / p.sum()).sum().item())
    return {"cosine": (square - n) / (n * (n - 1)), "rank": rank}


class Trainer:
    def __init__(self, c, weights, mode, bf16, device, lr):
        self.config, self.w, self.bf16, self.device = c, {}, bf16, device
        self.centred = any(weights[head + ".bias"].any() for head in HEADS)
        self.parameters = self.trained = 0
        groups = {}

        def train(x, rate, decay, text):
            x.requires_grad_()
            group = groups.setdefault((rate, decay, text), {"params": [], "lr": lr * rate, "weight_decay": decay})
            group["params"].append(x)

        for name, shape, group, *_ in shapes(c):
            x = self.w[name] = weights[name].to(device)
            if x.shape != shape:
                raise SystemExit(f"{name} has shape {list(x.shape)}, want {list(shape)}")
            self.parameters += x.numel()
            if mode == "adapters" and group == "base":
                continue
            self.trained += x.numel()
            text = name.startswith("text.")
            rate = ADAPTER_RATE if group in ("language", "invertible") else 1.0
            rate *= TEXT_RATE if text and mode == "full" else 1.0
            train(x, rate, DECAY if x.dim() > 1 else 0.0, text)
        if len(weights) != len(self.w):
            raise SystemExit(f"{len(weights)} weights, want {len(self.w)}")
        self.scales = {name: torch.tensor([START_SCALE], device=device) for name in ("global", "local")}
        for x in self.scales.values():
            train(x, SCALE_RATE, 0.0, False)
        self.all = [x for g in groups.values() for x in g["params"]]
        self.optimiser = torch.optim.AdamW(list(groups.values()), betas=(0.9, 0.999), eps=1e-8, fused=True)

    def reduced(self, on):
        if not self.bf16:
            return contextlib.nullcontext()
        return torch.autocast(self.device, dtype=torch.bfloat16, enabled=on)

    # The network: encoder.go.

    def project(self, x, name):
        return F.linear(x, self.w[name + ".weight"], self.w[name + ".bias"])

    def norm(self, x, name, t):
        return F.layer_norm(x, (t["width"],), self.w[name + ".weight"], self.w[name + ".bias"], t["epsilon"])

    def bottleneck(self, x, name):
        return F.linear(F.relu(F.linear(x, self.w[name + ".down"])), self.w[name + ".up"])

    def invertible(self, e, prefix):
        if not self.config["invertible"]:
            return e
        e1, e2 = e.chunk(2, -1)
        o1 = self.bottleneck(e2, prefix + ".invertible.f") + e1
        o2 = self.bottleneck(o1, prefix + ".invertible.g") + e2
        return torch.cat([o1, o2], -1)

    def attention(self, x, layer, t, keys):
        name, (b, length, h) = layer + ".attention.", x.shape
        weight = torch.cat([self.w[name + part + ".weight"] for part in ("query", "key", "value")])
        bias = torch.cat([self.w[name + part + ".bias"] for part in ("query", "key", "value")])
        qkv = F.linear(x, weight, bias).reshape(b, length, 3, t["heads"], h // t["heads"]).permute(2, 0, 3, 1, 4)
        with self.reduced(False):
            qkv = qkv.float()
            out = F.scaled_dot_product_attention(qkv[0], qkv[1], qkv[2], attn_mask=keys)
        return self.project(out.transpose(1, 2).reshape(b, length, h), name + "output")

    def feed_forward(self, x, layer):
        r = self.project(F.gelu(self.project(x, layer + ".mlp.up")), layer + ".mlp.down")
        if not self.config["adapter"]:
            return r
        language = self.bottleneck(r, layer + ".language") + r
        return self.bottleneck(language, layer + ".task") + (r if self.config["ta_residual"] == "r" else language)

    def vectors(self, x, head, centres, weights=None):
        y = F.linear(x, self.w[head + ".weight"])
        rows = y.reshape(-1, self.config["joint"])
        centres[head] = mean = rows.mean(0, keepdim=True) if weights is None else weights @ rows
        return unit(y - mean)

    def image_tower(self, l):
        t = self.config["image"]
        pixels = l.patches.float() * (1 / (255 * t["std"])) + (-t["mean"] / t["std"])
        with self.reduced(True):
            x = self.project(pixels, "image.patch").float()
        if t["cls"]:
            x = torch.cat([self.w["image.cls"].expand(len(x), 1, -1), x], 1)
        x = x + F.embedding(l.position, self.w["image.position"])
        shared = F.embedding(l.view, self.w["image.view"]) + F.embedding(l.prior, self.w["image.time"])
        if l.age is not None:
            shared = shared + l.age * self.w["image.days"]
        x = self.invertible(x + shared, "image")
        with self.reduced(True):
            for i in range(t["layers"]):
                name = f"image.layers.{i}"
                x = x + self.attention(self.norm(x, name + ".norm1", t), name, t, l.valid)
                x = x + self.feed_forward(self.norm(x, name + ".norm2", t), name)
        return self.norm(x, "image.norm", t)

    def images(self, l, centres):
        x = self.image_tower(l)
        h = x.shape[-1]
        if l.order is not None:
            x = x.reshape(-1, h).index_select(0, l.order)
        x = x.reshape(l.studies, l.width, h)
        score = x @ (self.w["image.pool.query"] * h**-0.5)
        if l.pooled is not None:
            score = score.masked_fill(l.pooled, -math.inf)
        pooled = (score.softmax(1).unsqueeze(1) @ x).reshape(l.studies, h)
        return self.vectors(pooled, "image.global", centres), self.vectors(x, "image.local", centres, l.seen)

    def text_tower(self, l):
        t = self.config["text"]
        x = F.embedding(l.ids, self.w["text.vocabulary"])
        if t["vocabulary_width"]:
            x = F.linear(x, self.w["text.vocabulary_projection"])
        x = x + self.w["text.position"][: l.ids.shape[1]]
        x = self.invertible(self.norm(x, "text.embedding_norm", t), "text")
        with self.reduced(True):
            for i in range(t["layers"]):
                name = f"text.layers.{i}"
                x = self.norm(x + self.attention(x, name, t, l.present), name + ".norm1", t)
                x = self.norm(x + self.feed_forward(x, name), name + ".norm2", t)
        return x

    def texts(self, l, centres):
        x = self.text_tower(l)
        h = x.shape[-1]
        spans = (l.spans @ x).reshape(-1, h).index_select(0, l.sentences)
        mean = (l.mean @ x).reshape(-1, h)
        return self.vectors(mean, "text.global", centres), self.vectors(spans, "text.local", centres)

    # The step: objective.go, trainer.go, settle.go.

    def terms(self, l, image, tokens, text, sentences):
        cosines = tokens @ sentences.transpose(0, 1)  # [B, L, S]
        score = cosines * (1 / ATTENTION_TEMPERATURE)
        if l.local is not None:
            score = score.masked_fill(l.local, -math.inf)
        region = unit(score.softmax(1).transpose(1, 2) @ tokens)
        regions = (region * sentences).sum(-1)  # [B, S]
        return {
            "global": 1 - (image * text).sum() / l.studies,
            "global_nce": contrast(image @ text.transpose(0, 1), self.scales["global"], l.same_texts),
            "local": 1 - (regions * l.own).sum(),
            "local_nce": contrast(regions, self.scales["local"], l.said_in),
        }

    def forward(self, l):
        """Returns the loss, what it measured and the means that the heads' biases follow."""
        l = types.SimpleNamespace(**{k: x.to(self.device) if torch.is_tensor(x) else x for k, x in vars(l).items()})
        centres = {}
        image, tokens = self.images(l, centres)
        text, sentences = self.texts(l, centres)
        terms = self.terms(l, image, tokens, text, sentences)
        loss = sum(WEIGHTS[name] * x for name, x in terms.items())
        stats = {name: x.item() for name, x in terms.items()}
        stats["total"] = loss.item()
        stats["temperature"] = [math.exp(-x.item()) for x in self.scales.values()]
        stats["image"], stats["text"] = spread(image), spread(text)
        return loss, stats, centres

    def backward(self, loss):
        loss.backward()
        return torch.nn.utils.clip_grad_norm_(self.all, 1.0, foreach=True).item()

    def step(self, l):
        loss, stats, centres = self.forward(l)
        if math.isfinite(stats["total"]):
            stats["grad_norm"] = self.backward(loss)
            if math.isfinite(stats["grad_norm"]):
                self.optimiser.step()
                self.settle(centres)
            self.optimiser.zero_grad(set_to_none=True)
        return stats

    @torch.no_grad()
    def settle(self, centres):
        for x in self.scales.values():
            x.clamp_(max=HIGHEST_SCALE)
        keep = MOMENTUM if self.centred else 0.0
        for head, mean in centres.items():
            self.w[head + ".bias"].mul_(keep).sub_(mean.view(-1), alpha=1 - keep)
        self.centred = True


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--config", required=True, help="model.Config as JSON")
    for name, value in (("batch", 32), ("images", 2), ("kept", 49), ("text-length", 48), ("sentences", 3),
                        ("threads", 2), ("steps", 10), ("warmup", 3), ("seed", 1)):
        p.add_argument("--" + name, type=int, default=value)
    p.add_argument("--mode", choices=("full", "adapters"), default="full")
    p.add_argument("--bf16", action="store_true")
    p.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    p.add_argument("--lr", type=float, default=1e-3)
    p.add_argument("--weights", help="safetensors; without it they are drawn")
    p.add_argument("--batch-file", help="JSON, see above; without it the batch is drawn")
    p.add_argument("--check", action="store_true", help="print the terms of the loss, train nothing")
    args = p.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    with open(args.config) as f:
        c = json.load(f)
    if args.weights:
        weights = read_weights(args.weights)
    else:
        weights = {name: torch.nn.init.trunc_normal_(torch.empty(shape), std=std, a=-2 * std, b=2 * std) if std else
                   torch.full(shape, float(constant)) for name, shape, _, std, constant in shapes(c)}
    if args.batch_file:
        with open(args.batch_file) as f:
            batch = layout(json.load(f), c)
    else:
        batch = layout(synthetic(c, args), c)
    trainer = Trainer(c, weights, args.mode, args.bf16, args.device, args.lr)

    if args.check:
        loss, stats, _ = trainer.forward(batch)
        stats["grad_norm"] = trainer.backward(loss)
        print(json.dumps(stats))
        return
    seconds, stats = [], {}
    for i in range(args.warmup + args.steps):
        start = time.perf_counter()
        stats = trainer.step(batch)
        if args.device == "cuda":
            torch.cuda.synchronize()
        if i >= args.warmup:
            seconds.append(time.perf_counter() - start)
    print(json.dumps({"torch": torch.__version__, "seconds": seconds, "loss": stats.get("total"),
                      "parameters": trainer.parameters, "trained": trainer.trained}))


if __name__ == "__main__":
    main()
