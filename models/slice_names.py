"""The names of slices, which a configuration may use before there is any data."""

COLD_USER, WARM_USER = "cold_user", "warm_user"
COLD_BUSINESS, WARM_BUSINESS = "cold_business", "warm_business"
WARM = "warm"  # Both sides.
# Names that every run has, unless nobody is in them; the others depend on the data.
FIXED = (COLD_USER, WARM_USER, COLD_BUSINESS, WARM_BUSINESS, WARM)
_FAMILIES = ("activity", "city", "category")


def is_known(name: str) -> bool:
    """Tells whether a name can be that of a slice, such as `cold_user` or `city=Reno`."""
    family, equals, label = name.partition("=")
    return name in FIXED or bool(family in _FAMILIES and equals and label)


def describe() -> str:
    """Lists the names for a message."""
    return ", ".join([*FIXED, *(f"{family}=..." for family in _FAMILIES)])
