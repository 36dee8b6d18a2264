"""What training on many pairs would take on N GPUs, from counted operations, checked against a published run.

    python benchmarks/cost_model.py [--profile cluster] [--size 512] [--pairs 5000000] [--gpus 8 64 256]

Nothing is trained: operations are counted on tensors without data (torch's meta device). Every assumption is a name
below. The check: the operations of Stable Diffusion v1's own U-Net, encoders and steps, set against the hours that
its model card states, give the fraction of the GPUs' peak that this run reached; that fraction, and a better one, price
ours.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pairs

if TYPE_CHECKING:
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextModel

# bfloat16 operations a second, dense (NVIDIA's data sheets), and watts of the SXM boards.
PEAK = {"A100": 312e12, "H100": 989e12}
WATTS = {"A100": 400.0, "H100": 700.0}
BOARDS = 1.4  # a machine's energy over that of its GPUs: host, network, cooling
TUNED = 0.35  # fraction of the peak that a tuned loop is assumed to reach
ADAM = 16  # bytes a parameter: weights, gradients and two moments in single precision
CLIP_TOKENS = 77


@dataclass(frozen=True)
class PublishedRun:
    """The training of Stable Diffusion v1, checkpoints v1-1 to v1-3.

    github.com/CompVis/stable-diffusion, Stable_Diffusion_v1_Model_Card.md.
    """

    hours: int = 150_000  # of A100 PCIe 40 GB
    batch: int = 2048
    steps_at_256: int = 237_000
    steps_at_512: int = 194_000 + 515_000 + 195_000
    watts: float = 250.0  # what its 11,250 kg CO2 follow from, at 0.3 kg a kWh
    carbon: int = 11_250  # kg

    @property
    def images(self) -> dict[int, int]:
        """Images seen, by size."""
        return {256: self.steps_at_256 * self.batch, 512: self.steps_at_512 * self.batch}


@dataclass(frozen=True)
class ImageCost:
    """What an image of this project's denoiser costs."""

    flops: float  # forward and backward
    parameters: int
    latent_bytes: int  # float16
    encoding: float  # operations of the autoencoder's encoder


def count(work: Callable[[], Any]) -> float:
    """Count the operations of a call on tensors without data."""
    from medisyn_lib.training.flops import count_flops

    return float(count_flops(work)[0])


def cost_of_ours(profile: str, size: int) -> ImageCost:
    """Count what an image costs at a size in pixels."""
    import torch

    from medisyn_lib.models import networks
    from medisyn_lib.pipeline.embeddings import TEXT_WIDTH
    from medisyn_lib.profiles import PROFILES
    from medisyn_lib.training.denoiser import denoiser_flops

    side = size // networks.DOWNSCALE
    with torch.device("meta"):
        net = networks.denoiser(size, PROFILES[profile].denoiser_widths, text_width=TEXT_WIDTH)
        flops = denoiser_flops(net, side, TEXT_WIDTH)
    return ImageCost(
        flops=flops,
        parameters=sum(weights.numel() for weights in net.parameters()),
        latent_bytes=2 * networks.LATENT_CHANNELS * side * side,
        encoding=encoding_flops(size),
    )


def encoding_flops(size: int) -> float:
    """Count the operations of one image through the shipped autoencoder's encoder."""
    import torch

    from medisyn_lib.models import networks
    from medisyn_lib.training.autoencoder import AUTOENCODER_WIDTHS

    with torch.device("meta"), torch.no_grad():
        vae, images = networks.autoencoder(AUTOENCODER_WIDTHS), torch.zeros(1, 3, size, size)
        return count(lambda: vae.encode(images))


def stable_diffusion_flops(size: int) -> float:
    """Count one training image of Stable Diffusion v1: U-Net forward and backward, both encoders forward."""
    import torch

    side = size // 8
    with torch.device("meta"):
        net, vae, text_encoder = stable_diffusion()
        image, latents = torch.zeros(1, 3, size, size), torch.zeros(1, 4, side, side)
        tokens, text = torch.zeros(1, CLIP_TOKENS).long(), torch.zeros(1, CLIP_TOKENS, 768)

        def step() -> None:
            net(latents, torch.zeros(1), text, return_dict=False)[0].sum().backward()

        training = count(step)
        with torch.no_grad():
            encoding = count(lambda: vae.encode(image))
            return training + encoding + count(lambda: text_encoder(tokens))


def stable_diffusion() -> tuple[UNet2DConditionModel, AutoencoderKL, CLIPTextModel]:
    """Make Stable Diffusion v1's networks, untrained."""
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    net = UNet2DConditionModel(
        block_out_channels=(320, 640, 1280, 1280),
        down_block_types=(*("CrossAttnDownBlock2D",) * 3, "DownBlock2D"),
        up_block_types=("UpBlock2D", *("CrossAttnUpBlock2D",) * 3),
        layers_per_block=2,
        cross_attention_dim=768,
        attention_head_dim=8,
    )
    vae = AutoencoderKL(
        block_out_channels=(128, 256, 512, 512),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=2,
        latent_channels=4,
    )
    text_config = CLIPTextConfig(
        hidden_size=768,
        intermediate_size=3072,
        num_hidden_layers=12,
        num_attention_heads=12,
        vocab_size=49408,
    )
    return net, vae, CLIPTextModel(text_config)


def main() -> None:
    """Print the check and the table."""
    options = arguments()
    reached = check_published_run()
    work = price_ours(options)
    print(price_table(work, reached, options.gpus))
    print(
        f"\nAssumed: perfect scaling over GPUs, no validation or restarts, {WATTS['A100']:.0f} and "
        f"{WATTS['H100']:.0f} W a GPU, {BOARDS:g} times that for the whole machine. None of it was "
        f"run.\n\n{pairs.machine()}"
    )


def check_published_run() -> float:
    """Print what the published run took; return the fraction of the peak that it reached."""
    run = PublishedRun()
    each = {size: stable_diffusion_flops(size) for size in run.images}
    total = sum(each[size] * images for size, images in run.images.items())
    operations_an_hour = 3600 * PEAK["A100"]
    reached = total / (run.hours * operations_an_hour)
    energy = run.hours * run.watts / 1000
    print(
        f"Check. Stable Diffusion v1 saw {run.images[256] / 1e9:.2f} billion images at 256 px and "
        f"{run.images[512] / 1e9:.2f} billion at 512 px (237,000 and 904,000 steps of 2,048). "
        f"Counted here: {each[256] / 1e12:.2f} and {each[512] / 1e12:.2f} TFLOP each with both "
        f"encoders, {total:.2e} in all. In the 150,000 A100 hours of its card that is {reached:.1%} "
        f"of the bfloat16 peak. A model with the assumed {TUNED:.0%} would have said "
        f"{total / (operations_an_hour * TUNED):,.0f} hours. Energy: 250 W of a board for those "
        f"hours are {energy:,.0f} kWh, which at 0.3 kg a kWh are the card's {run.carbon:,} kg.\n"
    )
    return reached


def price_ours(options: Any) -> float:
    """Print what our training takes; return its operations."""
    from medisyn_lib.profiles import PROFILES

    settings, cost = PROFILES[options.profile], cost_of_ours(options.profile, options.size)
    seen = settings.denoiser_steps * settings.denoiser_batch
    encoding = options.pairs * cost.encoding
    work = seen * cost.flops + encoding
    latents, pixels = options.pairs * cost.latent_bytes, options.pairs * 3 * options.size**2
    print(
        f"Ours. Denoiser of profile `{options.profile}` {settings.denoiser_widths} at "
        f"{options.size} px: {cost.parameters / 1e6:.0f} million parameters, "
        f"{cost.flops / 1e12:.2f} TFLOP an image, forward and backward. "
        f"{settings.denoiser_steps:,} steps of {settings.denoiser_batch:,}: {seen / 1e6:,.0f} "
        f"million images, {seen / options.pairs:.0f} passes over {options.pairs / 1e6:g} "
        f"million pairs. Encoding them once takes {100 * encoding / work:.2g}% of the {work:.2e} "
        f"operations. Storage: {latents / 1e12:.2f} TB of float16 latents, mapped, against "
        f"{pixels / 1e12:.1f} TB of raw pixels. Memory of weights, gradients and moments: "
        f"{ADAM * cost.parameters / 1e9:.0f} GB a GPU, activations apart.\n"
    )
    return work


def price_table(work: float, reached: float, numbers: list[int]) -> str:
    """Return what so many operations take on each kind of GPU, at two fractions of its peak."""
    rows = []
    for gpu, peak in PEAK.items():
        for fraction in (reached, TUNED):
            hours = work / (3600 * peak * fraction)
            energy = hours * WATTS[gpu] * BOARDS / 1e6  # MWh
            days = [f"{hours / number / 24:.3g}" for number in numbers]
            name = f"{gpu} at {fraction:.0%} of its peak"
            rows.append([name, f"{hours:,.0f}", *days, f"{energy:,.3g}"])
    days_on = [f"days on {number}" for number in numbers]
    return pairs.table(["GPU", "GPU hours", *days_on, "energy, MWh"], rows)


def arguments() -> Any:
    """Return what the command line asks for."""
    from medisyn_lib.profiles import PROFILES

    parser = pairs.parser(__doc__)
    parser.add_argument("--profile", default="cluster", choices=PROFILES)
    parser.add_argument(
        "--size", type=pairs.whole(64, 4096), default=512, help="pixels of an image side"
    )
    parser.add_argument("--pairs", type=pairs.whole(1), default=5_000_000, help="of image and text")
    parser.add_argument("--gpus", type=pairs.whole(1), nargs="+", default=[8, 64, 256])
    options = parser.parse_args()
    if options.size % 64:
        parser.error(f"--size {options.size}: give a multiple of 64")
    return options


if __name__ == "__main__":
    pairs.run_script(main)
