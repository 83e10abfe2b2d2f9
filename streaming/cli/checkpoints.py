"""`wavestitch export`, `quantize` and `models`: what is served, and making it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from streaming.models.loading import ModelCard

__all__ = ["export", "models", "quantize"]


def export(
    source: Annotated[
        Path,
        typer.Argument(
            help="Checkpoint folder, as transformers writes it.", exists=True
        ),
    ],
    target: Annotated[Path, typer.Argument(help="Folder to write.")],
    *,
    name: Annotated[
        str | None, typer.Option(help="What clients are told; the target's name.")
    ] = None,
    language: Annotated[str, typer.Option(help="BCP 47 tag.")] = "en",
    temperature: Annotated[
        float, typer.Option(help="Divides logits for calibrated confidences.", min=0.01)
    ] = 1.0,
    int8: Annotated[bool, typer.Option(help="Write an int8 graph too.")] = True,
    half: Annotated[bool, typer.Option(help="Write fp16 safetensors too.")] = True,
    plain: Annotated[
        bool,
        typer.Option(
            "--plain", help="A graph of samples to logits, for other servers: no steps."
        ),
    ] = False,
    streaming: Annotated[
        bool | None,
        typer.Option(help="It was trained for streams; what the source says."),
    ] = None,
    calibrate: Annotated[
        Path | None,
        typer.Option(
            help="Manifest to fit temperature and bias on; not one it was trained on."
        ),
    ] = None,
) -> None:
    """Write a checkpoint as ONNX, to be served without torch."""
    from streaming.tools.export import export_checkpoint  # noqa: PLC0415

    export_checkpoint(
        source,
        target,
        name=name or target.name,
        language=language,
        temperature=temperature,
        int8=int8,
        fp16_safetensors=half,
        plain=plain,
        streaming=streaming,
    )
    if calibrate is not None:
        from streaming.config import Config, ModelConfig  # noqa: PLC0415
        from streaming.tools.evaluate import fit  # noqa: PLC0415
        from streaming.tools.export import set_calibration  # noqa: PLC0415

        found = fit(calibrate, config=Config(model=ModelConfig(name=str(target))))
        set_calibration(target, found.temperature, found.bias)
        print(
            f"temperature {found.temperature:.2f}, bias {found.bias:+.2f}: calibration "
            f"error {found.before.error:.1%} before, {found.after.error:.1%} after",
            file=sys.stderr,
        )
    print(target)


def quantize(
    source: Annotated[Path, typer.Argument(help="fp32 ONNX graph.", exists=True)],
    target: Annotated[Path, typer.Argument(help="File to write.")],
    *,
    keep: Annotated[
        list[str] | None,
        typer.Option(help="Name of a product to leave in fp32. Repeatable."),
    ] = None,
) -> None:
    """Write an ONNX graph with its matrix products in int8."""
    from streaming.tools.quantize import quantize as run  # noqa: PLC0415

    run(source, target, keep=tuple(keep or ()))
    print(target)


def models(
    names: Annotated[
        list[str] | None,
        typer.Argument(help="Folders or hub ids; the bundled model by default."),
    ] = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="One object a line.")] = False,
) -> None:
    """Say what is bundled, or what a checkpoint is."""
    from streaming.config import ModelConfig  # noqa: PLC0415
    from streaming.models.loading import describe  # noqa: PLC0415

    bundled: list[str | None] = [None]
    for name in names or bundled:
        card = describe(ModelConfig(name=name))
        facts = _facts(card)
        if as_json:
            print(json.dumps({"name": card.name, **facts}))
        else:
            print(card.name)
            for fact, value in facts.items():
                shown = ", ".join(value) if isinstance(value, list) else value
                print(f"  {fact:<14}{'unknown' if shown is None else shown}")


def _facts(card: ModelCard) -> dict[str, object]:
    return {
        "folder": str(card.folder),
        "architecture": card.architecture,
        "languages": list(card.languages),
        "parameters": card.parameters,
        "bytes": card.bytes,
        "labels": card.labels,
        "sample_rate": card.geometry.sample_rate,
        "stride": card.geometry.stride,
        "precisions": list(card.precisions),
        "backends": list(card.backends),
        "inference": card.inference,
    }
