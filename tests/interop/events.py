"""What the site of these tests publishes: the event of each number."""

__all__ = ["NAMES", "Event", "event", "events"]

#: A type, "message" where the event names none, and its data.
Event = tuple[str, str]

#: The events' types, in turns.
NAMES = ("message", "note", "order.created", "Gruß")


def event(number: int) -> Event:
    """Return the event: HTML for the libraries that swap it in, of several lines and scripts."""
    # U+2028 and U+0085 end lines for Python, but not in an event stream.
    text = f"{number}\nzweite Zeile: ☃ 漢字 🎈\n\n  one\u2028line\u0085still: {{data: x}}"
    return NAMES[number % len(NAMES)], f"<p>{text}</p>"


def events(*numbers: int) -> list[Event]:
    """Return the events of *numbers*."""
    return [event(number) for number in numbers]
