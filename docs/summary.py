"""From data to samples on one page: `python docs/summary.py` draws summary.png.

It takes two minutes of processor time, about one on two cores.
Everything that the companion does to make an image, without what makes it careful: no cache, no checkpoints, no roles
of patients, no measures. Phantoms are drawings, not patients. Not for clinical use.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterable

import numpy as np
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from PIL import Image
from torch.nn import functional as F

from medisyn_lib import phantoms
from medisyn_lib.modalities import caption
from medisyn_lib.models.weights import SHIPPED

modalities = ("chest_xray", "brain_mri", "dermoscopy")
width, longest = 64, 16  # of a word's embedding; words of a caption
batch, learning_rate = 32, 3e-3
captions_dropped = 0.1  # in training, so that guidance has something to go away from
guidance, sampling_steps = 2.0, 20
rows, columns = 2, 5  # of each modality's samples

options = argparse.ArgumentParser(description=__doc__)
options.add_argument("--steps", type=int, default=400)
options.add_argument("--images", type=int, default=150, help="of each modality")
options.add_argument("--out", default="summary.png")
options = options.parse_args()
torch.manual_seed(0)
rng = np.random.default_rng(0)


# 1. Data: images of known anatomy and finding, n 3 64 64 in [-1, 1], and a caption of each.
def draw(indices: Iterable[int]) -> tuple[torch.Tensor, list[str]]:
    """Phantoms of these numbers, of each modality."""
    pixels, captions = [], []
    for modality, index in itertools.product(modalities, indices):
        image, factors = phantoms.draw(modality, seed=0, index=index)
        pixels.append(image)
        captions.append(caption(modality, factors["finding"], factors, rng=rng))
    return torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2) / 127.5 - 1, captions


images, captions = draw(range(options.images))

# 2. Autoencoder: 64 x 64 x 3 pixels to 16 x 16 x 16 latents; frozen. Notebook 01 trains it.
vae = AutoencoderKL.from_pretrained(SHIPPED / "flagship" / "vae").float().requires_grad_(False)
latents = torch.cat([vae.encode(part).latent_dist.mode() for part in images.split(64)])

# 3. Text: a number for each word; 0 pads, and a caption of padding alone says nothing.
words = sorted({word for text in captions for word in text.replace(",", "").split()})
number = {word: place for place, word in enumerate(words, start=1)}


def tokens(texts: list[str]) -> torch.Tensor:
    """Numbers of the words of captions, padded; words that were never seen are left out."""
    known = [[number[w] for w in text.replace(",", "").split() if w in number] for text in texts]
    return torch.tensor([(row + [0] * longest)[:longest] for row in known])


texts = tokens(captions)
embed = torch.nn.Embedding(len(words) + 1, width)
place = torch.nn.Parameter(torch.randn(longest, width) * 0.1)

# 4. Denoiser: a U-Net that sees noisy latents, the time and the words.
denoiser = UNet2DConditionModel(
    sample_size=16,
    in_channels=16,
    out_channels=16,
    block_out_channels=(32, 64),
    layers_per_block=1,
    down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
    up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
    cross_attention_dim=width,
    attention_head_dim=2,
    norm_num_groups=16,
)


def velocity(noisy: torch.Tensor, time: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
    """What the denoiser takes for the direction from image to noise."""
    return denoiser(noisy, time * 1000, embed(text) + place).sample


# 5. Training: on the straight path from image to noise, predict its direction (flow matching).
learnt = [*denoiser.parameters(), *embed.parameters(), place]
optimiser = torch.optim.AdamW(learnt, lr=learning_rate)
schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, learning_rate, options.steps + 1)
for step in range(options.steps):
    chosen = torch.randint(len(latents), (batch,))
    clean, noise = latents[chosen], torch.randn(batch, 16, 16, 16)
    text = texts[chosen] * (torch.rand(batch, 1) >= captions_dropped)
    time = torch.sigmoid(torch.randn(batch))
    t = time[:, None, None, None]
    loss = F.mse_loss(velocity((1 - t) * clean + t * noise, time, text), noise - clean)
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    schedule.step()
    if step % 50 == 0 or step + 1 == options.steps:
        print(f"step {step:4}  loss {loss.item():.3f}", flush=True)

# 6. Sampling, for captions of new patients: from noise back along the path, farther than the words alone would go.
real, prompts = draw(range(3000, 3000 + 3 * rows, 3))
asked = tokens(prompts).repeat_interleave(columns, 0)
x = torch.randn(len(asked), 16, 16, 16)
times = torch.linspace(1, 0, sampling_steps + 1)
times = 2.5 * times / (1 + 1.5 * times)  # more of the steps where noise is strong
with torch.inference_mode():
    for now, later in itertools.pairwise(times):
        with_words, without = (velocity(x, now, text) for text in (asked, 0 * asked))
        x = x + (later - now) * (without + guidance * (with_words - without))
    samples = torch.cat([vae.decode(part).sample for part in x.split(16)])

# 7. A contact sheet: a row for each caption, its phantom first, then samples.
tiles = torch.cat([real[:, None], samples.unflatten(0, (-1, columns))], 1)
sheet = tiles.permute(0, 3, 1, 4, 2).flatten(0, 1).flatten(1, 2)
sheet = ((sheet.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
Image.fromarray(sheet.numpy()).resize((2 * sheet.shape[1], 2 * sheet.shape[0]), 0).save(options.out)
print(*prompts, f"phantom first, then samples, not for clinical use: {options.out}", sep="\n")
