"""Vectors of integers in registers, for functions that numba compiles.

numba's own vectorizer keeps sums in memory, so this module generates LLVM's vector operations directly. They compile
for every processor: LLVM splits vectors that are longer than the registers, and uses the bit-counting instructions that
the processor has. Arrays are C-contiguous. An index counts entries of the flat array. Indices are not checked.
"""

import llvmlite.binding
from llvmlite import ir
from numba import types
from numba.core import cgutils, config
from numba.extending import intrinsic, models, register_model


def _has_avx512():
    """Return whether numba compiles for a processor with 32 registers of 512 bits."""
    try:
        features = config.CPU_FEATURES or llvmlite.binding.get_host_cpu_features().flatten()
    except RuntimeError:  # this system does not list the features of its processor
        return False
    return "+avx512f" in features.split(",")


# Units at a time, for bits and for integers. The sums of four positions and the weights then fill the registers.
LANES, WIDE = (32, 64) if _has_avx512() else (8, 16)

I64, I32, I16 = (ir.IntType(bits) for bits in (64, 32, 16))


class Sums(types.Type):
    """Sums of `count` units, integers with `bits` bits, at each of `places` positions."""

    def __init__(self, bits, count, places):
        self.places, self.vector = places, ir.VectorType(ir.IntType(bits), count)
        super().__init__(f"Sums({bits}, {count}, {places})")


class Lanes(Sums):
    """A vector of `count` integers with `bits` bits."""

    def __init__(self, bits, count):
        super().__init__(bits, count, 1)


@register_model(Sums)
class _SumsModel(models.PrimitiveModel):
    def __init__(self, manager, sums):
        super().__init__(manager, sums, ir.ArrayType(sums.vector, sums.places))


@register_model(Lanes)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager, lanes):
        super().__init__(manager, lanes, lanes.vector)


WORDS, WEIGHTS = Lanes(64, LANES), Lanes(16, WIDE)


def _pointer(context, builder, array_type, array, index, vector):
    data = context.make_array(array_type)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [index]), vector.as_pointer())


def _load(context, builder, array_type, array, index, vector):
    pointer = _pointer(context, builder, array_type, array, index, vector)
    return builder.load(pointer, align=array_type.dtype.bitwidth // 8)


def _store(context, builder, array_type, array, index, value):
    pointer = _pointer(context, builder, array_type, array, index, value.type)
    builder.store(value, pointer, align=array_type.dtype.bitwidth // 8)


def _splat(builder, scalar, count):
    vector = ir.VectorType(scalar.type, count)
    first = builder.insert_element(ir.Constant(vector, ir.Undefined), scalar, I32(0))
    zeros = ir.Constant(ir.VectorType(I32, count), [0] * count)
    return builder.shuffle_vector(first, ir.Constant(vector, ir.Undefined), zeros)


def _popcount(builder, vector):
    name = f"llvm.ctpop.v{vector.type.count}i64"
    function = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(vector.type, [vector.type]), name
    )
    return builder.call(function, [vector])


def _zeros(sums):
    @intrinsic
    def zeros(typing):
        return sums(), lambda context, builder, signature, args: context.get_constant_null(sums)

    return zeros


ZERO_COUNTS = {places: _zeros(Sums(64, LANES, places)) for places in (1, 4)}
ZERO_PRODUCTS = {places: _zeros(Sums(16, WIDE, places)) for places in (1, 4)}


@intrinsic
def load(typing, lanes, array, index):
    """Load a vector of type `lanes`, WORDS or WEIGHTS, from an array, starting at `index`."""
    lanes = lanes.instance_type

    def generate(context, builder, signature, args):
        return _load(context, builder, array, *args[1:], lanes.vector)

    return lanes(types.TypeRef(lanes), array, index), generate


def _accumulate(context, builder, sums, args, array, scalar, term):
    """Add term(x) to the sums of each position, where x repeats one entry of the array.

    The entries of neighboring positions are `step` apart.
    """
    total, values, index, step = args
    for place in range(sums.places):
        value = _splat(builder, _load(context, builder, array, values, index, scalar), sums.vector.count)
        part = builder.add(builder.extract_value(total, place), term(value))
        total = builder.insert_value(total, part, place)
        index = builder.add(index, step)
    return total


@intrinsic
def add_counts(typing, counts, array, index, step, signs, nonzero):
    """Add the number of bits in which words of an array differ from `signs`, where `nonzero` is set.

    Position p uses the word index + p step. If `nonzero` is None, all bits count.
    """

    def generate(context, builder, signature, args):
        def differ(words):
            bits = builder.xor(words, args[4])
            return _popcount(builder, bits if nonzero is types.none else builder.and_(bits, args[5]))

        return _accumulate(context, builder, counts, args[:4], array, I64, differ)

    return counts(counts, array, index, step, signs, nonzero), generate


@intrinsic
def stir(typing, counts, signs):
    """Add to the counts the number of bits in which they differ from `signs`: `add_counts` without an array."""

    def generate(context, builder, signature, args):
        total, signs = args
        for place in range(counts.places):
            part = builder.extract_value(total, place)
            part = builder.add(part, _popcount(builder, builder.xor(part, signs)))
            total = builder.insert_value(total, part, place)
        return total

    return counts(counts, signs), generate


@intrinsic
def add_products(typing, sums, array, index, step, weights):
    """Add `weights` times entries of an int16 array, modulo 2^16. Position p uses the entry index + p step."""

    def generate(context, builder, signature, args):
        return _accumulate(context, builder, sums, args[:4], array, I16, lambda x: builder.mul(x, args[4]))

    return sums(sums, array, index, step, weights), generate


@intrinsic
def store_counts(typing, array, index, step, base, start, stride, counts, shift):
    """Write int32 entries, starting at index + p step: `base`, from start + p stride, minus counts times 2^shift."""

    def generate(context, builder, signature, args):
        entries, index, step, firsts, start, stride, totals, shift = args
        narrow = ir.VectorType(I32, LANES)
        shift = _splat(builder, builder.trunc(shift, I32), LANES)
        for place in range(counts.places):
            part = builder.shl(builder.trunc(builder.extract_value(totals, place), narrow), shift)
            first = _load(context, builder, base, firsts, start, narrow)
            _store(context, builder, array, entries, index, builder.sub(first, part))
            index, start = builder.add(index, step), builder.add(start, stride)
        return context.get_dummy_value()

    return types.void(array, index, step, base, start, stride, counts, shift), generate


@intrinsic
def increase(typing, array, index, step, sums):
    """Add sums to int32 entries, starting at index + p step."""

    def generate(context, builder, signature, args):
        entries, index, step, totals = args
        wide = ir.VectorType(I32, WIDE)
        for place in range(sums.places):
            part = builder.sext(builder.extract_value(totals, place), wide)
            before = _load(context, builder, array, entries, index, wide)
            _store(context, builder, array, entries, index, builder.add(before, part))
            index = builder.add(index, step)
        return context.get_dummy_value()

    return types.void(array, index, step, sums), generate


def _comparison(symbol):
    """Make a function that packs 64 comparisons into a uint64 word; symbol is ">" or ">="."""

    @intrinsic
    def compare(typing, array, index, limits, start):
        def generate(context, builder, signature, args):
            vector = ir.VectorType(context.get_data_type(array.dtype), 64)
            left = _load(context, builder, array, *args[:2], vector)
            right = _load(context, builder, limits, *args[2:], vector)
            floating = isinstance(array.dtype, types.Float)
            bits = (builder.fcmp_ordered if floating else builder.icmp_signed)(symbol, left, right)
            return builder.bitcast(bits, I64)

        return types.uint64(array, index, limits, start), generate

    return compare


# Bit i < 64 is [array[index + i] > limits[start + i]]. Both arrays have the same dtype: floats or signed integers.
greater = _comparison(">")
at_least = _comparison(">=")
