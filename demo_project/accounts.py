"""The demo's accounts. Their passwords are public, as is the demo's key."""

#: The one account that may use the admin and the staff's stream.
ADMIN = ("admin", "difference-engine")
#: Names and passwords of the people who write to each other.
PEOPLE = [("ada", "lovelace"), ("grace", "hopper"), ("alan", "turing")]
