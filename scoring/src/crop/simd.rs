//! Eight numbers at a time: plainly for any machine (compilers make SSE2 or NEON of it), and with AVX2 where it is found.

#[cfg(target_arch = "x86_64")]
mod avx2;

#[cfg(target_arch = "x86_64")]
pub(super) use avx2::Avx2;

/// Numbers in a vector.
pub(super) const LANES: usize = 8;

/// A vector in memory.
#[derive(Clone, Copy, Debug, Default)]
#[repr(align(32))]
pub(super) struct Lanes(pub(super) [f32; LANES]);

/// An instruction set. A value of it is the proof that the machine has it.
pub(super) trait Simd: Copy {
    /// A vector in registers.
    type Vector: Copy;

    /// Runs `work` compiled for this instruction set.
    fn run<W: Work>(self, work: W);
    /// The same number in all lanes.
    fn splat(self, value: f32) -> Self::Vector;
    /// From memory.
    fn load(self, lanes: &Lanes) -> Self::Vector;
    /// To memory.
    fn store(self, vector: Self::Vector, lanes: &mut Lanes);
    /// To numbers at any address.
    fn write(self, vector: Self::Vector, numbers: &mut [f32; LANES]);
    /// Bytes to numbers.
    fn bytes(self, bytes: &[u8; LANES]) -> Self::Vector;
    /// Little endian words, of which the 10 bits from bit `shift` on are the numbers.
    fn words(self, words: &[u8; 2 * LANES], shift: u32) -> Self::Vector;
    /// `a * b + c`.
    fn mul_add(self, a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector;
    /// Limits to [`low`, `high`].
    fn clamp(self, vector: Self::Vector, low: f32, high: f32) -> Self::Vector;
    /// Lane j of vector i becomes lane i of vector j.
    fn transpose(self, vectors: [Self::Vector; LANES]) -> [Self::Vector; LANES];
}

/// What can be run on any instruction set; `run` and all below it must be `#[inline(always)]` to be compiled for it.
pub(super) trait Work {
    fn run<S: Simd>(self, simd: S);
}

/// Runs `work` on the best that this machine has.
pub(super) fn run(work: impl Work) {
    #[cfg(target_arch = "x86_64")]
    if let Some(avx2) = Avx2::detect() {
        return avx2.run(work);
    }
    Plain.run(work);
}

/// What every machine has.
#[derive(Clone, Copy)]
pub(super) struct Plain;

impl Simd for Plain {
    type Vector = [f32; LANES];

    fn run<W: Work>(self, work: W) {
        work.run(self);
    }

    #[inline(always)]
    fn splat(self, value: f32) -> Self::Vector {
        [value; LANES]
    }

    #[inline(always)]
    fn load(self, lanes: &Lanes) -> Self::Vector {
        lanes.0
    }

    #[inline(always)]
    fn store(self, vector: Self::Vector, lanes: &mut Lanes) {
        lanes.0 = vector;
    }

    #[inline(always)]
    fn write(self, vector: Self::Vector, numbers: &mut [f32; LANES]) {
        *numbers = vector;
    }

    #[inline(always)]
    fn bytes(self, bytes: &[u8; LANES]) -> Self::Vector {
        bytes.map(f32::from)
    }

    #[inline(always)]
    fn words(self, words: &[u8; 2 * LANES], shift: u32) -> Self::Vector {
        std::array::from_fn(|i| f32::from(u16::from_le_bytes([words[2 * i], words[2 * i + 1]]) >> shift & 0x3ff))
    }

    #[inline(always)]
    fn mul_add(self, a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector {
        // Without the instruction, the fused operation would be a call.
        const FUSED: bool = cfg!(any(target_feature = "fma", target_arch = "aarch64"));
        std::array::from_fn(|i| if FUSED { a[i].mul_add(b[i], c[i]) } else { a[i] * b[i] + c[i] })
    }

    #[inline(always)]
    fn clamp(self, vector: Self::Vector, low: f32, high: f32) -> Self::Vector {
        vector.map(|v| v.max(low).min(high))
    }

    #[inline(always)]
    fn transpose(self, vectors: [Self::Vector; LANES]) -> [Self::Vector; LANES] {
        std::array::from_fn(|j| std::array::from_fn(|i| vectors[i][j]))
    }
}
