"""``llmvault status``: where every plan stands against its promises."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from llmvault.app import App, build_app
from llmvault.app.holds import hold_store
from llmvault.app.pinning import ledger_standing
from llmvault.catalog.model import DrillEntry, PointEntry
from llmvault.cli.options import JsonOption, PoliciesOption, StateOption, new_app
from llmvault.cli.output import Output
from llmvault.core.units import format_seconds, format_time
from llmvault.core.verdict import Verdict, combine
from llmvault.drill.plan import CLOCK_TOLERANCE, age_seconds
from llmvault.schedule.fleet import HostStanding, for_people, standings

app = new_app("Show where every plan stands against its promises.")


@app.command()
def status(
    json: JsonOption = False, policies: PoliciesOption = None, state: StateOption = None
) -> int:
    """Show the newest recovery point and drill of every plan, and what to do next.

    Of hosts that share the catalog it shows how each stands, and whether it fell silent. Exit code
    0 when every plan keeps its promises by proof, 1 when one does not, 3 when unproven.
    """
    vault, output = build_app(policies=policies, state=state), Output(json=json)
    plans = [_plan(vault, name) for name in vault.plan_names(None)]
    hosts = _others(vault)
    holds = len(hold_store(vault).active())
    ledger = ledger_standing(vault)
    verdicts = [*(Verdict(plan["verdict"]) for plan in plans), *(host.verdict for host in hosts)]
    if ledger["verified"] and ledger["verified"]["verdict"] == Verdict.FAILED:
        verdicts.append(Verdict.FAILED)
    verdict = combine(verdicts)
    output.emit_json(
        {
            "verdict": verdict.value,
            "plans": plans,
            "holds": holds,
            "ledger": ledger,
            "hosts": [_host_document(host) for host in hosts],
        }
    )
    output.show_table(
        "Plans",
        ("plan", "verdict", "newest point", "age", "RPO", "last drill", "RTO", "next"),
        [_row(plan) for plan in plans],
    )
    if hosts:
        shown, unsaid = for_people(hosts)
        output.show_table(
            "Other hosts",
            ("host", "verdict", "seen", "plan", "proven point, age", "RPO", "RTO", "findings"),
            [row for host in shown for row in _host_rows(host)],
        )
        output.show(*_unsaid(unsaid))
    output.show(f"{holds} legal holds" if holds != 1 else "1 legal hold", _ledger_words(ledger))
    return verdict.exit_code


def _ledger_words(ledger: dict[str, Any]) -> str:
    """Return in a sentence what was last found of the ledger, and by which pins."""
    told = ledger["verified"]
    if told is None:
        return f"ledger: {ledger['entries']} entries, never verified: llmvault ledger verify"
    pins = ", ".join(
        f"{pin['where']} {pin['verdict']}" + (f" ({pin['entries']})" if pin["entries"] else "")
        for pin in told["pins"]
    )
    return (
        f"ledger: {ledger['entries']} entries; its first {told['entries']} were {told['verdict']}"
        f" at {told['at']} against {pins or 'nothing that is kept outside'}"
    )


def _others(vault: App) -> tuple[HostStanding, ...]:
    """Return how the other hosts that share the catalog stand."""
    if vault.settings.database_is_local:
        return ()
    now = vault.clock.now()
    fleet = vault.catalog.fleet(now + CLOCK_TOLERANCE)
    hosts = (host for host in fleet.hosts if host.name != vault.settings.host)
    return standings(hosts, fleet.points, fleet.drills, now)


def _unsaid(hosts: Sequence[HostStanding]) -> Iterator[str]:
    """Yield how many hosts of each verdict are not in the table."""
    counted = Counter(host.verdict for host in hosts)
    if counted:
        words = ", ".join(f"{counted[one]} {one.value}" for one in Verdict if one in counted)
        yield f"not shown of {len(hosts)} more hosts, which --json lists: {words}"


def _host_document(host: HostStanding) -> dict[str, Any]:
    return {
        "host": host.host,
        "verdict": host.verdict.value,
        "seen": format_time(host.seen),
        "silent": host.silent,
        "version": host.version,
        "findings": host.findings,
        "plans": [
            {
                "plan": plan.plan,
                "verdict": plan.verdict.value,
                "proven": plan.proven and format_time(plan.proven),
                "rpo": {"objective_s": plan.rpo_s, "measured_s": plan.age_s},
                "rto": {"objective_s": plan.rto_s, "measured_s": plan.recovered_s},
                "drill": plan.drill,
            }
            for plan in host.plans
        ],
    }


def _host_rows(host: HostStanding) -> Iterator[tuple[object, ...]]:
    seen = f"{format_time(host.seen)}{' (silent)' if host.silent else ''}"
    for plan in host.plans:
        yield (
            host.host,
            plan.verdict.value,
            seen,
            plan.plan,
            _seconds(plan.age_s),
            _seconds(plan.rpo_s),
            f"{_seconds(plan.recovered_s)} of {_seconds(plan.rto_s)}",
            host.findings,
        )


def _plan(vault: App, name: str) -> dict[str, Any]:
    objectives = vault.plan(name).objectives
    now, host = vault.clock.now(), vault.settings.host
    point = vault.catalog.newest_point(name, host, now + CLOCK_TOLERANCE)
    drill = vault.catalog.newest_drill(name, host)
    age = age_seconds(point.started, now) if point else None
    rpo_met = None if age is None else age <= objectives.rpo.total_seconds()
    verdict, next_step = _judge(point, drill, rpo_met=rpo_met)
    return {
        "plan": name,
        "verdict": verdict.value,
        "next_step": next_step,
        "recovery_point": point and {"id": point.id, "verdict": point.verdict, "age_s": age},
        "rpo": {"objective_s": objectives.rpo.total_seconds(), "measured_s": age, "met": rpo_met},
        "drill": drill
        and {
            "id": drill.id,
            "recovery_point": drill.recovery_point,
            "verdict": drill.verdict,
            "report": drill.report,
        },
        "rto": {
            "objective_s": objectives.rto.total_seconds(),
            "measured_s": drill.rto_measured_s if drill else None,
        },
    }


def _judge(
    point: PointEntry | None, drill: DrillEntry | None, *, rpo_met: bool | None
) -> tuple[Verdict, str]:
    if point is None:
        return Verdict.UNPROVEN, "llmvault backup"
    if not rpo_met:
        return _judge_age(known=rpo_met is not None)
    if drill is None:
        return Verdict.UNPROVEN, "llmvault drill"
    verdict = combine([Verdict(point.verdict), Verdict(drill.verdict)])
    if verdict is Verdict.PROVEN:
        return verdict, ""
    if point.verdict != Verdict.PROVEN:
        return verdict, f"llmvault recovery-points show {point.id}"
    return verdict, f"read {drill.report}"


def _judge_age(*, known: bool) -> tuple[Verdict, str]:
    if known:
        return Verdict.FAILED, "llmvault backup: the newest recovery point is too old"
    return Verdict.UNPROVEN, "llmvault doctor: every recovery point is dated in the future"


def _row(plan: dict[str, Any]) -> tuple[object, ...]:
    point, drill = plan["recovery_point"], plan["drill"]
    return (
        plan["plan"],
        plan["verdict"],
        f"{point['id']} ({point['verdict']})" if point else "none",
        _seconds(plan["rpo"]["measured_s"]),
        _seconds(plan["rpo"]["objective_s"]),
        f"{drill['id']} ({drill['verdict']})" if drill else "none",
        f"{_seconds(plan['rto']['measured_s'])} of {_seconds(plan['rto']['objective_s'])}",
        plan["next_step"],
    )


def _seconds(value: float | None) -> str:
    return "-" if value is None else format_seconds(value)
