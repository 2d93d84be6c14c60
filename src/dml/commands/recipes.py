"""`dml recipes`: the recipes that ship, and what they resolve to."""

from dml.recipe import load_recipe, shipped


def recipes(name=None, allow_parts=False, report=print):
    """Lists the shipped recipes with their first line, or prints one with every option."""
    if name is not None:
        for line in load_recipe(name, (), allow_parts).to_toml().rstrip().split("\n"):
            report(line)
        return
    for recipe, path in shipped().items():
        first = path.read_text(encoding="utf-8").splitlines()[0]
        report(f"{recipe:28} {first.lstrip('# ')}")
