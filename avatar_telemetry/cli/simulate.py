import click


@click.command("simulate")
def simulate() -> None:
    pass
