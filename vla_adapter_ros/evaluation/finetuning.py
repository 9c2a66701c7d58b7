"""Train, then evaluate: a fine-tuning whose checkpoint carries a report on its validation episodes."""

from __future__ import annotations

import dataclasses
from functools import partial
from pathlib import Path
from typing import Any

from vla_adapter_ros.errors import TrainingError
from vla_adapter_ros.evaluation.report import OpenLoopReport, format_report, make_report
from vla_adapter_ros.evaluation.report_page import draw_pictures, write_page
from vla_adapter_ros.training.distributed import is_first_process
from vla_adapter_ros.training.finetune import finetune
from vla_adapter_ros.training.old_records import rename_old_keys
from vla_adapter_ros.training.result import TrainedPolicy, TrainingResult

REPORT_PAGE = ".report.html"  # beside the output


def finetune_and_evaluate(
    dataset: Any, output: str | Path, *, progress: bool = True, pages: bool = True, **more: Any
) -> tuple[TrainingResult, OpenLoopReport | None]:
    """`finetune`, and a report on the policy that came out, which is stored in its checkpoint.

    Args:
        dataset, output, **more: See `finetune`.
        progress: Also print the report.
        pages: Also write the report as `<output>.report.html`.

    Returns:
        What came out, and the report; no report for a finished training that was resumed and never
        evaluated.

    Raises:
        VlaAdapterError: as `finetune`.
    """
    evaluate = partial(evaluate_trained, page=pages)
    result = finetune(dataset, output, progress=progress, pages=pages, evaluate=evaluate, **more)
    report = read_report(result)
    if report is not None and progress and is_first_process():
        print(format_report(report))
    return result, report


def evaluate_trained(trained: TrainedPolicy, *, page: bool) -> dict[str, Any]:
    """The report on a policy that was just trained, ready for JSON; with `page` also as a page."""
    policy, samples = trained.policy, trained.samples
    report = make_report(
        policy,
        samples,
        trained.rows,
        samples.contract.action_names,
        is_validation=trained.is_validation,
        seed=trained.seed,
    )
    if page:
        facts = {"checkpoint": trained.output, "data": " + ".join(samples.names), "steps": trained.steps}
        pictures = draw_pictures(report, policy, samples, samples.contract.rate_hz)
        path = trained.output.with_name(trained.output.name + REPORT_PAGE)
        write_page(report, pictures, path, facts=facts)
    return dataclasses.asdict(report)


def read_report(result: TrainingResult) -> OpenLoopReport | None:
    """The report that a checkpoint carries; None if it was never evaluated.

    Raises:
        TrainingError: it is damaged.
    """
    if result.report is None:
        return None
    try:
        return OpenLoopReport(**rename_old_keys("report", result.report))
    except (TypeError, AttributeError) as error:
        raise TrainingError(f"{result.output}: no report of an evaluation: {error}") from error
