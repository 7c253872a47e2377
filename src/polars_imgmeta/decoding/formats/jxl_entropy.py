"""Bits of a JPEG XL, and the numbers that are coded in them by their frequency.

Source: ISO/IEC 18181-1, "JPEG XL image coding system", B.2 and annex C.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, TypeAlias

_STATE_BITS = 12
_RANGE = 1 << _STATE_BITS
_FINAL_STATE = 0x130000
_PREFIX_ALPHABET_BITS = 15
_MAX_CLUSTERS = 256
# The code of the logarithms of frequencies: by number of bits and value.
_LOGARITHMS = {
    pair: symbol
    for symbol, pair in enumerate(
        zip(
            (5, 4, 4, 4, 4, 4, 3, 3, 3, 3, 3, 6, 7, 7),
            (17, 11, 15, 3, 9, 7, 4, 2, 5, 6, 0, 33, 1, 65),
            strict=True,
        )
    )
}
_REPEATED = 13  # among the logarithms
# The code of the lengths of the code of lengths of a prefix code, and their order.
_LENGTHS = {(2, 0): 0, (2, 1): 4, (2, 2): 3, (3, 3): 2, (4, 7): 1, (4, 15): 5}
_ORDER = (1, 2, 3, 4, 0, 5, 17, 6, 16, 7, 8, 9, 10, 11, 12, 13, 14, 15)
_REPEAT, _REPEAT_ZERO = 16, 17

Code: TypeAlias = dict[tuple[int, int], int]
"""Symbols by the number of bits of their code, and the code, the first bit lowest."""


class BrokenNumbersError(ValueError):
    """The coded numbers are damaged."""


def _require(valid: object) -> None:
    if not valid:
        raise BrokenNumbersError


class Bits:
    """A bit reader, least significant bit first; reads zeros after the end.

    Attributes:
        position: The number of bits before the next one.
    """

    def __init__(self, data: bytes, position: int = 0) -> None:
        self._data = data
        self.position = position

    @property
    def exhausted(self) -> bool:
        """Whether it has read after the end."""
        return self.position > 8 * len(self._data)

    def take(self, count: int) -> int:
        """Return a number of so many bits."""
        start = self.position
        self.position += count
        found = int.from_bytes(self._data[start >> 3 : (start + count + 7) >> 3], "little")
        return found >> (start & 7) & (1 << count) - 1

    def skip(self, count: int) -> None:
        """Skip so many bits."""
        self.position += count

    def choose(self, *choices: tuple[int, int]) -> int:
        """Return a number of two bits that select its offset and its number of bits."""
        offset, count = choices[self.take(2)]
        return offset + self.take(count)

    def enum(self) -> int:
        """Return a number of up to 7 bits."""
        return self.choose((0, 0), (1, 0), (2, 4), (18, 6))

    def long(self) -> int:
        """Return a number of up to 64 bits."""
        short = self.take(2)
        if short < 3:  # noqa: PLR2004 - the selectors of short forms
            return (0, 1, 17)[short] + self.take((0, 4, 8)[short])
        value = self.take(12)
        for shift in range(12, 64, 8):
            if not self.take(1):
                break
            value |= self.take(8 if shift < 60 else 4) << shift  # noqa: PLR2004 - the last one
        return value

    def byte(self) -> int:
        """Return a number of up to 8 bits, small ones in few."""
        if not self.take(1):
            return 0
        count = self.take(3)
        return (1 << count) + self.take(count)

    def align(self) -> int:
        """Skip to the next byte, and return its position."""
        self.position = (self.position + 7) // 8 * 8
        return self.position // 8

    def symbol(self, code: Code) -> int:
        """Return the symbol of a prefix code."""
        value = 0
        for length in range(_PREFIX_ALPHABET_BITS + 1):
            if (length, value) in code:
                return code[length, value]
            value |= self.take(1) << length
        raise BrokenNumbersError


class _Form(NamedTuple):
    """How many bits follow a token, and where they belong."""

    split: int
    high: int
    low: int

    @classmethod
    def read(cls, bits: Bits, alphabet_bits: int) -> _Form:
        split = bits.take(alphabet_bits.bit_length())
        _require(split <= alphabet_bits)
        if split == alphabet_bits:
            return cls(split, 0, 0)
        high = bits.take(split.bit_length())
        _require(high <= split)
        low = bits.take((split - high).bit_length())
        _require(high + low <= split)
        return cls(split, high, low)

    def value(self, bits: Bits, token: int) -> int:
        if token < 1 << self.split:
            return token
        inside = self.high + self.low
        count = self.split - inside + ((token - (1 << self.split)) >> inside)
        _require(count < 32)  # noqa: PLR2004 - numbers have 32 bits
        low = token & (1 << self.low) - 1
        high = token >> self.low & (1 << self.high) - 1 | 1 << self.high
        return (high << count | bits.take(count)) << self.low | low


class Numbers:
    """Numbers in contexts, coded by their frequency in each.

    Args:
        bits: Where they are, at the start of their tables.
        contexts: How many contexts there are.
        nested: Whether runs must not be copied, as in the tables of other numbers that are few.

    Raises:
        BrokenNumbersError: If the tables are damaged.
    """

    def __init__(self, bits: Bits, contexts: int, *, nested: bool = False) -> None:
        self._bits = bits
        self._copied: Iterator[int] = iter(())
        self._past: list[int] = []
        self._threshold = 1 << 32
        if bits.take(1):  # runs are copied
            _require(not nested)
            self._threshold = bits.choose((224, 0), (512, 0), (4096, 0), (8, 15))
            self._shortest = bits.choose((3, 0), (4, 0), (5, 2), (9, 8))
            self._length_form = _Form.read(bits, 8)
            contexts += 1
        self._clusters = _read_clusters(bits, contexts)
        by_prefix = bits.take(1)
        alphabet_bits = _PREFIX_ALPHABET_BITS if by_prefix else 5 + bits.take(2)
        count = max(self._clusters) + 1
        self._forms = [_Form.read(bits, alphabet_bits) for _ in range(count)]
        self._state = _FINAL_STATE
        self._tokens: list[Callable[[], int]]
        if by_prefix:
            sizes = [_read_alphabet_size(bits) for _ in range(count)]
            codes = [_read_prefix_code(bits, size) for size in sizes]
            self._tokens = [lambda code=code: bits.symbol(code) for code in codes]  # type: ignore[misc]
        else:
            tables = [_alias_table(_read_frequencies(bits), alphabet_bits) for _ in range(count)]
            self._tokens = [lambda table=table: self._take(table) for table in tables]  # type: ignore[misc]
            self._state = bits.take(32)
        _require(not bits.exhausted)

    def read(self, context: int) -> int:
        """Return the next number, in a context.

        Raises:
            BrokenNumbersError: If it is damaged.
        """
        value = next(self._copied, None)
        if value is None:
            cluster = self._clusters[context]
            token = self._tokens[cluster]()
            if token >= self._threshold:
                self._copy(token)
                return self.read(context)
            value = self._forms[cluster].value(self._bits, token)
        if self._threshold < 1 << 32:
            self._past.append(value)
        return value

    def require_end(self) -> None:
        """Check that all numbers were read.

        Raises:
            BrokenNumbersError: If not, or if they are damaged.
        """
        _require(self._state == _FINAL_STATE and not self._bits.exhausted)

    def _copy(self, token: int) -> None:
        length = self._length_form.value(self._bits, token - self._threshold) + self._shortest
        cluster = self._clusters[-1]
        distance = self._forms[cluster].value(self._bits, self._tokens[cluster]()) + 1
        past = self._past
        start = max(0, len(past) - distance)
        # What is read is appended, and may be copied in turn; there are zeros before the first.
        self._copied = (past[index] if past else 0 for index in range(start, start + length))

    def _take(self, table: _AliasTable) -> int:
        state = self._state
        index, at = (state & _RANGE - 1) >> table.shift, state & (1 << table.shift) - 1
        symbol, offset = index, at
        if at >= table.cutoffs[index]:
            symbol, offset = table.others[index], table.offsets[index] + at
        state = table.frequencies[symbol] * (state >> _STATE_BITS) + offset
        if state < 1 << 16:
            state = state << 16 | self._bits.take(16)
        self._state = state
        return symbol


def _read_clusters(bits: Bits, contexts: int) -> list[int]:
    """Return the number of the table of each context."""
    if contexts == 1:
        return [0]
    if bits.take(1):
        count = bits.take(2)
        return [bits.take(count) for _ in range(contexts)]
    moved = bits.take(1)
    numbers = Numbers(bits, 1, nested=contexts <= 2)  # noqa: PLR2004
    clusters = [numbers.read(0) for _ in range(contexts)]
    numbers.require_end()
    _require(max(clusters) < _MAX_CLUSTERS)
    if moved:
        order = [*range(_MAX_CLUSTERS)]
        for index, place in enumerate(clusters):
            clusters[index] = order.pop(place)
            order.insert(0, clusters[index])
    return clusters


def _read_alphabet_size(bits: Bits) -> int:
    if not bits.take(1):
        return 1
    count = bits.take(4)
    size = 1 + (1 << count) + bits.take(count)
    _require(size <= 1 << _PREFIX_ALPHABET_BITS)
    return size


def _read_prefix_code(bits: Bits, size: int) -> Code:
    """Return a prefix code, as in Brotli."""
    if size == 1:
        return {(0, 0): 0}
    skipped = bits.take(2)
    if skipped == 1:
        return _read_simple_code(bits, size)
    room = 32
    lengths = [0] * len(_ORDER)
    for symbol in _ORDER[skipped:]:
        lengths[symbol] = bits.symbol(_LENGTHS)
        room -= 32 >> lengths[symbol] if lengths[symbol] else 0
        if room <= 0:
            break
    return _canonical(_read_lengths(bits, size, _canonical(lengths)))


def _read_simple_code(bits: Bits, size: int) -> Code:
    count = bits.take(2) + 1
    symbols = [bits.take((size - 1).bit_length()) for _ in range(count)]
    _require(len({*symbols}) == count and max(symbols) < size)
    deep = count == 4 and bits.take(1)  # noqa: PLR2004
    by_length = {1: (0,), 2: (1, 1), 3: (1, 2, 2), 4: (1, 2, 3, 3) if deep else (2,) * 4}[count]
    lengths = [0] * size
    for symbol, length in zip(symbols, by_length, strict=True):
        lengths[symbol] = length
    return _canonical(lengths) if count > 1 else {(0, 0): symbols[0]}


def _read_lengths(bits: Bits, size: int, code: Code) -> list[int]:
    lengths: list[int] = []
    room, last, repeats, repeated = 1 << 15, 8, 0, -1
    while len(lengths) < size and room > 0:
        symbol = bits.symbol(code)
        if symbol < _REPEAT:
            lengths.append(symbol)
            repeats = 0
            if symbol:
                last = symbol
                room -= 1 << 15 >> symbol
            continue
        extra, value = (2, last) if symbol == _REPEAT else (3, 0)
        if repeated != value:
            repeats, repeated = 0, value
        before = repeats
        repeats = (repeats - 2 << extra if repeats else 0) + bits.take(extra) + 3
        added = repeats - before
        _require(len(lengths) + added <= size)
        lengths += [value] * added
        room -= added << 15 >> value if value else 0
    _require(room == 0)
    return lengths


def _canonical(lengths: Sequence[int]) -> Code:
    """Return the prefix code of these lengths."""
    used = [symbol for symbol, length in enumerate(lengths) if length]
    if len(used) == 1:
        return {(0, 0): used[0]}
    code: Code = {}
    value = previous = 0
    for symbol in sorted(used, key=lambda one: (lengths[one], one)):
        length = lengths[symbol]
        value <<= length - previous
        previous = length
        _require(value < 1 << length)
        code[length, int(f"{value:0{length}b}"[::-1], 2)] = symbol
        value += 1
    return code


def _read_frequencies(bits: Bits) -> list[int]:
    """Return the frequency of each symbol, of 4096."""
    if bits.take(1):
        symbols = [bits.byte() for _ in range(bits.take(1) + 1)]
        frequencies = [0] * (max(symbols) + 1)
        frequencies[symbols[0]] = bits.take(_STATE_BITS) if len(symbols) > 1 else _RANGE
        if len(symbols) > 1:
            _require(symbols[0] != symbols[1])
            frequencies[symbols[1]] = _RANGE - frequencies[symbols[0]]
        return frequencies
    if bits.take(1):
        count = bits.byte() + 1
        return [_RANGE // count + (index < _RANGE % count) for index in range(count)]
    count = 0
    while count < 3 and bits.take(1):  # noqa: PLR2004 - bits of the precision
        count += 1
    precision = (1 << count | bits.take(count)) - 1
    _require(precision <= _STATE_BITS + 1)
    return _read_precise_frequencies(bits, precision)


def _read_precise_frequencies(bits: Bits, precision: int) -> list[int]:
    length = bits.byte() + 3
    logarithms: list[int] = []
    runs: dict[int, int] = {}
    while len(logarithms) < length:
        found = bits.symbol(_LOGARITHMS)
        if found == _REPEATED:
            runs[len(logarithms)] = bits.byte() + 4
            found = -1
        logarithms += [found] * runs.get(len(logarithms), 1)
    _require(len(logarithms) == length)
    omitted = logarithms.index(max(logarithms))
    _require(logarithms[omitted] >= 0 and omitted + 1 not in runs)
    frequencies = [0] * length
    run = 0
    for index, logarithm in enumerate(logarithms):
        if index in runs:
            run = frequencies[index - 1] if index else 0
        if logarithm < 0:
            frequencies[index] = run
        elif logarithm and index != omitted:
            above = logarithm - 1
            kept = max(0, min(above, precision - ((_STATE_BITS - above) >> 1)))
            frequencies[index] = (1 << above) + (bits.take(kept) << above - kept)
    frequencies[omitted] = _RANGE - sum(frequencies)
    _require(frequencies[omitted] > 0)
    return frequencies


class _AliasTable(NamedTuple):
    """Two symbols for each part of the range of a state."""

    shift: int
    frequencies: list[int]
    cutoffs: list[int]
    others: list[int]
    offsets: list[int]


def _alias_table(frequencies: list[int], alphabet_bits: int) -> _AliasTable:
    size, shift = 1 << alphabet_bits, _STATE_BITS - alphabet_bits
    part = 1 << shift
    _require(len(frequencies) <= size)
    if _RANGE in frequencies:
        only = frequencies.index(_RANGE)
        offsets = [part * index for index in range(size)]
        return _AliasTable(shift, frequencies, [0] * size, [only] * size, offsets)
    cutoffs = frequencies + [0] * (size - len(frequencies))
    others, offsets = [*range(size)], [0] * size
    over = [index for index in range(size) if cutoffs[index] > part]
    under = [index for index in range(size) if cutoffs[index] < part]
    while over:
        rich, poor = over[-1], under.pop()
        cutoffs[rich] -= part - cutoffs[poor]
        others[poor], offsets[poor] = rich, cutoffs[rich]
        if cutoffs[rich] <= part:
            over.pop()
            if cutoffs[rich] < part:
                under.append(rich)
    for index in range(size):
        if cutoffs[index] == part:
            cutoffs[index] = 0
        else:
            offsets[index] -= cutoffs[index]
    return _AliasTable(shift, frequencies, cutoffs, others, offsets)
