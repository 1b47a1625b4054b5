"""What the stand-in for LSF knows of a job, its settings, and bsub's options."""

import re
import signal
from dataclasses import dataclass, field
from typing import Any

VALUE_OPTIONS = ("-J", "-o", "-e", "-env", "-P", "-q", "-W", "-n", "-cwd", "-gpu", "-wt", "-wa")
CLUSTER = "double"


class Refused(Exception):
    """A request that LSF, or the stand-in, does not take: its one line, for standard error."""


@dataclass(frozen=True)
class Settings:
    """The pretended cluster; times in seconds."""

    hosts: int = 2
    slots: int = 64
    gpus: int = 4
    minute_s: float = 60.0  # how long a minute of -W and -wt lasts: less in tests
    kill_delay_s: float = 10.0  # from SIGTERM to SIGKILL
    limit_delay_s: float = 10.0  # from SIGUSR2 at the run limit to SIGINT and SIGTERM
    queues: dict[str, int | None] = field(default_factory=lambda: {"normal": None, "short": 5})  # run limits in minutes
    default_queue: str = "normal"


@dataclass(frozen=True)
class Request:
    """What a bsub asked for; times in minutes, memory and GPUs as written."""

    command: str
    name: str
    queue: str
    project: str
    cwd: str
    environment: dict[str, str]
    slots: int = 1
    tasks_per_host: int | None = None
    one_host: bool = False
    gpus: int = 0
    gpus_per_task: bool = False
    limit: int | None = None
    warning: int | None = None
    warning_signal: int | None = None
    output: str | None = None
    errors: str | None = None
    rerunnable: bool = False


@dataclass
class Job:
    """A job on its way from PEND to DONE or EXIT."""

    number: int
    request: Request
    submitted_s: float
    state: str = "PEND"
    shown_as: str | None = None  # a pretended state, for bjobs alone
    hosts: dict[str, int] = field(default_factory=dict)  # host -> slots
    gpus: dict[str, list[int]] = field(default_factory=dict)  # host -> its GPUs
    process: int | None = None
    started_s: float = 0.0
    starts: int = 0
    exit_code: int | None = None
    warned: bool = False
    limit_reached: bool = False
    signals: list[tuple[float, int]] = field(default_factory=list)  # (when, which), still to be sent

    @property
    def finished(self) -> bool:
        return self.state in ("DONE", "EXIT")


def parse_bsub(arguments: list[str], environment: dict[str, str], cwd: str, settings: Settings) -> Request:
    """Understand bsub's arguments, all of them, or refuse."""
    values, requirements, rest = {}, [], list(arguments)
    rerunnable = False
    while rest and rest[0].startswith("-"):
        option = rest.pop(0)
        if option in ("-r", "-rn"):
            rerunnable = option == "-r"
            continue
        if option not in (*VALUE_OPTIONS, "-R"):
            raise Refused(f"{option}: Illegal option (unknown to this stand-in). Job not submitted.")
        if not rest:
            raise Refused(f"{option}: Option requires an argument. Job not submitted.")
        if option == "-R":
            requirements.append(rest.pop(0))
        else:
            values[option] = rest.pop(0)
    if not rest:
        raise Refused("Command not specified. Job not submitted.")
    fields: dict[str, Any] = parse_requirements(requirements) | parse_gpus(values.get("-gpu"))
    fields |= parse_limits(values, settings)
    return Request(
        command=" ".join(rest),
        name=parse_name(values.get("-J", " ".join(rest))),
        project=values.get("-P", "default"),
        cwd=values.get("-cwd", cwd),
        environment=parse_environment(values.get("-env", "all"), environment),
        slots=positive("-n", values.get("-n", "1")),
        output=values.get("-o"),
        errors=values.get("-e"),
        rerunnable=rerunnable,
        **fields,
    )


def parse_name(name: str) -> str:
    """A job's name; arrays are not known here."""
    if re.search(r"\[.*\]", name):
        raise Refused(f"{name}: job arrays are unknown to this stand-in. Job not submitted.")
    return name


def parse_environment(text: str, environment: dict[str, str]) -> dict[str, str]:
    """The job's environment: all of the submitter's."""
    if text != "all":
        raise Refused(f"{text}: Bad argument for option -env (this stand-in knows 'all'). Job not submitted.")
    return environment


def parse_requirements(texts: list[str]) -> dict[str, Any]:
    """-R: span[hosts=1], span[ptile=K] and rusage[mem=M]."""
    fields: dict[str, Any] = {}
    for text in texts:
        if re.sub(r"(span\[(hosts=1|ptile=\d+)\]|rusage\[mem=\d+(\.\d+)?([KMGT]B?)?\]|\s)", "", text):
            raise Refused(f"{text}: Bad resource requirement syntax. Job not submitted.")
        if "span[hosts=1]" in text:
            fields["one_host"] = True
        if found := re.search(r"ptile=(\d+)", text):
            fields["tasks_per_host"] = positive("-R", found[1])
    return fields


def parse_gpus(text: str | None) -> dict[str, Any]:
    """-gpu: num=N (a host), num=N/host or num=N/task; what else LSF knows of modes changes nothing here."""
    if text is None:
        return {}
    known = re.fullmatch(
        r"num=(\d+)(/host|/task)?((:mode=(shared|exclusive_process))|(:mps=no)|(:j_exclusive=(yes|no)))*", text
    )
    if not known:
        raise Refused(f"{text}: Bad argument for option -gpu. Job not submitted.")
    return {"gpus": positive("-gpu", known[1]), "gpus_per_task": known[2] == "/task"}


def parse_limits(values: dict[str, str], settings: Settings) -> dict[str, Any]:
    """-q, -W, -wt and -wa."""
    queue = values.get("-q", settings.default_queue)
    if queue not in settings.queues:
        raise Refused(f"{queue}: No such queue. Job not submitted.")
    most = settings.queues[queue]
    limit = minutes("-W", values["-W"]) if "-W" in values else most
    if most is not None and limit is not None and limit > most:
        raise Refused("RUNLIMIT: Cannot exceed queue's hard limit(s). Job not submitted.")
    fields: dict[str, Any] = {"queue": queue, "limit": limit}
    if ("-wt" in values) != ("-wa" in values):
        raise Refused("-wt and -wa must be specified together. Job not submitted.")
    if "-wt" in values:
        fields |= {"warning": minutes("-wt", values["-wt"]), "warning_signal": signal_number(values["-wa"])}
    return fields


def minutes(option: str, text: str) -> int:
    """[hours:]minutes."""
    found = re.fullmatch(r"(?:(\d+):)?(\d+)", text)
    if not found:
        raise Refused(f"{text}: Bad argument for option {option}. Job not submitted.")
    return 60 * int(found[1] or 0) + int(found[2])


def positive(option: str, text: str) -> int:
    """A whole number above 0."""
    if not text.isdigit() or int(text) == 0:
        raise Refused(f"{text}: Bad argument for option {option}. Job not submitted.")
    return int(text)


def signal_number(text: str) -> int:
    """A signal by number, or by name with or without SIG."""
    if text.isdigit():
        return int(text)
    try:
        return signal.Signals[f"SIG{text.removeprefix('SIG')}"]
    except KeyError:
        raise Refused(f"{text}: unknown signal (commands as actions are unknown to this stand-in)") from None
