"""A bounded memory: the oldest is forgotten for the newest, and nothing else."""

from eps.core.recent import Recent


def test_what_was_put_in_is_found_until_it_is_dropped() -> None:
    recent: Recent[str, int] = Recent(2)
    recent.put("a", 1)
    assert (recent.get("a"), recent.get("b"), len(recent)) == (1, None, 1)
    recent.drop("a")
    recent.drop("a")
    assert (recent.get("a"), len(recent)) == (None, 0)


def test_the_oldest_is_forgotten_for_the_newest() -> None:
    recent: Recent[str, int] = Recent(2)
    for number, key in enumerate("abc"):
        recent.put(key, number)
    assert [recent.get(key) for key in "abc"] == [None, 1, 2]


def test_what_was_asked_for_or_put_in_again_is_not_the_oldest() -> None:
    recent: Recent[str, int] = Recent(3)
    for key in "abc":
        recent.put(key, 0)
    recent.get("a")
    recent.put("b", 1)
    recent.put("d", 0)
    assert list(recent.items()) == [("a", 0), ("b", 1), ("d", 0)]
    assert [recent.get(key) for key in "abcd"] == [0, 1, None, 0]


def test_keys_count_what_their_size_is() -> None:
    recent: Recent[bytes, int] = Recent(10, len)
    recent.put(b"12345", 1)
    recent.put(b"12345", 2)
    recent.put(b"67890", 3)
    assert len(recent) == 2
    recent.put(b"x", 4)
    assert (recent.get(b"12345"), recent.get(b"67890"), recent.get(b"x")) == (None, 3, 4)
    recent.put(b"longer than all", 5)
    assert len(recent) == 0
