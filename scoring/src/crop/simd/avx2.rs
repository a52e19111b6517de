//! AVX2 with FMA.

use std::arch::x86_64::{
    __m128i, __m256, _mm_and_si128, _mm_cvtsi32_si128, _mm_loadl_epi64, _mm_loadu_si128, _mm_set1_epi16, _mm_srl_epi16,
    _mm256_cvtepi32_ps, _mm256_cvtepu8_epi32, _mm256_cvtepu16_epi32, _mm256_fmadd_ps, _mm256_load_ps, _mm256_max_ps,
    _mm256_min_ps, _mm256_permute2f128_ps, _mm256_set1_ps, _mm256_shuffle_ps, _mm256_store_ps, _mm256_storeu_ps,
    _mm256_unpackhi_ps, _mm256_unpacklo_ps,
};

use super::{LANES, Lanes, Simd, Work};

/// Exists only where the machine has AVX2 and FMA: this is what makes every `unsafe` below sound.
#[derive(Clone, Copy)]
pub(in super::super) struct Avx2(());

impl Avx2 {
    /// Asks the machine.
    pub(in super::super) fn detect() -> Option<Self> {
        (is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")).then_some(Self(()))
    }
}

impl Simd for Avx2 {
    type Vector = __m256;

    fn run<W: Work>(self, work: W) {
        #[target_feature(enable = "avx2,fma")]
        fn compiled<W: Work>(simd: Avx2, work: W) {
            work.run(simd);
        }
        // SAFETY: `self` proves that the machine has both.
        unsafe { compiled(self, work) }
    }

    #[inline(always)]
    fn splat(self, value: f32) -> __m256 {
        // SAFETY: `self` proves the instruction set.
        unsafe { _mm256_set1_ps(value) }
    }

    #[inline(always)]
    fn load(self, lanes: &Lanes) -> __m256 {
        // SAFETY: as above; `Lanes` is 32 bytes at an address divisible by 32.
        unsafe { _mm256_load_ps(lanes.0.as_ptr()) }
    }

    #[inline(always)]
    fn store(self, vector: __m256, lanes: &mut Lanes) {
        // SAFETY: as above.
        unsafe { _mm256_store_ps(lanes.0.as_mut_ptr(), vector) }
    }

    #[inline(always)]
    fn write(self, vector: __m256, numbers: &mut [f32; LANES]) {
        // SAFETY: as above; the store writes 8 numbers at any address.
        unsafe { _mm256_storeu_ps(numbers.as_mut_ptr(), vector) }
    }

    #[inline(always)]
    fn bytes(self, bytes: &[u8; LANES]) -> __m256 {
        // SAFETY: as above; the load reads 8 bytes at any address.
        unsafe { _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64(bytes.as_ptr().cast::<__m128i>()))) }
    }

    #[inline(always)]
    fn words(self, words: &[u8; 2 * LANES], shift: u32) -> __m256 {
        // SAFETY: as above; the load reads 16 bytes at any address.
        unsafe {
            let words = _mm_loadu_si128(words.as_ptr().cast::<__m128i>());
            let words = _mm_srl_epi16(words, _mm_cvtsi32_si128(shift as i32));
            _mm256_cvtepi32_ps(_mm256_cvtepu16_epi32(_mm_and_si128(words, _mm_set1_epi16(0x3ff))))
        }
    }

    #[inline(always)]
    fn mul_add(self, a: __m256, b: __m256, c: __m256) -> __m256 {
        // SAFETY: as above.
        unsafe { _mm256_fmadd_ps(a, b, c) }
    }

    #[inline(always)]
    fn clamp(self, vector: __m256, low: f32, high: f32) -> __m256 {
        // SAFETY: as above.
        unsafe { _mm256_min_ps(_mm256_max_ps(vector, _mm256_set1_ps(low)), _mm256_set1_ps(high)) }
    }

    #[inline(always)]
    fn transpose(self, [a, b, c, d, e, f, g, h]: [__m256; LANES]) -> [__m256; LANES] {
        // SAFETY: as above.
        unsafe {
            // Pairs, then fours within the halves of the registers, then the halves.
            let (ab0, ab1) = (_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
            let (cd0, cd1) = (_mm256_unpacklo_ps(c, d), _mm256_unpackhi_ps(c, d));
            let (ef0, ef1) = (_mm256_unpacklo_ps(e, f), _mm256_unpackhi_ps(e, f));
            let (gh0, gh1) = (_mm256_unpacklo_ps(g, h), _mm256_unpackhi_ps(g, h));
            let (ad0, ad1) = (_mm256_shuffle_ps::<0x44>(ab0, cd0), _mm256_shuffle_ps::<0xee>(ab0, cd0));
            let (ad2, ad3) = (_mm256_shuffle_ps::<0x44>(ab1, cd1), _mm256_shuffle_ps::<0xee>(ab1, cd1));
            let (eh0, eh1) = (_mm256_shuffle_ps::<0x44>(ef0, gh0), _mm256_shuffle_ps::<0xee>(ef0, gh0));
            let (eh2, eh3) = (_mm256_shuffle_ps::<0x44>(ef1, gh1), _mm256_shuffle_ps::<0xee>(ef1, gh1));
            [
                _mm256_permute2f128_ps::<0x20>(ad0, eh0),
                _mm256_permute2f128_ps::<0x20>(ad1, eh1),
                _mm256_permute2f128_ps::<0x20>(ad2, eh2),
                _mm256_permute2f128_ps::<0x20>(ad3, eh3),
                _mm256_permute2f128_ps::<0x31>(ad0, eh0),
                _mm256_permute2f128_ps::<0x31>(ad1, eh1),
                _mm256_permute2f128_ps::<0x31>(ad2, eh2),
                _mm256_permute2f128_ps::<0x31>(ad3, eh3),
            ]
        }
    }
}
