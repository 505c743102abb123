"""A digest as text, and as a page for mail and browsers that needs nothing but itself."""

from __future__ import annotations

from collections.abc import Iterator

from llmvault.core.units import format_seconds, format_time
from llmvault.notify.model import Message
from llmvault.schedule.digest import Digest, JobLine, Meter, PlanLine
from llmvault.schedule.letters import plain, readable
from llmvault.schedule.model import FLEET


def title_of(made: Digest) -> str:
    """Return its title."""
    return f"llmvault digest of {made.begin:%Y-%m-%d} to {made.end:%Y-%m-%d}: {made.headline}"


def message_of_digest(made: Digest) -> Message:
    """Return a digest as people read it."""
    severity = made.findings[0].severity if made.findings else "info"
    return Message(
        format_time(made.at), title_of(made), text_of(made), severity, html=page_of(made)
    )


def text_of(made: Digest) -> str:
    """Return it as plain text, at most about 100 characters wide where words allow."""
    return "\n".join(_lines(made)) + "\n"


def page_of(made: Digest) -> str:
    """Return it as a page; styles are at each element, for mail programs drop style sheets."""
    from llmvault.drill.report import page_environment

    template = page_environment("llmvault.schedule").get_template("digest.html.j2")
    return template.render(made=made, title=title_of(made), fleet=FLEET, shown=format_seconds)


def _lines(made: Digest) -> Iterator[str]:
    yield title_of(made)
    yield f"as known on {made.host} at {format_time(made.at)}"
    for host in made.silent:
        yield f"host {host.host} is silent since {format_time(host.seen)}"
    yield ""
    yield "Findings"
    yield plain(made.findings) if made.findings else "  none"
    yield ""
    yield "Plans"
    yield from (_plan_line(one) for one in made.plans)
    if not made.plans:
        yield "  none"
    yield ""
    yield "Jobs in this period"
    yield from (_job_line(one) for one in made.jobs)
    if not made.jobs:
        yield "  none"


def _plan_line(one: PlanLine) -> str:
    return (
        f"  {one.standing.verdict.value:<9} {one.host} {one.standing.plan}: "
        f"RPO {_measured(one.rpo)}, RTO {_measured(one.rto)}, "
        f"last drill {one.standing.drill or 'never'}"
    )


def _job_line(one: JobLine) -> str:
    counts = ", ".join(f"{count} {verdict}" for verdict, count in one.counts.items() if count)
    host = "one of a group" if one.host == FLEET else one.host
    late = ", OVERDUE" if one.overdue else ""
    return readable(f"  {host} {one.job} ({one.kind}): {counts or 'no run'}{late}")


def _measured(meter: Meter) -> str:
    measured = "not measured" if meter.measured_s is None else format_seconds(meter.measured_s)
    return f"{measured} of {format_seconds(meter.objective_s)}"
