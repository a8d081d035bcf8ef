"""How each kind of object looks as text: pure functions from the API's JSON."""
