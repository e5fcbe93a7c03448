"""Detectors of heads, evaluations, training."""

from lens_tools import Wrong, base, cached, cross_entropy, equal, few, fresh, tokens, tool

HEADS = "`hl.HeadScan`, `hl.AttentionCycles` and `hl.PreviousBeat` ask which heads attend to what, and test it"


@tool("Looking for heads", "`head_detector.detect_head`", HEADS)
def detect_head():
    """the share of attention on the previous token"""
    from transformer_lens.head_detector import detect_head as detected

    detected(base(), "a heart beats", "previous_token_head")


@tool(
    "Looking for heads", '`head_detector.compute_head_attention_similarity_score` and the detection patterns, on `cache["pattern", layer]`'
)
def head_patterns():
    """the share of attention on the previous token, summed by hand"""
    from transformer_lens import head_detector

    attention = cached()[1]["pattern", 1][0, 2]
    wanted = head_detector.get_previous_token_head_detection_pattern(tokens()[:1])
    score = head_detector.compute_head_attention_similarity_score(
        attention, detection_pattern=wanted, exclude_bos=False, exclude_current_token=False, error_measure="mul"
    )
    expected = attention.diagonal(-1).sum() / attention.sum()
    if abs(float(score) - float(expected)) > 1e-3:
        raise Wrong(f"the score is {float(score):.3f}, not {float(expected):.3f}")


BETTER = "`hl.Ablation` (loss and what each part is worth), `heartlens finetune` (AUC and calibration by held-out persons)"


@tool("Evaluating and training", "`evals.sanity_check`, `evals.evaluate`, `evals.ioi_eval`", BETTER)
def sanity_check():
    """a loss comes out"""
    from transformer_lens import evals

    evals.sanity_check(base())


@tool(
    "Evaluating and training",
    "`evals.induction_loss`",
    'the loss on a window whose second half repeats the first: `model(tokens, return_type="loss", loss_per_token=True)`',
)
def induction_loss():
    """a loss comes out"""
    from transformer_lens import evals

    evals.induction_loss(base(), device="cpu")


@tool("Evaluating and training", "`utils.lm_cross_entropy_loss`, `utils.lm_accuracy`")
def lm_loss():
    """`torch.nn.functional.cross_entropy`, and counted by hand"""
    from transformer_lens import utils

    logits = cached()[0]
    equal(utils.lm_cross_entropy_loss(logits, tokens()), cross_entropy(logits, tokens()).mean())
    equal(utils.lm_accuracy(logits, tokens()), (logits[:, :-1].argmax(-1) == tokens()[:, 1:]).float().mean())


@tool("Evaluating and training", "`transformer_lens.train.train`")
def train():
    """the loss falls on the windows that were trained on"""
    from torch.utils.data import Dataset
    from transformer_lens.train import HookedTransformerTrainConfig
    from transformer_lens.train import train as trained

    class Two(Dataset):
        def __len__(self):
            return 2

        def __getitem__(self, index):
            return {"tokens": few()[index]}

    options = {"num_epochs": 3, "batch_size": 2, "lr": 1e-3, "optimizer_name": "Adam", "device": "cpu", "wandb": False, "seed": 0}
    model = trained(fresh(), HookedTransformerTrainConfig(**options), Two())
    before, after = (float(each(few(), return_type="loss")) for each in (base(), model))
    if not after < before:
        raise Wrong(f"the loss went from {before:.2f} to {after:.2f}")
