"""Why two settings cannot be linked, in a sentence of fact and one of remedy."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence

from lt_cli.option_names import nearest_key

Links = Mapping[str, Sequence[str]]


def circle(sources: Sequence[str], target: str, links: Links) -> str | None:
    """What is wrong if the link would lead back to where it begins, over the `links` there are; None if it does not."""
    way = _way(target, sources, links)
    if way is None:
        return None
    arrows = " -> ".join(f"`{key}`" for key in [*way, target])
    return f"The links {arrows} go in a circle, so none of them has a value. Leave one of them out."


def _way(start: str, ends: Sequence[str], links: Links) -> list[str] | None:
    if start in ends:
        return [start]
    for target, sources in links.items():
        if start in sources and target != start and (rest := _way(target, ends, links)):
            return [start, *rest]
    return None


def refusal(message: str, sources: Sequence[str], target: str, links: Links, known: Collection[str]) -> str:
    """What the parser library refuses about a link, in our words."""
    link = f"{' and '.join(f'`{key}`' for key in sources)} cannot be linked to `{target}`"
    if missing := re.search(r'No action for key "(.*)"', message):
        match = nearest_key(missing[1], known)
        remedy = f"Did you mean `{match}`?" if match else "`--print_config` shows all settings."
        return f"{link}: there is no setting `{missing[1]}`. {remedy}"
    if set_by := re.search(r'Source "(.*)" not allowed', message):
        origin = " and ".join(f"`{key}`" for key in links.get(set_by[1], ())) or "another setting"
        return f"{link}: `{set_by[1]}` is itself linked to {origin}. Link `{target}` to {origin} too."
    if "already a target" in message:
        return f"{link}: it has a link already. Leave one of them out, or link both with `compute_fn`."
    if "cycles" in message:
        return f"{link}: each of the two groups would have to be built before the other. Leave one of the links out."
    return f"{link}: {message.rstrip('.')}. Leave the link out."
