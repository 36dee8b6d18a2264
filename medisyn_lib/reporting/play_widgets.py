"""The controls for playing with the flagship in a notebook; where nobody can press a button, a still picture."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from medisyn_lib.claims.words import plain_name
from medisyn_lib.errors import InputError
from medisyn_lib.modalities import MODALITIES
from medisyn_lib.models import encoders
from medisyn_lib.pipeline import flagship
from medisyn_lib.pipeline.samples import sample_prompts
from medisyn_lib.reporting import play
from medisyn_lib.reporting.front_end import is_attended
from medisyn_lib.reporting.play import Request
from medisyn_lib.training.linear_classifier import LinearClassifier

if TYPE_CHECKING:
    import ipywidgets

    from medisyn_lib.pipeline.study import Study
    from medisyn_lib.training.pair_classifier import PairClassifier

__all__ = ["Playground", "play_here"]

STILL = Request(attributes={"side": "left", "lesion_size": "large"})
LEFT_OUT = ""  # of an attribute: not stated
VALUES: dict[str, tuple[str | int, ...]] = {
    "side": (LEFT_OUT, "left", "right"),
    "lesion_size": (LEFT_OUT, "small", "large"),
    "count": (LEFT_OUT, 1, 2, 3, 4, 5, 6, 7, 8),
}


def play_here(study: Study) -> None:
    """Show the controls in a live notebook; elsewhere the picture of one fixed request.

    The flagship knows phantoms alone: on other data a line says so.
    """
    from IPython.display import Image, display

    if study.source != "phantom" or study.settings.size != flagship.SIZE:
        print(f"only the flagship is played with, on phantoms of {flagship.SIZE} pixels")
        return
    readers = classifiers(study)
    if is_attended():
        display(Playground(readers).box)
        return
    print(STILL.prompt)
    images = sample_prompts(
        str(flagship.folder()), [STILL.prompt] * STILL.images, seeds=STILL.seeds
    )
    display(Image(_png(play.describe(STILL, images, readers))))


def classifiers(study: Study) -> dict[str, PairClassifier]:
    """Return the two classifiers of a study; what they score here is not cached."""
    linear = study.linear_classifier().folder
    return {
        "cnn": study.classifier().load(),
        "linear": LinearClassifier(linear, lambda pixels: encoders.features(pixels).values),
    }


class Playground:
    """Controls, a button and a picture.

    Parameters
    ----------
    readers : mapping
        Classifiers of modality and finding, by name.

    Attributes
    ----------
    box : ipywidgets.VBox
        What is displayed.
    """

    def __init__(self, readers: Mapping[str, PairClassifier]) -> None:
        import ipywidgets as widgets

        self.readers = readers
        names = [(plain_name(key), key) for key in MODALITIES]
        self.modality = widgets.Dropdown(
            options=names, value=STILL.modality, description="modality"
        )
        self.finding = widgets.Dropdown(description="finding")
        self.attributes = {
            name: widgets.Dropdown(
                options=[(str(value) or "any", value) for value in values],
                description=name.replace("lesion_", ""),
            )
            for name, values in VALUES.items()
        }
        self.text = widgets.Text(description="or in words", layout={"width": "44em"})
        self.seed = widgets.BoundedIntText(value=STILL.seed, min=0, max=2**31, description="seed")
        self.guidance = widgets.FloatSlider(
            value=STILL.guidance, min=1, max=8, step=0.5, description="guidance"
        )
        self.steps = widgets.IntSlider(value=STILL.steps, min=2, max=40, description="steps")
        self.button = widgets.Button(description="Generate", button_style="primary")
        self.status = widgets.Label("Not for clinical use.")
        self.image = widgets.Image(format="png", layout={"display": "none"})
        self.box = self._arrange(widgets)
        self._offer_findings()
        self.modality.observe(lambda change: self._offer_findings(), "value")
        self.finding.observe(lambda change: self._offer_attributes(), "value")
        for control in self.attributes.values():
            control.observe(lambda change: self._show_prompt(), "value")
        self.button.on_click(lambda button: self.generate())

    def _arrange(self, widgets: Any) -> ipywidgets.VBox:
        """The controls in rows."""
        rows = [
            [self.modality, self.finding],
            [*self.attributes.values()],
            [self.text],
            [self.seed, self.guidance, self.steps],
            [self.button, self.status],
        ]
        wrap = {"flex_flow": "row wrap"}
        return widgets.VBox([*(widgets.HBox(row, layout=wrap) for row in rows), self.image])

    def _offer_findings(self) -> None:
        """The findings of the modality that is chosen, the first abnormal one before others."""
        findings = MODALITIES[self.modality.value].findings
        self.finding.options = [(finding.name, finding.key) for finding in findings]
        self.finding.value = findings[1].key
        self._offer_attributes()

    def _offer_attributes(self) -> None:
        """Show the attributes that the caption of the finding states, and no others."""
        named = play.attributes_named(self.modality.value, self.finding.value)
        for name, control in self.attributes.items():
            control.layout.display = "" if name in named else "none"
        self._show_prompt()

    def _show_prompt(self) -> None:
        """The caption that an empty line of text stands for."""
        self.text.placeholder = self.request(text="").prompt

    def request(self, text: str | None = None) -> Request:
        """Return what the controls ask for; with another text, if one is given."""
        named = play.attributes_named(self.modality.value, self.finding.value)
        return Request(
            modality=self.modality.value,
            finding=self.finding.value,
            attributes={name: self.attributes[name].value for name in named},
            text=self.text.value if text is None else text,
            seed=self.seed.value,
            guidance=self.guidance.value,
            steps=self.steps.value,
        )

    def generate(self) -> None:
        """Sample what the controls ask for and show it; bad input is said beside the button."""
        self.button.disabled = True
        self.status.value = "Sampling ..."
        try:
            request = self.request()
            played = play.describe(request, play.sample(request), self.readers)
            self._show(played)
            self.status.value = "Phantoms are not patients. Not for clinical use."
        except InputError as error:
            self.status.value = str(error)
        finally:
            self.button.disabled = False

    def _show(self, played: play.Played) -> None:
        """Put a picture in place of the last."""
        self.image.value = _png(played)
        self.image.layout.display = ""


def _png(played: play.Played) -> bytes:
    """The picture as a PNG file."""
    buffer = io.BytesIO()
    play.picture(played).save(buffer, "PNG")
    return buffer.getvalue()
