import click


@click.command("top")
def top() -> None:
    pass
