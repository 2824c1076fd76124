"""Prints what was found, for people."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from benchmarks.scenarios import SCENARIOS, Found

_COLUMNS = ("gateway", "CPU us", "PG us", "req/s", "p50 ms", "p99 ms", "RSS MB", "failed")


def show(found: Found) -> str:
    """All tables, as text."""
    parts = [_scenario(name, found) for name in found.numbers]
    if found.added_ms:
        added = [(target, f"{ms:.3f}") for target, ms in found.added_ms.items()]
        parts.append("p50 added at 1 in flight, above the stub asked directly\n" + grid(("gateway", "ms"), added))
    if found.missing:
        parts.append("Not measured\n" + "\n".join(f"  {name}: {why}" for name, why in found.missing.items()))
    if found.off:
        parts.append("NOT ALL CONTROLS ARE ON\n" + "\n".join(f"  {each}" for each in found.off))
    if found.checks:
        rows = [
            (each["what"], str(each["counted"]), str(each["expected"]), "yes" if each["equal"] else "NO")
            for each in found.checks
        ]
        parts.append("Every control saw every request\n" + grid(("what", "counted", "requests", "equal"), rows))
    return "\n\n".join(parts) + "\n"


def _scenario(name: str, found: Found) -> str:
    ratios = found.ratios.get(name, {})
    others = list(next(iter(ratios.values()), {}))
    columns = (*_COLUMNS, *(f"x {other.split()[0]}" for other in others))
    rows = []
    for target, numbers in found.numbers[name].items():
        cells = [target, f"{numbers['cpu_us']:.0f}", f"{numbers['postgres_us']:.0f}", f"{numbers['per_s']:.0f}"]
        cells += [f"{numbers['p50_ms']:.2f}", f"{numbers['p99_ms']:.2f}", f"{numbers['rss_mb']:.0f}"]
        cells += [f"{numbers['failed']:.0f} of {numbers['requests']:.0f}"]
        cells += [f"{ratios[target][other]:.3f}" if target in ratios else "" for other in others]
        rows.append(tuple(cells))
    return f"{SCENARIOS[name].title}; CPU for a request\n" + grid(columns, rows)


def grid(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Columns as wide as their widest cell; the first to the left, the others to the right."""
    lines = [list(columns), *map(list, rows)]
    widths = [max(len(line[at]) for line in lines) for at in range(len(columns))]
    return "\n".join(
        "  " + "  ".join(cell.rjust(width) if at else cell.ljust(width) for at, (cell, width) in enumerate(pairs))
        for pairs in (list(zip(line, widths, strict=True)) for line in lines)
    )
