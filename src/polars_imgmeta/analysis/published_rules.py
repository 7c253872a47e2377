"""The default rules, and those of other tools.

Shares are those of 174 photos (the 24 of Kodak, and every fourth of 600 of the clothing data set
of A. Grigorev), as they are and made worse, as JPEG; `benchmarks/rules.py` measures them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final, Literal, TypeAlias

from polars_imgmeta.analysis.checks import GroupBounds
from polars_imgmeta.analysis.rule_sets import RuleSet
from polars_imgmeta.analysis.rules import AnyRule, OutlierRule, Rule
from polars_imgmeta.exceptions import PropertyError, hint

_CLEANVISION = "CleanVision 0.3.7"
# Of a grey image CleanVision takes the entropy of one channel, the property that of three equal
# ones, which is higher by the binary logarithm of 3; a tenth of it is the score.
_GREY_ENTROPY = 0.1 * math.log2(3)

_DEFAULT = (
    Rule(
        name="dark",
        property="brightness",
        below=0.2,
        severity="high",
        reason="the picture is dark",
        source="measured: 0 % of the photos, 59 % of those underexposed by 3 stops, 99 % by 4",
    ),
    Rule(
        name="bright",
        property="brightness",
        above=0.85,
        severity="high",
        reason="the picture is very bright",
        source="measured: 0 % of the photos, 52 % of those overexposed by 3 stops",
    ),
    Rule(
        name="blurred",
        property="blur",
        below=30,
        severity="high",
        reason="the picture is out of focus, shaken or enlarged",
        source="measured: 1 % of the photos, 100 % of those blurred by 2 pixels",
    ),
    Rule(
        name="low_information",
        property="grey_entropy",
        below=4,
        severity="high",
        reason="the picture has few grey levels, as blank pages and placeholders do",
        source="measured: 0 % of the photos",
    ),
    OutlierRule(
        name="odd_size",
        property="size",
        method="ratio",
        factor=10,
        reason="the image has a tenth or ten times of the pixels that others have",
        source="ten times the median",
    ),
    Rule(
        name="odd_aspect_ratio",
        property="aspect_ratio",
        below=0.35,
        above=1 / 0.35,
        reason="the image is a narrow strip",
        source=_CLEANVISION,
    ),
    OutlierRule(
        name="greyscale",
        property="is_greyscale",
        method="quartiles",
        side="above",
        severity="low",
        reason="the picture is grey, and three quarters of the others have colours",
        source="Tukey's fence, which lets one image in four be grey",
    ),
    Rule(
        name="border",
        property="border",
        above=0.1,
        reason="a uniform border surrounds the picture",
        source="measured: 0 % of the photos, 100 % of those with bars of 20 %",
    ),
    Rule(
        name="clipped_shadows",
        property="shadow_clipping",
        above=0.2,
        reason="large areas are black, without detail",
        source="measured: 0 % of the photos",
    ),
    Rule(
        name="clipped_highlights",
        property="highlight_clipping",
        above=0.2,
        reason="large areas are white, without detail",
        source="measured: 1 % of the photos, 75 % of those overexposed by 2 stops",
    ),
    Rule(
        name="noisy",
        property="noise",
        above=10,
        reason="the picture is noisy",
        source="measured: 0 % of the photos, 100 % of those with noise of 20 grey levels",
    ),
)

_OF_CLEANVISION = (
    Rule(
        name="dark",
        property="cleanvision_dark",
        below=0.32,
        reason="hardly a pixel is bright",
        source=_CLEANVISION,
    ),
    Rule(
        name="light",
        property="cleanvision_light",
        below=0.05,
        reason="hardly a pixel is dark",
        source=_CLEANVISION,
    ),
    Rule(
        name="low_information",
        property="cleanvision_low_information",
        below=GroupBounds("mode", {"L": 0.3 + _GREY_ENTROPY}, default=0.3),
        reason="the picture has few colours",
        source=_CLEANVISION,
    ),
    Rule(
        name="blurry",
        property="cleanvision_blurry",
        below=0.29,
        reason="the picture has weak edges",
        source=_CLEANVISION,
    ),
    Rule(
        name="odd_aspect_ratio",
        property="cleanvision_odd_aspect_ratio",
        below=0.35,
        reason="the image is a narrow strip",
        source=_CLEANVISION,
    ),
    OutlierRule(
        name="odd_size",
        property="cleanvision_size",
        method="quartiles",
        factor=3,
        minimum=1,
        reason="the image is of another size than most",
        source=_CLEANVISION,
    ),
    Rule(
        name="grayscale",
        property="mode",
        equals="L",
        severity="low",
        reason="the file has a single grey channel",
        source=_CLEANVISION,
    ),
)

RuleSetName: TypeAlias = Literal["default", "cleanvision"]
"""A named rule set."""

RULE_SETS: Final[dict[RuleSetName, RuleSet]] = {
    "default": RuleSet(_DEFAULT),
    "cleanvision": RuleSet(_OF_CLEANVISION),
}
"""Named rule sets: ours, and CleanVision's with the same verdicts."""


RulesLike: TypeAlias = RuleSet | AnyRule | Iterable[AnyRule] | RuleSetName
"""Rules, or the name of a rule set."""


def as_rule_set(rules: RulesLike) -> RuleSet:
    """Return what a caller gave as a rule set.

    Raises:
        PropertyError: If a name is unknown, or if it is none.
    """
    if isinstance(rules, RuleSet):
        return rules
    if isinstance(rules, str):
        if rules in RULE_SETS:
            return RULE_SETS[rules]
        msg = f"`rules` must be one of {list(RULE_SETS)}, got {rules!r}{hint(rules, RULE_SETS)}"
        raise PropertyError(msg)
    if isinstance(rules, Rule | OutlierRule):
        return RuleSet([rules])
    if not isinstance(rules, Iterable):
        msg = f"`rules` must be rules or the name of a rule set, got {rules!r}"
        raise PropertyError(msg)
    return RuleSet(rules)
