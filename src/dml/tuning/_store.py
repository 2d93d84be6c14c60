"""The trials of a study, kept by Optuna in a journal that several processes share."""

import contextlib
import time
import warnings
from collections.abc import Iterator, Sequence

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from dml._storage.locks import locked
from dml._storage.study_folder import StudyFolder
from dml.errors import BusyError, DataError
from dml.tuning._limits import Limits
from dml.tuning._phases import Phase
from dml.tuning._ranges import Choice, Domain, Value
from dml.tuning._trials import Trial

_RANDOM = 8  # random trials before the sampler learns from them
_COMPLETE, _WARM_UP = 4, 1  # complete trials before others are pruned, and their first validations
_PAUSE = 0.1  # seconds between two attempts to lock the study


class OpenTrial:
    """A trial that this process is to train; others leave it alone until the process ends.

    Args:
        study: Optuna's study.
        trial: Its trial.
        number: As in `Trial`, like the others.
        stage: The stage of the training.
        own: Whether the options are the recipe's own.
        options: {"section.option": value}.
    """

    def __init__(
        self,
        study: optuna.Study,
        trial: optuna.Trial,
        number: int,
        stage: str,
        own: bool,
        options: dict[str, Value],
    ):
        self.number, self.stage, self.own, self.options = number, stage, own, options
        self._study, self._trial = study, trial
        self._reported = 0

    def report(self, scores: list[float]) -> bool:
        """Returns whether the trial should be pruned.

        Args:
            scores: All validation scores so far.
        """
        for step in range(self._reported, len(scores)):
            self._trial.report(scores[step], step)
        self._reported = len(scores)
        return bool(scores) and not self.own and self._trial.should_prune()

    def finish(self, trial: Trial) -> None:
        """Ends the trial; one that is not ended is continued later.

        Args:
            trial: What became of it.
        """
        for name in ("state", "score", "seconds", "reason"):
            self._trial.set_user_attr(name, getattr(trial, name))
        if trial.state == "complete":
            self._study.tell(self._trial, trial.score)
        else:  # the sampler learns from the others, too
            self._study.tell(self._trial, state=TrialState.PRUNED)


class TrialStore:
    """The journal of a study. `trials` is called inside `alone`, `next` outside.

    Args:
        folder: The study's.
        phases: The phases of the study, in order.
        seed: The seed of the sampler; in a single process the trials depend on nothing else.

    Raises:
        DataError: The journal is damaged.
    """

    def __init__(self, folder: StudyFolder, phases: Sequence[Phase], seed: int):
        self._folder, self._phases, self._seed = folder, phases, seed
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        try:
            # Its lock is a link to the journal, which must be an absolute path to be found.
            backend = JournalFileBackend(str(folder.journal.resolve()))
            self._storage = JournalStorage(backend)
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(folder.journal, f"damaged: {error}; start another study") from None

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Waits until no other process takes a trial or writes the study's files."""
        while True:
            with contextlib.ExitStack() as stack:
                try:
                    stack.enter_context(locked(self._folder.lock, str(self._folder.path)))
                except BusyError:
                    time.sleep(_PAUSE)
                    continue
                yield
                return

    @contextlib.contextmanager
    def next(self, limits: Limits) -> Iterator[OpenTrial | None]:
        """Yields a trial to train; None if there are none left.

        Those that other processes left behind come first. A trial that the block does not finish,
        because of an error or Ctrl-C, is continued later.

        Args:
            limits: The limits of the study.
        """
        with contextlib.ExitStack() as stack:
            with self.alone():
                opened = next((o for p in self._phases if (o := self._ask(p, limits))), None)
                if opened is not None:
                    running = self._folder.running(opened.number)
                    stack.enter_context(locked(running, str(running)))
            yield opened

    def trials(self) -> list[Trial]:
        """Returns the trials that have begun, in order."""
        begun = self._begun()
        return [trial for trial in self._known() if trial.number in begun]

    def _known(self) -> list[Trial]:
        """Returns the trials in order, with those that are only queued."""
        found = {}
        for phase in self._phases:
            for trial in self._study(phase).get_trials(deepcopy=False):
                number = trial.user_attrs.get("number")
                if number is not None:  # a later attempt takes the place of an earlier one
                    found[number] = self._read(number, phase, trial)
        return [found[number] for number in sorted(found)]

    def _begun(self) -> set[int]:
        """Returns the numbers of the trials that have begun, whether they have ended or not."""
        trials = (t for p in self._phases for t in self._study(p).get_trials(deepcopy=False))
        return {
            trial.user_attrs["number"]
            for trial in trials
            if trial.state != TrialState.WAITING and "number" in trial.user_attrs
        }

    def _study(self, phase: Phase, seed: int = 0) -> optuna.Study:
        """Returns Optuna's study of a phase, with a sampler of this seed."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            sampler = optuna.samplers.TPESampler(
                n_startup_trials=_RANDOM,
                multivariate=True,
                group=True,  # a loss's options are drawn together with that loss only
                constant_liar=True,  # so that processes try different things
                seed=seed,
            )
        return optuna.create_study(
            study_name=phase.stage,
            storage=self._storage,
            sampler=sampler,
            pruner=optuna.pruners.MedianPruner(_COMPLETE, n_warmup_steps=_WARM_UP),
            direction="maximize",
            load_if_exists=True,
        )

    def _requeue(self, study: optuna.Study) -> None:
        """Queues the trials again whose process has ended."""
        for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            number = trial.user_attrs.get("number")
            if number is None or self._left(number):
                study.tell(trial.number, state=TrialState.FAIL)
                if number is not None:
                    params = {**trial.system_attrs.get("fixed_params", {}), **trial.params}
                    study.enqueue_trial(params, user_attrs=trial.user_attrs)

    def _left(self, number: int) -> bool:
        """Returns whether no process keeps a running trial locked."""
        try:
            with locked(self._folder.running(number), ""):
                return True
        except BusyError:
            return False

    def _ask(self, phase: Phase, limits: Limits) -> OpenTrial | None:
        """Returns the next trial of a phase; None if it has ended."""
        study = self._study(phase)
        self._requeue(study)
        waiting = study.get_trials(deepcopy=False, states=(TrialState.WAITING,))
        begun = self._begun()
        interrupted = any(trial.user_attrs["number"] in begun for trial in waiting)
        if limits.over(phase.share) or (len(begun) >= limits.trials and not interrupted):
            return None
        known = self._known()
        if not study.get_trials(deepcopy=False):
            for place, params in enumerate(phase.first(known)):
                attributes = {"number": len(known) + place, "own": not place}
                study.enqueue_trial(params, user_attrs=attributes)
            known = self._known()
            waiting = study.get_trials(deepcopy=False, states=(TrialState.WAITING,))
        if not waiting and len(known) >= phase.share * limits.trials:
            return None
        # A sampler of its own for each trial: a study that was interrupted goes on as it would
        # have done without.
        study = self._study(phase, seed=(self._seed * 100_003 + len(known)) % 2**32)
        trial = study.ask()
        if "number" not in trial.user_attrs:
            trial.set_user_attr("number", len(known))
        options = phase.drawn(lambda name, domain: _suggest(trial, name, domain))
        trial.set_user_attr("options", options)
        own = trial.user_attrs.get("own", False)
        return OpenTrial(study, trial, trial.user_attrs["number"], phase.stage, own, options)

    def _read(self, number: int, phase: Phase, trial: FrozenTrial) -> Trial:
        attributes = trial.user_attrs
        if trial.state == TrialState.RUNNING and not self._left(number):
            state = "running"
        else:
            state = attributes.get("state", "interrupted")
        return Trial(
            number=number,
            stage=phase.stage,
            own=attributes.get("own", False),
            state=state,
            options=attributes.get("options", {}),
            score=attributes.get("score"),
            seconds=attributes.get("seconds", 0.0),
            reason=attributes.get("reason", ""),
            run=self._folder.run(number).path,
        )


def _suggest(trial: optuna.Trial, name: str, domain: Domain) -> Value:
    """Returns what a trial draws of a domain."""
    if isinstance(domain, Choice):
        return trial.suggest_categorical(name, domain.values)
    if domain.whole:
        return trial.suggest_int(name, int(domain.low), int(domain.high), log=domain.log)
    return trial.suggest_float(name, domain.low, domain.high, log=domain.log)
