//! Bytes as the numbers that a target asks for.

/// Numbers that break what was not made for them.
const ODD: [f32; 16] = [
    f32::NAN,
    f32::INFINITY,
    f32::NEG_INFINITY,
    f32::MAX,
    f32::MIN,
    f32::MIN_POSITIVE,
    1e-40,
    -0.0,
    0.0,
    1.0,
    -1.0,
    0.5,
    88.8,
    1e9,
    -1e9,
    16_777_217.0,
];

/// What is left of the bytes. Where nothing is, everything is zero.
pub(crate) struct Input<'a>(pub(crate) &'a [u8]);

impl<'a> Input<'a> {
    pub(crate) fn bytes(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        taken
    }

    pub(crate) fn byte(&mut self) -> u8 {
        self.bytes(1).first().copied().unwrap_or(0)
    }

    pub(crate) fn u64(&mut self) -> u64 {
        let mut all = [0; 8];
        let some = self.bytes(8);
        all[..some.len()].copy_from_slice(some);
        u64::from_le_bytes(all)
    }

    pub(crate) fn u32(&mut self) -> u32 {
        let mut all = [0; 4];
        let some = self.bytes(4);
        all[..some.len()].copy_from_slice(some);
        u32::from_le_bytes(all)
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.u32() as usize % end.max(1)
    }

    /// Any number: a common one, an odd one, or what the bits say.
    pub(crate) fn f32(&mut self) -> f32 {
        match self.byte() {
            kind @ 0..64 => ODD[usize::from(kind) % ODD.len()],
            64..192 => self.u32() as f32 / u32::MAX as f32 * 4.0 - 1.5,
            _ => f32::from_bits(self.u32()),
        }
    }

    pub(crate) fn f64(&mut self) -> f64 {
        match self.byte() {
            0..128 => self.f32().into(),
            _ => f64::from_bits(self.u64()),
        }
    }

    pub(crate) fn floats(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| self.f32()).collect()
    }

    pub(crate) fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    pub(crate) fn text(&mut self, most: usize) -> String {
        let length = self.below(most + 1);
        String::from_utf8_lossy(self.bytes(length)).replace('\0', "0")
    }
}
