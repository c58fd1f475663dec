"""Words of the grammar.

Every content word has a synonym. Every noun and verb has a singular and a plural form.
"""

from __future__ import annotations

from dataclasses import dataclass

SINGULAR, PLURAL = 0, 1
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")  # of BERT, in order of their ids


@dataclass(frozen=True)
class Lexeme:
    """Entry of the lexicon with its forms: singular, plural, and a transitive verb's participle."""

    forms: tuple[str, ...]

    def form(self, number: int) -> str:
        """Return the singular (0) or plural (1) form. Words without number have a single form."""
        return self.forms[number if len(self.forms) > 1 else 0]


Synonyms = tuple[Lexeme, Lexeme]  # two words that mean the same


def _parse_pairs(text: str) -> tuple[Synonyms, ...]:
    """Parse lines of two synonyms each; a slash separates the forms of a word."""
    pairs = []
    for line in text.strip().splitlines():
        one, other = (Lexeme(tuple(forms.split("/"))) for forms in line.split())
        pairs.append((one, other))
    return tuple(pairs)


BEINGS = _parse_pairs("""
doctor/doctors physician/physicians
teacher/teachers tutor/tutors
child/children kid/kids
lawyer/lawyers attorney/attorneys
sailor/sailors seaman/seamen
writer/writers author/authors
thief/thieves robber/robbers
king/kings monarch/monarchs
dog/dogs hound/hounds
rabbit/rabbits bunny/bunnies
pig/pigs hog/hogs
snake/snakes serpent/serpents
""")
PLACES = _parse_pairs("""
house/houses home/homes
street/streets road/roads
stone/stones rock/rocks
ship/ships boat/boats
shop/shops store/stores
forest/forests wood/woods
""")
TRANSITIVE = _parse_pairs("""
sees/see/seen spots/spot/spotted
helps/help/helped aids/aid/aided
pushes/push/pushed shoves/shove/shoved
follows/follow/followed trails/trail/trailed
hits/hit/hit strikes/strike/struck
finds/find/found locates/locate/located
scares/scare/scared frightens/frighten/frightened
calls/call/called summons/summon/summoned
""")
INTRANSITIVE = _parse_pairs("""
sleeps/sleep dozes/doze
talks/talk chats/chat
runs/run sprints/sprint
cries/cry weeps/weep
falls/fall tumbles/tumble
shouts/shout yells/yell
""")
ADJECTIVES = _parse_pairs("""
big large
quick fast
sad unhappy
smart clever
old aged
quiet silent
""")
PREPOSITIONS = _parse_pairs("""
near beside
under below
behind beyond
""")
ADVERBS = _parse_pairs("often frequently\nnow presently")
DETERMINERS = (Lexeme(("the", "the")), Lexeme(("this", "these")), Lexeme(("every", "many")))
BE = Lexeme(("is", "are"))
LEXICON = (
    *BEINGS, *PLACES, *TRANSITIVE, *INTRANSITIVE, *ADJECTIVES, *PREPOSITIONS, *ADVERBS,
)  # fmt: skip
FUNCTION = ("who", "and", "by", ".")


def build_vocabulary() -> tuple[str, ...]:
    """Return every token in order of its id: BERT's special tokens, then all forms of all words."""
    single = [form for word in (*DETERMINERS, BE) for form in word.forms]
    content = [form for pair in LEXICON for word in pair for form in word.forms]
    return tuple(dict.fromkeys([*SPECIAL, *FUNCTION, *single, *content]))
