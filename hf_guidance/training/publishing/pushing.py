"""PushingTrainer: a Trainer that publishes what it saves as whole commits, and whose training survives a push that fails."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Any

from transformers import Trainer
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR, HubStrategy
from transformers.utils import PushInProgress, logging

from hf_guidance.common.hub import create_repo, files_of, upload_files
from hf_guidance.training.publishing.hidden_secrets import secrets_of
from hf_guidance.training.publishing.staging import PREFIX, staged

logger = logging.get_logger(__name__)

_NOT_PUBLISHED = ("_*", f"{PREFIX_CHECKPOINT_DIR}-*")  # as Trainer has it


class PushingTrainer(Trainer):  # type: ignore[misc]
    """Trainer whose pushes are one commit each.

    transformers' own may take several commits where ``hf_xet`` is installed, and two for a checkpoint, between which the
    repo is half new. Here a push is made again where that helps (a busy server, a broken connection), and is a clear error
    where it does not (401, 403, no such revision).

    A push during training (``hub_strategy``) goes on in the background, of files that no later save changes. If it fails, a
    warning says why, training goes on, and the next save is pushed as usual.

    Args:
        *args: As for Trainer.
        **kwargs: As for Trainer.
    """

    def init_hf_repo(self, token: str | None = None, private: bool | None = None, revision: str | None = None) -> None:
        """Make the repo ``hub_model_id`` unless it exists; with ``push_to_hub=True`` this happens before training.

        Raises:
            ValueError: The id is none, or there is no such revision, by default ``hub_revision`` of the arguments.
            PermissionError: The token may not make it.
            ConnectionError: The Hub cannot be reached.
        """
        if not self.is_world_process_zero():
            return
        name = self.args.hub_model_id or Path(self.args.output_dir).absolute().name
        private = self.args.hub_private_repo if private is None else private
        self.hub_model_id = create_repo(
            name, private=private, token=self._token(token), revision=revision or self.args.hub_revision
        )
        self.push_in_progress: Any = None

    def push_to_hub(
        self,
        commit_message: str | None = "End of training",
        blocking: bool = True,
        token: str | None = None,
        revision: str | None = None,
        private: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """Save the model and publish ``output_dir``, without its checkpoints, as one commit.

        A README.md of your own stays, unless something for ``create_model_card`` is given.

        Args:
            commit_message: Message of the commit.
            blocking: False publishes in the background.
            token: Token with the right to write; by default that of the arguments, or of the login.
            revision: Branch; by default ``hub_revision`` of the arguments, or "main".
            private: Whether only its owners see a new repo.
            **kwargs: For ``create_model_card``.

        Returns:
            ``huggingface_hub.CommitInfo``, or a Future of it; None in all processes but the first.

        Raises:
            ValueError: No such revision, a file that holds a token, or content that the server refuses.
            PermissionError: The token may not write.
            ConnectionError: The Hub cannot be reached, after four tries.
        """
        self.callback_handler.on_push_begin(self.args, self.state, self.control)
        if self.hub_model_id is None:
            self.init_hf_repo(token, private, revision)
        self.save_model(_internal_call=True)  # in all processes
        if not self.is_world_process_zero():
            return None
        if kwargs or self._may_replace_card():
            name = (self.args.hub_model_id or Path(self.args.output_dir).name).split("/")[-1]
            self.create_model_card(**{"model_name": name} | self._with_tags(kwargs))
        self._finish_current_push()
        what = {
            "message": commit_message or "End of training", "revision": revision or self.args.hub_revision,
            "token": self._token(token), "secrets": secrets_of(self.args),
        }  # fmt: skip
        files = files_of(self.args.output_dir, _NOT_PUBLISHED)
        if blocking:
            return upload_files(self.hub_model_id, files, **what)  # type: ignore[arg-type]
        return self._background.submit(upload_files, self.hub_model_id, files, **what)  # type: ignore[arg-type]

    def _may_replace_card(self) -> bool:
        """Whether README.md in the output folder is nobody's own; for the subclass that writes cards."""
        return True

    def _push_from_checkpoint(self, checkpoint_folder: str) -> None:
        if not self.is_world_process_zero() or self.args.hub_strategy == HubStrategy.END:
            return
        step = f"step {self.state.global_step}"
        if not self._nothing_in_progress() and not self.args.hub_always_push:
            logger.info(f"{step} is not pushed: the push before it goes on.")
            return
        self.callback_handler.on_push_begin(self.args, self.state, self.control)
        checkpoint, root = Path(checkpoint_folder), Path(self.args.output_dir)
        if self._nothing_in_progress():
            for left in root.glob(f"{PREFIX}*"):  # of a process that was killed
                shutil.rmtree(left, ignore_errors=True)
            self.push_in_progress = PushInProgress([])
        within = {HubStrategy.CHECKPOINT: "last-checkpoint", HubStrategy.ALL_CHECKPOINTS: checkpoint.name}
        try:
            folder = staged(root, checkpoint, within.get(self.args.hub_strategy), _NOT_PUBLISHED)
        except (OSError, ValueError) as error:  # such as a full disk; raised here it would take the checkpoint with it
            logger.warning(f"{step} is not pushed: {error}. Training goes on.")
            return
        job = self._background.submit(self._push, folder, f"Training in progress, {step}")
        self.push_in_progress.jobs.append(job)

    def _push(self, folder: Path, message: str) -> None:
        try:
            upload_files(
                self.hub_model_id, files_of(folder), message=message, revision=self.args.hub_revision,
                token=self._token(None), secrets=secrets_of(self.args),
            )  # fmt: skip
        except Exception as error:  # of a thread: what is not told here is told nowhere
            logger.warning(f"A push failed ({message}): {error} Training goes on; the next save is pushed as usual.")
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    @cached_property
    def _background(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(1, thread_name_prefix="push")  # one after another

    def _nothing_in_progress(self) -> bool:
        pushes = getattr(self, "push_in_progress", None)
        return pushes is None or pushes.is_done()

    def _token(self, token: str | None) -> str | None:
        found: str | None = self.args.hub_token if token is None else token
        return found

    def _with_tags(self, options: dict[str, Any]) -> dict[str, Any]:
        """The options of a card, with the tags of the model beside those given."""
        own, given = getattr(self.model, "model_tags", None), options.get("tags") or []
        if own is None:
            return options
        given = [given] if isinstance(given, str) else list(given)
        return options | {"tags": list(dict.fromkeys([*given, *own]))}
