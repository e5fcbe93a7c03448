"""Join shards: the tallies that `--shard I/N` wrote, added, and the result written as one run would have.

Refuses shards of other checkpoints, options, versions or lists of recordings, a shard or a recording given twice, and missing shards unless
--partial. The checkpoint is needed once more, to measure its twins on the few windows that were chosen from all shards: none of
them alone knows which. So the result is that of one run over all recordings, to the same bits.
"""

import argparse
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

from heartlens.cli import refuse_existing, report_findings
from heartlens.exits import exit_code, leave
from heartlens.folder import Folder
from heartlens.gather import Gathered
from heartlens.parser import Parser, add_device, add_format, add_json, add_offline, add_quiet, path_given
from heartlens.partial import OF_ONE_RUN, Shard, shard_named
from heartlens.parts import parts_in
from heartlens.refusal import Refusal
from heartlens.results import analysis_of
from heartlens.store import read_gathered, refuse_other_meaning, refuse_twice
from heartlens.tally import counted_twice

MEANING = (*OF_ONE_RUN, "n_recordings", "recordings_sha256")


def main() -> NoReturn:
    """Join the shards of the command line and leave with the exit code."""
    leave(lambda: run_command(sys.argv[1:]))


def run_command(arguments: list[str]) -> int:
    """The exit code of the command with `arguments`."""
    return exit_code(lambda: _run(_parse(arguments)))


def merged(paths: Iterable[Path], *, is_partial: bool = False) -> tuple[Gathered, dict[str, Any]]:
    """What the shards in `paths` (folders or files) gathered together, and their run's attributes. The module says what is refused."""
    total, attrs = Gathered(), dict[str, Any]()
    shards: dict[Shard, Path] = {}
    for path in paths:
        file = path / "tally.nc" if path.is_dir() else path
        gathered, _, own = read_gathered(file)
        if not own["shard"]:
            raise Refusal(f"{file} is what a stopped run has saved, not a shard; finish that run with --resume")
        shard = shard_named(own["shard"])
        if attrs:
            refuse_other_meaning(attrs, own, MEANING)
        if shards and shard.n_shards != next(iter(shards)).n_shards:
            raise Refusal(
                f"{file} is shard {shard}, and {next(iter(shards.values()))} is shard {next(iter(shards))}: these do not fit together"
            )
        if shard in shards:
            raise Refusal(f"{shards[shard]} and {file} are both shard {shard}; give it once")
        refuse_twice(counted_twice(total.tally, gathered.tally))
        shards[shard] = file
        total, attrs = total + gathered, attrs or own
    return _with_missing(total, set(shards), is_partial), attrs


def _with_missing(total: Gathered, shards: set[Shard], is_partial: bool) -> Gathered:
    n_shards = next(iter(shards)).n_shards
    missing = [str(shard) for number in range(1, n_shards + 1) if (shard := Shard(number, n_shards)) not in shards]
    if not missing:
        return total
    if not is_partial:
        raise Refusal(f"missing: shard {', '.join(missing[:8])}{' and more' if len(missing) > 8 else ''}; --partial joins the others")
    note = f"only {len(shards)} of {n_shards} shards of the recordings; missing: {', '.join(missing)}"
    read = replace(total.read, notes=total.read.notes | {note}, skipped=(*total.read.skipped, ("missing shard", len(missing))))
    return replace(total, read=read)


def _parse(arguments: list[str]) -> argparse.Namespace:
    about = __doc__ or ""
    parser = Parser(prog="heartlens merge", description=about, allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shards", nargs="+", type=path_given, metavar="SHARD", help="the folders of all shards, or their tally.nc")
    parser.add_argument("--out", type=path_given, required=True, metavar="FOLDER", help="where the results go")
    parser.add_argument("--partial", action="store_true", help="join the shards there are; the result says which are missing")
    parser.add_argument("--checkpoint", metavar="FILE", help="where the checkpoint lies, if not where the shards found it")
    add_format(parser)
    parser.add_argument("--overwrite", action="store_true", help="replace results in the output folder")
    add_json(parser)
    add_device(parser)
    add_offline(parser)
    add_quiet(parser)
    return parser.strict(arguments)


def _run(options: argparse.Namespace) -> int:
    with Folder(options.out) as folder:
        refuse_existing(folder, overwrite=options.overwrite)
        total, attrs = merged(options.shards, is_partial=options.partial)
        from heartlens import analysis as frame
        from heartlens import session

        analysis = analysis_of(attrs, "the shards")
        subject = _subject(options, attrs)
        folder.claim()
        measured = frame.finished(analysis, subject, total, about={name: attrs[name] for name in ("data_options", "names", "command")})
        made = session.Made(measured, frame.summarize(analysis, measured), total.n_lost)
        return report_findings(analysis, made, session.write(analysis, made, folder, options.format), options)


def _subject(options: argparse.Namespace, attrs: dict[str, Any]) -> Any:
    """The model that the shards were measured on. Refuses other weights."""
    from heartlens.models.load import load_subject

    given = options.checkpoint or _beside(options.shards, str(attrs["checkpoint_given"]))
    try:
        chosen = {"device": options.device, "engine": str(attrs["engine"]), "ablate": parts_in(str(attrs.get("ablate", "")))}
        subject = load_subject(given, **chosen)
    except Refusal as refusal:
        if options.checkpoint:
            raise
        raise Refusal(f"{refusal}; the shards were measured on {attrs['checkpoint']}: name its file with --checkpoint") from refusal
    if subject.origin.fingerprint != attrs["checkpoint_fingerprint"]:
        raise Refusal(
            f"{subject.origin.checkpoint} has other weights than {attrs['checkpoint']} that the shards were measured on; "
            "name that file with --checkpoint"
        )
    return subject


def _beside(shards: list[Path], checkpoint: str) -> str:
    """A file of the checkpoint's name in this folder, in the folders of the shards or in those above; else the name as it is."""
    folders = [Path(), *(shard if shard.is_dir() else shard.parent for shard in shards)]
    files = (folder / checkpoint for each in folders for folder in (each, each.absolute().parent))
    return str(next((file for file in files if file.is_file()), checkpoint))


if __name__ == "__main__":
    main()
