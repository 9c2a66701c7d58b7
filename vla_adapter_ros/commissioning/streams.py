"""What holds for every stream of a contract: it is there, of its type, often enough, with good stamps."""

from __future__ import annotations

from vla_adapter_ros.commissioning.results import Results, nearest
from vla_adapter_ros.commissioning.survey import GraphSurvey, TopicSurvey
from vla_adapter_ros.contract.enums import TimeSource
from vla_adapter_ros.observation.bag import IMAGE_TYPES, TOPIC_TYPES

FUTURE_S = 0.03  # a stamp may be ahead of the receipt by so much: a simulated clock comes in steps of 10 ms
NEARLY = 0.93  # of the wanted rate is enough: a survey is short
ARRIVE = 0.8  # of the images that are sent: fewer are lost, and not late


def is_heard(
    survey: GraphSurvey, results: Results, subject: str, name: str, kind: str, others: tuple[str, ...]
) -> TopicSurvey | None:
    """The stream on a topic, if it arrives; else what is wrong is noted.

    Args:
        subject: Key of the contract.
        name: The topic.
        kind: Type of its messages, such as sensor_msgs/msg/Image.
        others: Topics that it could be instead.
    """
    topic = survey.topic(name)
    if not topic.publishers:
        results.note_failure(
            subject, f"nobody publishes {name}",
            f"Published with this type: {nearest(name, others)}. Start the driver, or write its topic; on "
            "another computer, see ROS_DOMAIN_ID",
        )  # fmt: skip
        return None
    types = tuple(dict.fromkeys(end.type for end in topic.publishers))
    if types != (kind,):
        results.note_failure(
            subject,
            f"{name} carries {' and '.join(types)}, the contract says {kind}",
            _of_type(types, others),
        )
        return None
    if not topic.heard:
        results.note_failure(
            subject, f"{name} is published, but nothing arrived in {survey.seconds:g} s",
            "Is the driver running, the network up? Large images need shared memory where they are sent: "
            "docs/how-to/troubleshooting.md",
        )  # fmt: skip
        return None
    return topic


def _of_type(types: tuple[str, ...], others: tuple[str, ...]) -> str:
    if len(types) > 1:
        return "Stop one of the publishers: a topic has one type"
    words = {kind: f"type: {word}" for word, kind in TOPIC_TYPES.items()}
    words |= {kind: f"transport: {word}" for word, kind in IMAGE_TYPES.items()}
    word = words.get(types[0])
    if word:
        return f"Write {word}, or another topic: {nearest('', others)}"
    return f"{types[0]} cannot be read: another topic is needed: {nearest('', others)}"


def check_rate(
    results: Results, subject: str, topic: TopicSurvey, wanted_hz: float, needed: bool, why: str
) -> None:
    """Note whether messages come often enough; with `needed`, too seldom is a failure."""
    if topic.size and topic.rate_hz < ARRIVE * topic.stamped_hz:
        enough = topic.rate_hz >= NEARLY * wanted_hz
        (results.note_failure if needed and not enough else results.note_warning)(
            subject,
            f"{topic.rate_hz:.3g} Hz arrive of {topic.stamped_hz:.3g} Hz that are sent, {why}",
            "Images are lost on the way: start the camera's driver with fastdds_shm.xml: "
            "docs/how-to/troubleshooting.md",
        )
        return
    if topic.rate_hz >= NEARLY * wanted_hz:
        results.note_pass(subject, f"{topic.rate_hz:.4g} Hz")
        return
    note = results.note_failure if needed else results.note_warning
    note(
        subject,
        f"{topic.rate_hz:.3g} Hz, {why}",
        "Raise the driver's rate, or lower what the contract asks for",
    )


def check_stamps(
    results: Results, subject: str, topic: TopicSurvey, time: TimeSource, max_age_s: float, settle_s: float
) -> None:
    """Note whether stamps are set, by the same clock, and arrive in time.

    A frame of time t waits `settle_s` for what is under way, then takes what is at most `max_age_s` older
    than t.
    """
    if topic.stamped is None or time is TimeSource.RECEIVE:
        results.note_pass(subject, "timed by receipt")
        return
    if not topic.stamped:
        results.note_failure(
            subject, "the messages have no stamp", "Set it in the driver, or write time: receive"
        )
        return
    delay, late = topic.delay_s or 0.0, topic.late_s or 0.0
    clocks = "bring the clocks of both computers in step (chrony), or write time: receive"
    if delay < -FUTURE_S:
        results.note_failure(
            subject, f"stamped {-delay:.3g} s in the future", f"{clocks[0].upper()}{clocks[1:]}"
        )
    elif delay > settle_s + max_age_s:  # most are too late: no matter of a busy machine
        results.note_failure(
            subject, f"arrives {delay:.3g} s after its stamp, settle_s and max_age_s allow "
            f"{settle_s + max_age_s:.3g}",
            f"Find what holds it up, raise settle_s, or, if it is another computer, {clocks}",
        )  # fmt: skip
    elif late > settle_s:
        results.note_warning(
            subject, f"arrives {late:.3g} s after its stamp, a frame waits settle_s, {settle_s:g}",
            f"Write settle_s: {1.3 * late:.2g}, or find what holds it up",
        )  # fmt: skip
    else:
        results.note_pass(subject, f"arrives {max(delay, 0.0):.2g} s after its stamp")


def check_period(results: Results, subject: str, topic: TopicSurvey, max_age_s: float) -> None:
    """Note whether the newest value is always young enough."""
    period = 1 / topic.rate_hz if topic.rate_hz else float("inf")
    if period > max_age_s:
        results.note_warning(
            subject, f"a value is up to {period:.3g} s old, max_age_s is {max_age_s:g}",
            f"Write max_age_s: {1.5 * period:.2g}, or raise the rate",
        )  # fmt: skip
