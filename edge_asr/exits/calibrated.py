"""The policy that a bundle's ``policy.json`` describes."""

from __future__ import annotations

from edge_asr.bundle.policy import PolicySpec
from edge_asr.errors import BundleError, EdgeAsrError
from edge_asr.exits.criterion import CRITERIA, Criterion, get_criterion
from edge_asr.exits.threshold import ThresholdPolicy


def calibrated_criterion(spec: PolicySpec, chunk: str, *, file: str = "policy.json") -> Criterion:
    """Makes the criterion with its parameters for a chunk size.

    Raises:
        BundleError: If this version doesn't know it, or the parameters are wrong; it names the field.
    """
    if spec.criterion not in CRITERIA:
        known = ", ".join(CRITERIA)
        raise BundleError(f"is {spec.criterion!r}, expected one of {known}", file=file, field="criterion")
    try:
        return get_criterion(spec.criterion).configured(spec.parameters.get(chunk, {}), spec.exits)
    except EdgeAsrError as error:
        raise BundleError(str(error), file=file, field=f"parameters.{chunk}") from error


def calibrated_policy(spec: PolicySpec, chunk: str, *, level: int = 0, file: str = "policy.json") -> ThresholdPolicy:
    """Makes the policy for a chunk size.

    Args:
        spec: What ``policy.json`` says.
        chunk: A chunk size that it has thresholds for.
        level: 0 for the calibrated thresholds; higher ones are cheaper, up to ``len(spec.levels[chunk])``.
        file: The file's name in messages.

    Raises:
        BundleError: If the criterion or a temperature is wrong; it names the field.
    """
    criterion = calibrated_criterion(spec, chunk, file=file)
    thresholds = spec.thresholds[chunk] if level == 0 else spec.levels[chunk][level - 1]
    return ThresholdPolicy(criterion, thresholds, spec.temperatures.get(chunk), spec.hysteresis)
