"""Sums of the units of a layer in registers, for functions that numba compiles: products, thresholds, and a barrier.

An accumulator holds the sums of `UNITS` units of bits, or of `WIDE_UNITS` units of integers, at each of several places.
A product of bits subtracts the number of bits that differ. Where the processor counts the bits of 32-bit words in
vectors, words have 32 bits, and the sums need no narrowing. Otherwise they have 64 bits, as LLVM counts those fastest.

Arrays are addresses here, because numba counts the references to arrays, which takes longer than the product of a few
words. An index counts entries.
"""

import llvmlite.binding
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils, config
from numba.extending import intrinsic

from bnn.bits import lanes
from bnn.bits.lanes import I16, I32, I64, Sums, _splat


def _has(*features):
    """Whether numba compiles for a processor with these features."""
    try:
        found = config.CPU_FEATURES or llvmlite.binding.get_host_cpu_features().flatten()
    except RuntimeError:  # this system does not list the features of its processor
        return False
    return all(f"+{feature}" in found.split(",") for feature in features)


NARROW = _has("avx512f", "avx512bw", "avx512vpopcntdq")
UNITS = 64 if NARROW else lanes.LANES
DIGITS = 32 if NARROW else 64  # bits of a word
DIGIT = np.uint32 if NARROW else np.uint64
WIDE_UNITS = 16 if _has("avx512f", "avx512bw") else 8
PLACES, WIDE_PLACES = 4, 8
LANE = ir.IntType(DIGITS)


def zeros(places, integers=False):
    """A compiled function that makes an accumulator of zeros."""
    sums = Sums(32, WIDE_UNITS, places) if integers else Sums(DIGITS, UNITS, places)

    @intrinsic
    def made(typing):
        return sums(), lambda context, builder, signature, args: context.get_constant_null(sums)

    return made


def _count_bits(builder, vector):
    name = f"llvm.ctpop.v{vector.type.count}i{DIGITS}"
    kind = ir.FunctionType(vector.type, [vector.type])
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), [vector])


def _place(builder, address, index, kind):
    """A pointer to a value of this type; the index counts its entries."""
    entry = kind.element if isinstance(kind, ir.VectorType) else kind
    offset = builder.mul(index, I64(entry.width // 8))
    return builder.inttoptr(builder.add(address, offset), kind.as_pointer())


def _load(builder, address, index, kind, align=None):
    entry = kind.element if isinstance(kind, ir.VectorType) else kind
    return builder.load(_place(builder, address, index, kind), align=align or entry.width // 8)


def _store(builder, address, index, value):
    entry = value.type.element if isinstance(value.type, ir.VectorType) else value.type
    builder.store(value, _place(builder, address, index, value.type), align=entry.width // 8)


@intrinsic
def read(typing, address, index):
    """Entry of an int64 array."""

    def generate(context, builder, signature, args):
        return _load(builder, *args, I64)

    return types.int64(types.int64, types.int64), generate


@intrinsic
def read_word(typing, address, index):
    """Entry of a uint64 array."""

    def generate(context, builder, signature, args):
        return _load(builder, *args, I64)

    return types.uint64(types.int64, types.int64), generate


@intrinsic
def write_word(typing, address, index, word):
    """Write an entry of a uint64 array."""

    def generate(context, builder, signature, args):
        _store(builder, args[0], args[1], args[2])
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.uint64), generate


@intrinsic
def write_number(typing, address, index, number):
    """Write an entry of an int16 array."""

    def generate(context, builder, signature, args):
        _store(builder, args[0], args[1], builder.trunc(args[2], I16))
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), generate


@intrinsic
def read_pixel(typing, address, index):
    """Entry of a uint8 array, as an int64."""

    def generate(context, builder, signature, args):
        return builder.zext(_load(builder, *args, ir.IntType(8)), I64)

    return types.int64(types.int64, types.int64), generate


@intrinsic
def copy_sum(typing, target, index, source, start):
    """Copy an entry of an int32 array to another one."""

    def generate(context, builder, signature, args):
        _store(builder, args[0], args[1], _load(builder, args[2], args[3], I32))
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64, types.int64), generate


@intrinsic
def subtract_differences(typing, sums, x, index, step, weights, signs, nonzero):
    """Subtract the number of bits in which a word differs from weights.

    Place p uses the word index + p step of x, and all places the vectors of weights that start at `signs`; only bits of
    the one at `nonzero` count, unless `nonzero` is None.
    """
    masked = not isinstance(nonzero, types.NoneType)

    def generate(context, builder, signature, args):
        total, words, index, step, entries, signs, nonzero_at = args
        sign = _load(builder, entries, signs, sums.vector)
        mask = _load(builder, entries, nonzero_at, sums.vector) if masked else None
        for place in range(sums.places):
            word = _splat(builder, _load(builder, words, index, LANE), sums.vector.count)
            bits = builder.xor(word, sign)
            bits = builder.and_(bits, mask) if masked else bits
            part = builder.sub(builder.extract_value(total, place), _count_bits(builder, bits))
            total = builder.insert_value(total, part, place)
            index = builder.add(index, step)
        return total

    last = types.int64 if masked else nonzero
    return sums(sums, *[types.int64] * 5, last), generate


def _sum_of_pairs(builder, left, right):
    """For vectors of int16, left[2i] right[2i] + left[2i + 1] right[2i + 1], a vector of int32."""
    count = left.type.count // 2
    wide = ir.VectorType(I32, count)
    name = {16: "llvm.x86.avx512.pmaddw.d.512", 8: "llvm.x86.avx2.pmadd.wd"}[count]
    if _has("avx512bw" if count == 16 else "avx2"):
        kind = ir.FunctionType(wide, [left.type, right.type])
        return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), [left, right])
    parts = []
    for start in (0, 1):
        places = ir.Constant(ir.VectorType(I32, count), [2 * i + start for i in range(count)])
        halves = (builder.shuffle_vector(v, ir.Constant(v.type, ir.Undefined), places) for v in (left, right))
        parts.append(builder.mul(*(builder.sext(half, wide) for half in halves)))
    return builder.add(*parts)


@intrinsic
def add_pairs(typing, sums, x, index, step, weights, start):
    """Add the products of two neighboring int16 of x with pairs of weights, int16.

    Place p uses the entries index + p step and the next one; all places use the pairs of `WIDE_UNITS` units that begin
    at `start`.
    """

    def generate(context, builder, signature, args):
        total, numbers, index, step, entries, start = args
        pairs = ir.VectorType(I16, 2 * sums.vector.count)
        weight = _load(builder, entries, start, pairs)
        for place in range(sums.places):
            address = builder.add(numbers, builder.mul(index, I64(2)))
            pair = _splat(builder, _load(builder, address, I64(0), I32, align=2), sums.vector.count)
            part = _sum_of_pairs(builder, builder.bitcast(pair, pairs), weight)
            part = builder.add(builder.extract_value(total, place), part)
            total = builder.insert_value(total, part, place)
            index = builder.add(index, step)
        return total

    return sums(sums, *[types.int64] * 5), generate


def _narrow(builder, vector):
    wide = vector.type.element.width > 32
    return builder.trunc(vector, ir.VectorType(I32, vector.type.count)) if wide else vector


@intrinsic
def mark_above(typing, words, at, limits, start, offsets, lane, sums):
    """Set bits from `lane` on of the words at + p where the sum of place p exceeds limits[start + offsets[p]:]."""

    def generate(context, builder, signature, args):
        entries, at, bounds, start, starts, lane, total = args
        count = sums.vector.count
        for place in range(sums.places):
            offset = builder.add(start, _load(builder, starts, I64(place), I64))
            limit = _load(builder, bounds, offset, ir.VectorType(I32, count))
            above = builder.icmp_signed(">", _narrow(builder, builder.extract_value(total, place)), limit)
            bits = builder.bitcast(above, ir.IntType(count))
            bits = builder.zext(bits, I64) if count < 64 else bits
            word = builder.or_(_load(builder, entries, at, I64), builder.shl(bits, lane))
            _store(builder, entries, at, word)
            at = builder.add(at, I64(1))
        return context.get_dummy_value()

    return types.void(*[types.int64] * 6, sums), generate


@intrinsic
def store_sums(typing, out, at, step, base, start, offsets, shift, sums):
    """Write sums times 2^shift plus base[start + offsets[p]:] from at + p step on, int32."""

    def generate(context, builder, signature, args):
        entries, at, step, firsts, start, starts, shift, total = args
        vector = ir.VectorType(I32, sums.vector.count)
        shift = _splat(builder, builder.trunc(shift, I32), sums.vector.count)
        for place in range(sums.places):
            offset = builder.add(start, _load(builder, starts, I64(place), I64))
            part = builder.shl(_narrow(builder, builder.extract_value(total, place)), shift)
            _store(builder, entries, at, builder.add(_load(builder, firsts, offset, vector), part))
            at = builder.add(at, step)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 7, sums), generate


@intrinsic
def add_atomically(typing, address, index, value):
    """Add to an entry of an int64 array that other threads change, too; return its former value."""

    def generate(context, builder, signature, args):
        return builder.atomic_rmw("add", _place(builder, *args[:2], I64), args[2], "seq_cst")

    return types.int64(types.int64, types.int64, types.int64), generate


@intrinsic
def read_atomically(typing, address, index):
    """Read an entry of an int64 array that other threads change, and see all that they wrote before."""

    def generate(context, builder, signature, args):
        return builder.load_atomic(_place(builder, *args, I64), "acquire", 8)

    return types.int64(types.int64, types.int64), generate
