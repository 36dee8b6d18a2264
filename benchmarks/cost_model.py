"""What training on many pairs would take on N GPUs, from counted operations, checked against a published run.

    python benchmarks/cost_model.py [--profile cluster] [--size 512] [--pairs 5000000] [--gpus 8 64 256]

Nothing is trained: operations are counted on tensors without data (torch's meta device). Every assumption is a name
below. The check: the operations of Stable Diffusion v1's own U-Net, encoders and steps, set against the hours that
its model card states, give the share of the GPUs' peak that this run reached; that share, and a better one, price ours.
"""

from __future__ import annotations

from typing import Any

import pairs

PEAK = {
    "A100": 312e12,
    "H100": 989e12,
}  # bfloat16 operations a second, dense (NVIDIA's data sheets)
WATTS = {"A100": 400.0, "H100": 700.0}  # of the SXM boards
BOARDS = 1.4  # a machine's energy over that of its GPUs: host, network, cooling
GOOD = 0.35  # share of the peak that a tuned loop is assumed to reach
ADAM = 16  # bytes a parameter: weights, gradients and two moments in single precision
CARD = {  # github.com/CompVis/stable-diffusion, Stable_Diffusion_v1_Model_Card.md (checkpoints v1-1 to v1-3)
    "hours": 150_000,  # of A100 PCIe 40 GB
    "batch": 2048,
    "steps": {256: 237_000, 512: 194_000 + 515_000 + 195_000},
    "watts": 250.0,  # what its 11,250 kg CO2 follow from, at 0.3 kg a kWh
    "carbon": 11_250,
}


def counted(work: Any) -> float:
    """Operations of a call on tensors without data."""
    from medisyn_lib.training.flops import count_flops

    return float(count_flops(work)[0])


def own(profile: str, size: int) -> dict[str, float]:
    """Of an image of this project's denoiser: operations forward and backward, parameters, bytes of latents."""
    import torch

    from medisyn_lib.models import networks
    from medisyn_lib.pipeline.embeddings import TEXT_WIDTH
    from medisyn_lib.profiles import PROFILES
    from medisyn_lib.training.denoiser import denoiser_flops

    settings, side = PROFILES[profile], size // networks.DOWNSCALE
    with torch.device("meta"):
        net = networks.denoiser(size, settings.denoiser_widths, text_width=TEXT_WIDTH)
        flops = denoiser_flops(net, side, TEXT_WIDTH)
    found = {"flops": flops, "parameters": float(sum(p.numel() for p in net.parameters()))}
    return found | {
        "latents": 2.0 * networks.LATENT_CHANNELS * side * side,
        "encoding": encoding(size),
    }


def encoding(size: int) -> float:
    """Operations of one image through the shipped first stage's encoder."""
    import torch

    from medisyn_lib.models import networks
    from medisyn_lib.training.autoencoder import AUTOENCODER_WIDTHS

    with torch.device("meta"), torch.no_grad():
        vae, images = networks.autoencoder(AUTOENCODER_WIDTHS), torch.zeros(1, 3, size, size)
        return counted(lambda: vae.encode(images))


def stable_diffusion(size: int) -> float:
    """Operations of one training image of Stable Diffusion v1: U-Net forward and backward, both encoders forward."""
    import torch
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    down = ("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",)
    up = ("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3
    with torch.device("meta"):
        net = UNet2DConditionModel(
            block_out_channels=(320, 640, 1280, 1280), down_block_types=down, up_block_types=up,
            layers_per_block=2, cross_attention_dim=768, attention_head_dim=8,
        )  # fmt: skip
        widths = (128, 256, 512, 512)
        vae = AutoencoderKL(
            block_out_channels=widths, down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4, layers_per_block=2, latent_channels=4,
        )  # fmt: skip
        words = CLIPTextConfig(
            hidden_size=768,
            intermediate_size=3072,
            num_hidden_layers=12,
            num_attention_heads=12,
            vocab_size=49408,
        )
        reader, side = CLIPTextModel(words), size // 8
        image, latents, text = (
            torch.zeros(1, 3, size, size),
            torch.zeros(1, 4, side, side),
            torch.zeros(1, 77, 768),
        )
        step = counted(
            lambda: net(latents, torch.zeros(1), text, return_dict=False)[0].sum().backward()
        )
        with torch.no_grad():
            return (
                step
                + counted(lambda: vae.encode(image))
                + counted(lambda: reader(torch.zeros(1, 77).long()))
            )


def main() -> None:
    """Prints the check and the table."""
    options = arguments()
    from medisyn_lib.profiles import PROFILES

    images = {size: steps * CARD["batch"] for size, steps in CARD["steps"].items()}
    each = {size: stable_diffusion(size) for size in images}
    total = sum(each[size] * images[size] for size in images)
    reached = total / (CARD["hours"] * 3600 * PEAK["A100"])
    energy = CARD["hours"] * CARD["watts"] / 1000
    print(
        f"Check. Stable Diffusion v1 saw {images[256] / 1e9:.2f} billion images at 256 px and {images[512] / 1e9:.2f} "
        f"billion at 512 px (237,000 and 904,000 steps of 2,048). Counted here: {each[256] / 1e12:.2f} and "
        f"{each[512] / 1e12:.2f} TFLOP each with both encoders, {total:.2e} in all. In the 150,000 A100 hours of its "
        f"card that is {reached:.1%} of the bfloat16 peak. A model with the assumed {GOOD:.0%} would have said only "
        f"{total / (3600 * PEAK['A100'] * GOOD):,.0f} hours. Energy: 250 W of a board for those hours are "
        f"{energy:,.0f} kWh, which at 0.3 kg a kWh are the card's {CARD['carbon']:,} kg.\n"
    )
    settings, cost = PROFILES[options.profile], own(options.profile, options.size)
    seen = settings.denoiser_steps * settings.denoiser_batch
    work = seen * cost["flops"] + options.pairs * cost["encoding"]
    print(
        f"Ours. Denoiser of profile `{options.profile}` {settings.denoiser_widths} at {options.size} px: "
        f"{cost['parameters'] / 1e6:.0f} million parameters, {cost['flops'] / 1e12:.2f} TFLOP an image, forward and "
        f"backward. {settings.denoiser_steps:,} steps of {settings.denoiser_batch:,}: {seen / 1e6:,.0f} million images "
        f"seen, {seen / options.pairs:.0f} passes over {options.pairs / 1e6:g} million pairs. Encoding them once takes "
        f"{100 * options.pairs * cost['encoding'] / work:.2g}% of the {work:.2e} operations. Storage: "
        f"{options.pairs * cost['latents'] / 1e12:.2f} TB of float16 latents, mapped, against "
        f"{options.pairs * 3 * options.size**2 / 1e12:.1f} TB of raw pixels. Memory of weights, gradients and moments: "
        f"{ADAM * cost['parameters'] / 1e9:.0f} GB a GPU, activations apart.\n"
    )
    rows = []
    for gpu, most in PEAK.items():
        for share in (reached, GOOD):
            hours = work / (3600 * most * share)
            used = hours * WATTS[gpu] * BOARDS / 1000
            days = [f"{hours / number / 24:.3g}" for number in options.gpus]
            rows.append(
                [f"{gpu} at {share:.0%} of its peak", f"{hours:,.0f}", *days, f"{used / 1000:,.3g}"]
            )
    print(
        pairs.table(
            ["GPU", "GPU hours", *(f"days on {n}" for n in options.gpus), "energy, MWh"], rows
        )
    )
    print(
        f"\nAssumed: perfect scaling over GPUs, no validation or restarts, {WATTS['A100']:.0f} and {WATTS['H100']:.0f} "
        f"W a GPU, {BOARDS:g} times that for the whole machine. None of it was run.\n\n{pairs.machine()}"
    )


def arguments() -> Any:
    """What the command line asks for."""
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
