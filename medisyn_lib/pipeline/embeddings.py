"""Captions to text embeddings, by a text encoder trained on the generator's images."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from medisyn_lib import modalities
from medisyn_lib.models import networks
from medisyn_lib.models.bases import Base
from medisyn_lib.models.tokens import CUTS, distinct, too_long
from medisyn_lib.pipeline.artifacts import TRAINING_CODE, UNKEYED, Artifact, ImageSet
from medisyn_lib.pipeline.autoencoders import Latents
from medisyn_lib.profiles import Profile
from medisyn_lib.runtime.device import accelerator
from medisyn_lib.training import fine_tuning, loop, text_encoder
from medisyn_lib.training.fine_tuning import embed_captions
from medisyn_lib.training.text_encoder import embed_prompts, train_text_encoder

if TYPE_CHECKING:
    from transformers import CLIPTextModel, CLIPTokenizer

TEXT_WIDTH, TEXT_LAYERS = 128, 2


class CaptionEmbeddings(NamedTuple):
    """Embeddings float16 (m + 1, tokens, width), the last of the empty prompt; `caption` int64 (n,).

    `caption` says which embedding belongs to each image.
    """

    embeddings: np.ndarray
    caption: np.ndarray


class StoredEmbeddings(Artifact):
    """A tokenizer, a text encoder and the embeddings of the training captions.

    Its folder holds `tokenizer/`, `text_encoder/`, `embeddings.npy` and `caption.npy`.
    """

    def load(self) -> CaptionEmbeddings:
        """Return embeddings, memory-mapped, and which one belongs to each image."""
        embeddings = np.load(self.folder / "embeddings.npy", mmap_mode="r")
        return CaptionEmbeddings(embeddings, np.load(self.folder / "caption.npy"))

    def load_encoder(self) -> tuple[CLIPTokenizer, CLIPTextModel]:
        """Return the tokenizer and the text encoder."""
        from transformers import CLIPTextModel, CLIPTokenizerFast  # CLIPTokenizer, since release 5

        tokenizer = CLIPTokenizerFast.from_pretrained(self.folder / "tokenizer")
        return tokenizer, CLIPTextModel.from_pretrained(self.folder / "text_encoder")

    def embed(self, captions: Sequence[str]) -> np.ndarray:
        """Return the embeddings of captions, float32 (n, tokens, width)."""
        return embed_prompts(*self.load_encoder(), captions)


@dataclass(frozen=True, eq=False)
class Embeddings(StoredEmbeddings):
    """Those of a text encoder that is trained on the generator's images."""

    step = "text"
    code = (
        networks,
        *TRAINING_CODE,
        text_encoder,
        modalities,
    )  # the captions' words are made in the last
    plan: loop.TrainingPlan
    width: int
    layers: int
    latents: Latents
    images: ImageSet = field(metadata=UNKEYED, kw_only=True)  # those of the latents

    def make(self, folder: Path) -> None:
        """Train the text encoder and embed every caption."""
        unique, number = distinct(self.images.stream("caption"))
        captions = [unique[place] for place in number]
        tokenizer, encoder = train_text_encoder(
            captions, self.latents.array(), self.plan, folder, self.width, self.layers
        )
        tokenizer.save_pretrained(folder / "tokenizer")
        encoder.save_pretrained(folder / "text_encoder")
        embeddings = embed_prompts(tokenizer, encoder, [*unique, ""])
        np.save(folder / "embeddings.npy", embeddings.astype(np.float16))
        np.save(folder / "caption.npy", number)


@dataclass(frozen=True, eq=False)
class BaseEmbeddings(StoredEmbeddings):
    """Those of a base's own text encoder, as it is; captions longer than it reads are cut, and counted."""

    step = "base_text"
    code = (fine_tuning,)
    base: Base
    images: ImageSet

    def make(self, folder: Path) -> None:
        """Embed every caption, and store tokenizer and text encoder."""
        if not accelerator().is_main_process:
            return
        tokenizer, encoder = self._load_base()
        unique, number = distinct(self.images.stream("caption"))
        self._say_cut(len(too_long(tokenizer, unique)), len(unique), tokenizer)
        tokenizer.save_pretrained(folder / "tokenizer")
        encoder.save_pretrained(folder / "text_encoder")
        embed_captions(tokenizer, encoder, [*unique, ""], folder / "embeddings.npy")
        np.save(folder / "caption.npy", number)

    def _load_base(self) -> tuple[CLIPTokenizer, CLIPTextModel]:
        """The base's tokenizer, which from here on cuts long prompts, and its text encoder."""
        from transformers import CLIPTextModel, CLIPTokenizerFast

        folder = self.base.folder
        tokenizer = CLIPTokenizerFast.from_pretrained(folder / "tokenizer")
        tokenizer.init_kwargs[CUTS] = True
        encoder = CLIPTextModel.from_pretrained(
            folder / "text_encoder",
            use_safetensors=True,
            variant=self.base.variant("text_encoder"),
        )
        return tokenizer, encoder.float().eval()

    def _say_cut(self, cut: int, n: int, tokenizer: CLIPTokenizer) -> None:
        """Say on stderr how many captions are cut, if any."""
        if cut:
            fault = (
                f"{cut} of {n} different captions are longer than the {tokenizer.model_max_length}"
            )
            mend = "tokens that it reads, and are cut there (--caption-words N cuts by words)"
            print(f"medisyn: base {self.base.name}: {fault} {mend}", file=sys.stderr)


def text_plan(settings: Profile) -> loop.TrainingPlan:
    """Return how a profile trains the text encoder."""
    return loop.TrainingPlan(steps=settings.text_steps, batch=128, learning_rate=2e-3)
