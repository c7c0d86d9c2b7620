"""The demo's accounts. Their passwords are public, as is the demo's key."""

#: The one account that may do everything in the admin.
ADMIN = ("admin", "difference-engine")
#: One that may look at the streams there and close them, and nothing else.
OPERATOR = ("operator", "punched-card")
#: Permissions of the app django_sse; to publish, and to read other people's events, are others.
OPERATOR_MAY = ["view_worker", "view_connection", "close_connection"]
#: Names and passwords of the people who write to each other.
PEOPLE = [("ada", "lovelace"), ("grace", "hopper"), ("alan", "turing")]
#: What they are called in full.
FULL_NAMES = {
    "ada": ("Ada", "Lovelace"),
    "grace": ("Grace", "Hopper"),
    "alan": ("Alan", "Turing"),
    "operator": ("Jean", "Bartik"),
}
