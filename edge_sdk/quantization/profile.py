"""Whose integers a Session computes: the arithmetic of one set of the mobile runtime's kernels."""

from __future__ import annotations

from typing import Literal, get_args

from edge_sdk.errors import UsageError, suggestion

Profile = Literal["reference", "litert", "xnnpack"]
"""
reference   the naive kernels (BUILTIN_REF of the interpreter, tflite-micro): int32 multipliers, rounded twice
litert      the builtin kernels without delegate (BUILTIN_WITHOUT_DEFAULT_DELEGATES), as they are on x86
xnnpack     what an interpreter does by default: XNNPACK, and the builtin kernels for what it leaves to them
"""

PROFILES: tuple[Profile, ...] = get_args(Profile)
DEFAULT: Profile = "xnnpack"


def checked_profile(profile: str) -> Profile:
    """Return a profile of that name; raises UsageError where there is none."""
    if profile not in PROFILES:
        raise UsageError(f"profile {profile!r} is not one of {', '.join(PROFILES)}{suggestion(profile, PROFILES)}")
    return profile
