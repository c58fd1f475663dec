"""List of the paper's claims: location, the paper's values, and the rule that judges each claim."""

from __future__ import annotations

from dataclasses import dataclass

from bench.spec import FULL
from reports.claims import criteria, layer_criteria, printed_ranges, setting_criteria
from reports.claims.criteria import Criterion

WINDOWS = ("window 20", "window 40", "window 50")
SIZES = ("size 512", "size 2048", "size 4096")
ABOUT_HALF = 0.45  # smallest share that rounds to 0.5
STARTS = ("t0 0.3", "t0 0.4", "t0 0.6")


@dataclass(frozen=True)
class Claim:
    """Claim of the paper, with the rule that judges it.

    text: the claim.
    where: section, table or figure of the paper that states the claim.
    printed: the values that the paper prints, as text.
    """

    text: str
    where: str
    printed: str
    criterion: Criterion


def list_claims() -> tuple[Claim, ...]:
    """Return all claims in the order of the paper's tables."""
    return (
        *_list_oracle(),
        *_list_fine_tuning_against_full(),
        *_list_fine_tuning_against_rivals(),
        *_list_from_scratch(),
        *_list_behaviour(),
        *_list_predictor_settings(),
        *_list_texts(),
        *_list_appendix(),
    )


def _list_oracle() -> tuple[Claim, ...]:
    """Return the claims of Table 1."""
    return (
        Claim(
            "Freezing guided by similarity to a trained reference loses no accuracy.",
            "Section 3.4, Table 1",
            printed_ranges.format_differences(1, "cka_oracle", FULL),
            criteria.require_no_worse("table1", "cka_oracle", FULL),
        ),
        Claim(
            "Freezing guided by similarity saves 44 to 48 % of the computation.",
            "Section 3.4, Table 1",
            printed_ranges.format_savings(1, "cka_oracle", FULL, "tflops"),
            criteria.require_saving(
                "table1", "cka_oracle", FULL, "paper_total", "FLOPs",
                min(printed_ranges.compute_shares(1, "cka_oracle", FULL, "tflops")),
            ),
        ),
    )  # fmt: skip


def _list_fine_tuning_against_full() -> tuple[Claim, ...]:
    """Return the claims of Table 2 that compare SmartFRZ with full training."""
    return (
        Claim(
            "Fine-tuning with SmartFRZ loses no accuracy compared with full training.",
            "Section 4.2, Table 2",
            printed_ranges.format_differences(2, "smartfrz", FULL),
            criteria.require_no_worse("table2", "smartfrz", FULL),
        ),
        Claim(
            "SmartFRZ saves computation compared with full training.",
            "Section 4.2, Table 2",
            printed_ranges.format_savings(2, "smartfrz", FULL, "tflops"),
            criteria.require_saving("table2", "smartfrz", FULL, "paper_total", "FLOPs"),
        ),
        Claim(
            "SmartFRZ saves training time compared with full training.",
            "Section 4.2, Table 2",
            printed_ranges.format_savings(2, "smartfrz", FULL, "time_s"),
            criteria.require_saving("table2", "smartfrz", FULL, "time_s", "training time"),
        ),
    )  # fmt: skip


def _list_fine_tuning_against_rivals() -> tuple[Claim, ...]:
    """Return the claims on time, and those of Table 2 that compare SmartFRZ with other methods."""
    return (
        Claim(
            "Freezing speeds up training almost as much as it saves computation.",
            "Section 2",
            printed_ranges.format_realised(2, "smartfrz"),
            criteria.require_realised("table2", "smartfrz", 0.9),
        ),
        Claim(
            "At the same cost SmartFRZ is more accurate than linear freezing.",
            "Section 4.2, Table 2",
            printed_ranges.format_differences(2, "smartfrz", "linear"),
            criteria.require_better("table2", "smartfrz", "linear"),
        ),
        Claim(
            "SmartFRZ is nowhere less accurate than linear freezing.",
            "Section 4.2, Table 2",
            printed_ranges.format_differences(2, "smartfrz", "linear"),
            criteria.require_no_worse("table2", "smartfrz", "linear", each=True),
        ),
        Claim(
            "SmartFRZ is as accurate as AutoFreeze.",
            "Section 4.2, Table 2",
            printed_ranges.format_differences(2, "smartfrz", "autofreeze"),
            criteria.require_no_worse("table2", "smartfrz", "autofreeze"),
        ),
        Claim(
            "SmartFRZ takes less time than AutoFreeze.",
            "Section 4.2, Table 2",
            printed_ranges.format_savings(2, "smartfrz", "autofreeze", "time_s"),
            criteria.require_saving("table2", "smartfrz", "autofreeze", "time_s", "training time"),
        ),
        Claim(
            "AutoFreeze spends 3 to 20 % of training time on its gradient norms.",
            "Section 4.2",
            "3 % (VGG11), 11 % (DeiT-T), 12 % (MobileNetV2), 20 % (ResNet50)",
            criteria.require_decide_share("table2", "autofreeze", 0.03, 0.20),
        ),
        Claim(
            "SmartFRZ's predictor takes less than 0.1 % of training time.",
            "Appendix C",
            "less than 0.1 %",
            criteria.require_decide_share("table2", "smartfrz", 0.0, 0.001),
        ),
    )  # fmt: skip


def _list_from_scratch() -> tuple[Claim, ...]:
    """Return the claims of Table 3."""
    return (
        Claim(
            "From scratch, SmartFRZ loses no accuracy compared with full training.",
            "Section 4.2, Table 3",
            printed_ranges.format_differences(3, "smartfrz", FULL),
            criteria.require_no_worse("table3", "smartfrz", FULL),
        ),
        Claim(
            "From scratch, SmartFRZ saves training time.",
            "Section 4.2, Table 3",
            printed_ranges.format_savings(3, "smartfrz", FULL, "time_min"),
            criteria.require_saving("table3", "smartfrz", FULL, "time_s", "training time"),
        ),
        Claim(
            "From scratch, SmartFRZ is more accurate than linear freezing and AutoFreeze.",
            "Section 4.2, Table 3",
            f"linear: {printed_ranges.format_differences(3, 'smartfrz', 'linear')}; "
            f"AutoFreeze: {printed_ranges.format_differences(3, 'smartfrz', 'autofreeze')}",
            criteria.require_all(
                criteria.require_better("table3", "smartfrz", "linear"),
                criteria.require_better("table3", "smartfrz", "autofreeze"),
            ),
        ),
    )  # fmt: skip


def _list_behaviour() -> tuple[Claim, ...]:
    """Return the claims of Figure 5."""
    return (
        Claim(
            "SmartFRZ cuts memory by more than 80 % (ResNet50).",
            "Section 4.3, Figure 5a",
            "more than 80 %",
            layer_criteria.require_memory_saving(["resnet50"], 0.8),
        ),
        Claim(
            "SmartFRZ cuts memory by about 50 % or more (VGG11, MobileNetV2).",
            "Section 4.3, Figure 5a",
            "about 50 %",
            layer_criteria.require_memory_saving(["vgg11", "mobilenet_v2"], ABOUT_HALF),
        ),
        Claim(
            "Some later layers freeze before earlier ones.",
            "Section 4.3, Figure 5b",
            "some layers do (ResNet50)",
            layer_criteria.require_inversions("resnet50"),
        ),
        Claim(
            "The front layers tend to freeze first.",
            "Section 4.3, Figure 5b",
            "the front layers do (ResNet50)",
            layer_criteria.require_front_first("resnet50"),
        ),
    )  # fmt: skip


def _list_predictor_settings() -> tuple[Claim, ...]:
    """Return the claims of Tables 4 and 5."""
    return (
        Claim(
            "The window size has little effect on accuracy.",
            "Section 4.4, Table 4",
            f"largest difference from window 30: {printed_ranges.format_spread(4, 'window', 30)}",
            setting_criteria.require_similar("table4", WINDOWS, "window 30", 1.0),
        ),
        Claim(
            "The tailored size changes accuracy by less than 1 %.",
            "Section 4.4, Table 5",
            "largest difference from size 1,024: "
            f"{printed_ranges.format_spread(5, 'tailored_size', 1024)}",
            setting_criteria.require_similar("table5", SIZES, "size 1024", 1.0),
        ),
    )  # fmt: skip


def _list_texts() -> tuple[Claim, ...]:
    """Return the claims of Table 6."""
    return (
        Claim(
            "Fine-tuning BERT with SmartFRZ loses no accuracy.",
            "Appendix A.1, Table 6",
            printed_ranges.format_differences(6, "smartfrz", FULL),
            criteria.require_no_worse("table6", "smartfrz", FULL),
        ),
        Claim(
            "On BERT, SmartFRZ is more accurate than linear freezing and AutoFreeze.",
            "Appendix A.1, Table 6",
            f"linear: {printed_ranges.format_differences(6, 'smartfrz', 'linear')}; "
            f"AutoFreeze: {printed_ranges.format_differences(6, 'smartfrz', 'autofreeze')}",
            criteria.require_all(
                criteria.require_better("table6", "smartfrz", "linear"),
                criteria.require_better("table6", "smartfrz", "autofreeze"),
            ),
        ),
    )  # fmt: skip


def _list_appendix() -> tuple[Claim, ...]:
    """Return the claims of Tables 7 to 9."""
    return (
        Claim(
            "Training DeiT-T from scratch with SmartFRZ loses no accuracy.",
            "Appendix A.2, Table 7",
            printed_ranges.format_differences(7, "smartfrz", FULL),
            criteria.require_no_worse("table7", "smartfrz", FULL),
        ),
        Claim(
            "Linear freezing is best at t0 = 0.5.",
            "Appendix B, Table 8",
            printed_ranges.format_lead(8, "t0", 0.5, 0.3, 0.4, 0.6),
            setting_criteria.require_best("table8", STARTS, "t0 0.5"),
        ),
        Claim(
            "AutoFreeze with 4 decisions per epoch is as accurate as with fewer decisions.",
            "Appendix B, Table 9",
            printed_ranges.format_lead(9, "M", 4, 2, 3),
            criteria.require_all(
                criteria.require_no_worse("table9", "M 4", "M 2"),
                criteria.require_no_worse("table9", "M 4", "M 3"),
            ),
        ),
    )  # fmt: skip
