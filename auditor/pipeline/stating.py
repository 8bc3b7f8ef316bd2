"""The controller's statements before an audit: the forms that a policy needs, and what stands on them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from auditor.assess.claims import Kind, claims
from auditor.assess.clauses import of_clause, said_of, unanswered
from auditor.assess.contradiction import Declared, contradictions
from auditor.assess.forms import NeededForm, Signer, Updated, needed_forms, update, write_forms
from auditor.assess.statements import load_statements, read_file
from auditor.contract.registry import load
from auditor.core.assessment import StatementState
from auditor.core.evidence import Omission
from auditor.core.yaml import parse_yaml
from auditor.errors import DataError, UsageError
from auditor.pipeline.before import now
from auditor.policy.catalogue import load_forms
from auditor.policy.load import load_all_catalogues, load_catalogues, load_policy
from auditor.policy.written_out import mapped
from auditor.subjects.data import FileRecords
from auditor.subjects.loading import read_subject

if TYPE_CHECKING:
    from auditor.core.assessment import Statement
    from auditor.core.clause import Catalogue
    from auditor.core.policy import Policy
    from auditor.subjects.loading import LoadedSpec


@dataclass(frozen=True, slots=True)
class Asked:
    """What a policy asks of the controller."""

    policy: Policy
    catalogues: tuple[Catalogue, ...]
    forms: tuple[NeededForm, ...]
    spec: LoadedSpec | None
    """The subject file; None: a policy alone."""

    @property
    def path(self) -> Path | None:
        """The file of statements that the subject names."""
        return self.spec.base / self.spec.spec.statements if self.spec and self.spec.spec.statements else None


@dataclass(frozen=True, slots=True)
class ClauseRow:
    """One clause that asks a statement, and what stands on it."""

    clause: str
    reference: str
    form: str
    state: StatementState
    statements: tuple[str, ...]
    unanswered: tuple[str, ...]
    contradiction: str
    free: bool
    """Answered in free text alone: which of its questions that answers only a reader can tell."""

    @property
    def word(self) -> str:
        """The state, and `incomplete` where a form leaves something open."""
        return "incomplete" if self.state is StatementState.SUPPLIED and self.unanswered else self.state.value

    @property
    def remark(self) -> str:
        """What is open, or disagrees, in words."""
        parts = [self.contradiction] if self.contradiction else []
        parts += [f"open: {', '.join(self.unanswered)}"] if self.unanswered else []
        parts += ["in free text"] if self.free else []
        by = f"by {', '.join(self.statements)}" if self.statements else ""
        return "; ".join([*([by] if by else []), *parts])

    def plain(self) -> dict[str, Any]:
        """Return the row as plain JSON types."""
        return {
            **asdict(self),
            "statements": list(self.statements),
            "unanswered": list(self.unanswered),
            "state": self.word,
        }


@dataclass(frozen=True, slots=True)
class Checked:
    """What a file of statements answers."""

    rows: tuple[ClauseRow, ...]
    notes: tuple[str, ...]

    @property
    def complete(self) -> bool:
        """Whether every clause is answered, every key of a form, and nothing declared disagrees."""
        return all(row.state is StatementState.SUPPLIED and not row.unanswered for row in self.rows)


def asked(subject: Path | None, policy: str | None) -> Asked:
    """Return what the policy of a subject, or a policy by name or path, asks of the controller.

    Raises:
        UsageError: Neither is named.
        InputError: One of them cannot be used.
    """
    spec = read_subject(subject) if subject is not None else None
    if spec is None and policy is None:
        msg = "neither a subject nor a policy is named"
        raise UsageError(msg, hint="Name a subject file, or a policy with --policy.")
    name = policy or (spec.spec.policy if spec else "")
    loaded = load_policy(name, base=None if policy or spec is None else spec.base, known_tests=None)
    catalogues = tuple(item.catalogue for item in load_catalogues(loaded, today=None))
    written = mapped(loaded.policy, catalogues)
    forms = needed_forms(catalogues, set(written.statements or ()), load_forms())
    return Asked(written, catalogues, forms, spec)


def new_statements(what: Asked, *, signer: Signer | None = None) -> str:
    """Return a file with every form that is asked, empty and commented.

    Raises:
        UsageError: The policy asks no statement.
    """
    if not what.forms:
        msg = f"the policy '{what.policy.id}' asks no statement"
        raise UsageError(msg, hint="Nothing has to be written.")
    text = write_forms(what.forms, about=f"the policy {what.policy.id}, version {what.policy.version}", signer=signer)
    parse_yaml(
        text.encode(), what.path or Path("statements.yaml"), DataError
    )  # a catalogue can name things as it likes
    return text


def updated_statements(what: Asked, path: Path, *, signer: Signer | None = None) -> Updated:
    """Return a file of statements with the forms and keys that are asked and not there yet.

    Raises:
        DataError: The file does not hold, or nothing can be added to it.
    """
    return update(read_file(path), path.read_text(encoding="utf-8"), what.forms, signer=signer)


def check_statements(what: Asked, path: Path) -> Checked:
    """Return what a file of statements answers of what is asked, and what of it the subject file contradicts.

    What only an audit can find is not looked for.

    Raises:
        DataError: The file does not hold: see `load_statements`.
    """
    found = load_statements(path, what.catalogues, today=now().date(), others=_others, forms=load_forms())
    said = said_of(what.catalogues, found)
    against = {}
    if what.spec is not None:
        declared = _declared(what.spec, found)
        against = {item.id: contradictions(item, (), declared, {}) for item in found}
    rows = []
    for catalogue in what.catalogues:
        for clause in catalogue.clauses:
            own = said.get(clause.id, ())
            if clause.statement is None or not (own or clause.id in (what.policy.statements or ())):
                continue
            conflicts = of_clause(clause, own, [item for one in own for item in against.get(one.id, ())])
            state = StatementState.SUPPLIED if own else StatementState.MISSING
            rows.append(
                ClauseRow(
                    clause=clause.id,
                    reference=clause.reference,
                    form=clause.statement.form,
                    state=StatementState.CONTRADICTED if conflicts else state,
                    statements=tuple(item.id for item in own),
                    unanswered=unanswered(clause, own),
                    contradiction=" ".join(item.words for item in conflicts),
                    free=bool(own) and not any(item.form for item in own),
                )
            )
    return Checked(tuple(rows), tuple(_notes(what, path, found)))


def _others() -> list[Catalogue]:
    return [item.catalogue for item in load_all_catalogues(today=None)]


def _declared(spec: LoadedSpec, statements: tuple[Statement, ...]) -> Declared:
    """Return what the subject declares; its records are read only where a statement says they were deduplicated."""
    members = spec.spec.data.members
    context = spec.spec.release_context.value
    claimed = any(claim.kind is Kind.DEDUPLICATED for item in statements for claim in claims(item))
    if members.copies is None or not claimed:
        return Declared(context, has_copies=False)
    records = FileRecords(members, spec.base)
    most = max((record.copies for record in records.sample(None, 0, 0, len(records))), default=0)
    return Declared(context, has_copies=True, most_copies=most)


def _notes(what: Asked, path: Path, found: tuple[Statement, ...]) -> list[str]:
    """Return what a person should look at, each with file and line."""
    file = read_file(path)
    taken = {item.id: item for item in found}
    own = {clause.id for catalogue in what.catalogues for clause in catalogue.clauses}
    notes = []
    for number, entry in enumerate(file.entries):
        if entry.id not in taken:  # an empty form: its clauses are missing, which their rows say
            continue
        foreign = [name for name in taken[entry.id].clauses if name not in own]
        if foreign:
            parts = ("clauses",) if entry.clauses else ("form",)
            what_of = f"'{entry.id}' answers {', '.join(foreign)}, of no catalogue of the policy '{what.policy.id}'"
            notes.append(f"{file.where(number, *parts)}: {what_of}; it is kept and shown, and answers nothing here")
        for position, item in enumerate(entry.evidence or ()):
            if not item.sha256:
                digest = taken[entry.id].evidence[position].sha256
                place = file.where(number, "evidence", position)
                notes.append(
                    f"{place}: '{item.path}' has no sha256, so that a change is not noticed; now it is {digest}"
                )
    return [*notes, *_undeclared(what.policy, found)]


def _undeclared(policy: Policy, found: tuple[Statement, ...]) -> list[str]:
    """Return where differential privacy is claimed and the policy's test of it is asked to refute something else."""
    said = [claim for item in found for claim in claims(item) if claim.kind is Kind.EPSILON]
    notes = []
    for entry in policy.tests:
        if entry.tolerance is None or entry.tolerance.statistic != "epsilon_lower" or entry.not_applicable is not None:
            continue
        test = load("tests", entry.test)
        if isinstance(test, Omission):
            continue
        asked = test.parameters.from_plain(entry.parameters).plain()
        for claim in said:
            speaks = asked.get("unit") in {"record", claim.unit} and asked.get("delta", -1.0) >= claim.delta
            if not speaks or asked.get("declared") != claim.epsilon:
                wanted = f"declared: {claim.epsilon:g}, delta: {claim.delta:g}, unit: {claim.unit}"
                notes.append(
                    f"{claim.words}; the policy's {entry.test} is not asked to refute that: write {{{wanted}}} under its parameters"
                )
    return notes
