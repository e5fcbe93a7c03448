"""A methods paragraph for a paper, read off a stored result: every number in it is the result's. And the BibTeX of what it cites.

The paragraph names model and weights, what was read, how it was measured, by which rule it was decided, and the software. It is a draft: a
reader of the paper must also know where the recordings come from, which a result does not tell (docs/corpora.md has their citations).
"""

import json
import re
from collections.abc import Mapping
from typing import Any

import xarray as xr

from heartlens.axes import CONTEXT, KINDS
from heartlens.checkpoints.registry import EMBEDDED
from heartlens.findings import Findings, counted
from heartlens.inference.verdict import VERDICT
from heartlens.wording import plain

OF_PACKAGES = {"transformer-lens": "TransformerLens", "torch": "PyTorch", "numpy": "NumPy", "scipy": "SciPy", "numba": "Numba"}
DEVICES = {"cpu": "a CPU", "cuda": "a CUDA device"}
DEFAULTS_OF_READING = {"landmarks": "auto", "polarity": "check", "time_unit": None}
MODEL, SOFTWARE, HOOKS = "davies2024heartgpt", "heartlens", "nanda2022transformerlens"
BIBTEX = {
    MODEL: """@misc{davies2024heartgpt,
  title = {Interpretable Pre-Trained Transformers for Heart Time-Series Data},
  author = {Davies, Harry J. and Monsen, James and Mandic, Danilo P.},
  year = {2024}, eprint = {2407.20775}, archivePrefix = {arXiv}
}""",
    SOFTWARE: """@software{heartlens,
  title = {heartlens: an interpretability toolkit for the heart-signal transformers ECG-PT and PPG-PT},
  author = {{The heartlens authors}},
  year = {2026}, version = {VERSION}
}""",
    HOOKS: """@misc{nanda2022transformerlens,
  title = {TransformerLens},
  author = {Nanda, Neel and Bloom, Joseph},
  year = {2022}, howpublished = {\\url{https://github.com/TransformerLensOrg/TransformerLens}}
}""",
    "benjamini1995": """@article{benjamini1995,
  title = {Controlling the False Discovery Rate: A Practical and Powerful Approach to Multiple Testing},
  author = {Benjamini, Yoav and Hochberg, Yosef},
  journal = {Journal of the Royal Statistical Society: Series B}, volume = {57}, number = {1}, pages = {289--300}, year = {1995}
}""",
    "fieller1954": """@article{fieller1954,
  title = {Some Problems in Interval Estimation},
  author = {Fieller, E. C.},
  journal = {Journal of the Royal Statistical Society: Series B}, volume = {16}, number = {2}, pages = {175--185}, year = {1954}
}""",
    "mackinnon1985": """@article{mackinnon1985,
  title = {Some Heteroskedasticity-Consistent Covariance Matrix Estimators with Improved Finite Sample Properties},
  author = {MacKinnon, James G. and White, Halbert},
  journal = {Journal of Econometrics}, volume = {29}, number = {3}, pages = {305--325}, year = {1985}
}""",
    "adebayo2018": """@inproceedings{adebayo2018,
  title = {Sanity Checks for Saliency Maps},
  author = {Adebayo, Julius and Gilmer, Justin and Muelly, Michael and Goodfellow, Ian and Hardt, Moritz and Kim, Been},
  booktitle = {Advances in Neural Information Processing Systems}, volume = {31}, year = {2018}
}""",
    "wang2022": """@misc{wang2022,
  title = {Interpretability in the Wild: a Circuit for Indirect Object Identification in {GPT-2} small},
  author = {Wang, Kevin and Variengien, Alexandre and Conmy, Arthur and Shlegeris, Buck and Steinhardt, Jacob},
  year = {2022}, eprint = {2211.00593}, archivePrefix = {arXiv}
}""",
    "conmy2023": """@misc{conmy2023,
  title = {Towards Automated Circuit Discovery for Mechanistic Interpretability},
  author = {Conmy, Arthur and Mavor-Parker, Augustine N. and Lynch, Aengus and Heimersheim, Stefan and Garriga-Alonso, Adri{\\`a}},
  year = {2023}, eprint = {2304.14997}, archivePrefix = {arXiv}
}""",
}
CITED_FOR = {  # what the words of a paragraph cite
    r"Benjamini-Hochberg|Benjamini & Hochberg": "benjamini1995",
    r"Fieller": "fieller1954",
    r"\bHC3\b": "mackinnon1985",
    r"weights in random order|weights changed at random": "adebayo2018",
    r"Wang et al\. 2022": "wang2022",
    r"Conmy et al\. 2023": "conmy2023",
}


def paragraph(findings: Findings, summary: xr.Dataset) -> str:
    """The methods paragraph of a result, one paragraph of plain text; keys in brackets are those of `bibtex`."""
    attrs = summary.attrs
    sentences = [
        f"We asked: {findings.question[:1].lower()}{findings.question[1:]}",
        _model(attrs),
        _data(attrs),
        *findings.methods,
        *_decisions(summary),
        _software(attrs),
    ]
    text = " ".join(sentence.strip() if sentence.strip()[-1:] in ".?" else f"{sentence.strip()}." for sentence in sentences if sentence)
    for pattern, key in CITED_FOR.items():
        text = re.sub(f"({pattern})", rf"\1 [{key}]", text, count=1)
    return text


def bibtex(text: str, attrs: Mapping[Any, Any]) -> str:
    """The BibTeX entries of all keys that a paragraph cites, in its order."""
    version = str(json.loads(attrs.get("versions", "{}")).get("heartlens", ""))
    keys = dict.fromkeys(key for key in re.findall(r"\[([a-z0-9]+)\]", text) if key in BIBTEX)
    return "\n\n".join(BIBTEX[key].replace("VERSION", version) for key in keys)


def _model(attrs: Mapping[Any, Any]) -> str:
    """Which weights, whose, and how they were run; nothing where no model ran."""
    if "checkpoint" not in attrs:
        return ""
    hashes = [
        f"{what} {attrs[name]}"
        for name, what in (("checkpoint_sha256", "SHA-256 of the file"), ("checkpoint_fingerprint", "of the tensors"))
        if attrs.get(name)
    ]
    task = attrs.get("checkpoint_task") or "next-token prediction"
    whose = ", trained on simulated signals alone, of the architecture of" if attrs["checkpoint"] in EMBEDDED else ","
    edited = f" Edits of the model were in force: {attrs['edits']}." if attrs.get("edits") else ""
    processed = attrs.get("checkpoint_processing", "none")
    folded = "" if processed in ("none", "unknown", "") else f", with weights processed ({processed})"
    return (
        f"The model was {attrs['checkpoint']} ({task}; {'; '.join(hashes)}){whose} [{MODEL}]{folded}"
        + (f", run by the {attrs['engine']} engine on {DEVICES.get(attrs['device'], attrs['device'])}." if "engine" in attrs else ".")
        + edited
    )


def _data(attrs: Mapping[Any, Any]) -> str:
    """What was read: how many windows, records and persons, how, and what was left out."""
    kind = KINDS[str(attrs["data_kind"])]
    read = json.loads(attrs.get("data_options") or "{}")
    windows = f"{int(attrs['n_windows'])} windows of {CONTEXT} tokens ({CONTEXT / kind.rate_hz:g} s at {kind.rate_hz:g} Hz)"
    of = f" of {counted(attrs)}"
    if attrs.get("data_is_simulated"):
        rhythms = ", ".join(read.get("rhythms", []))
        return f"It read {windows}{of}: simulated {kind.name.upper()}{f' ({rhythms})' if rhythms else ''}, not recordings of people."
    given = {
        name: value
        for name, value in read.items()
        if name not in ("kind", "source") and value not in (None, False, [], "", DEFAULTS_OF_READING.get(name))
    }
    how = "; ".join(plain(name) if value is True else f"{plain(name)}: {_listed(value)}" for name, value in given.items())
    unit = "persons" if attrs.get("n_persons") else "recordings, as no persons are known"
    skipped = "; ".join(str(attrs.get("data_skipped", "")).splitlines())
    return (
        f"It read {windows}{of} ({kind.name.upper()}{f'; {how}' if how else ''}; SHA-256 of all windows {attrs['data_sha256']}); "
        f"the unit of all statistics are {unit}.{f' Left out: {skipped}.' if skipped else ''}"
    )


def _listed(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _decisions(summary: xr.Dataset) -> list[str]:
    """For each claim: what it is, of which effect, its null value, the smallest effect of interest, and all that was searched."""
    sentences = []
    for name in (str(name) for name in summary.data_vars if str(name).endswith(VERDICT)):
        about = summary[name].attrs
        if "claim" not in about:
            continue
        effect, unit = plain(about.get("effect") or name.removesuffix(VERDICT)), plain(about.get("unit", ""))
        told = {  # what claims of one name do not share (the unit of several readouts) is not in their attributes
            "effect": effect if unit in ("", effect) else f"{effect}, {unit}",
            "null value": f"{float(about['null']):g}" if "null" in about else "",
            "smallest effect of interest": f"{float(about['smallest']):g} from it" if "smallest" in about else "",
            "searched": str(about.get("family", "")),
            "twins": str(int(about["n_twins"])) if "n_twins" in about else "",
        }
        sentences.append(f"Claim: {about['claim']} ({'; '.join(f'{what}: {value}' for what, value in told.items() if value)}).")
    return sentences


def _software(attrs: Mapping[Any, Any]) -> str:
    """The versions, the options and the seed."""
    versions = json.loads(attrs.get("versions", "{}"))
    commit = f" (commit {attrs['git_commit']})" if attrs.get("git_commit") else ""
    packages = ", ".join(
        f"{name} {versions[package]}{f' [{HOOKS}]' if package == 'transformer-lens' else ''}"
        for package, name in OF_PACKAGES.items()
        if package in versions
    )
    options = ", ".join(f"{plain(name)} {_listed(value)}" for name, value in json.loads(attrs["options"]).items())
    return f"Computed with heartlens {versions.get('heartlens', '')}{commit} [{SOFTWARE}], {packages}; options: {options}."
