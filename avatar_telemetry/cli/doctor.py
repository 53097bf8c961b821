import click
@click.command("doctor")
def doctor() -> None:
    pass
