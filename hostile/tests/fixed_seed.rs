//! Each fuzz target with bytes that are the same in each run: noise, and sound inputs with some of their bytes changed.

use std::panic::{AssertUnwindSafe, catch_unwind};

use deepfake_hostile::{TARGETS, Target};

/// So many inputs a target; `HOSTILE_ROUNDS` may ask for more.
const ROUNDS: u64 = 4_000;

/// SplitMix64.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.next() as u8).collect()
    }
}

fn change(bytes: &mut Vec<u8>, numbers: &mut Numbers) {
    for _ in 0..1 + numbers.below(6) {
        let at = numbers.below(bytes.len() + 1);
        match numbers.below(7) {
            0 => bytes.truncate(at),
            1 => {
                let more = numbers.below(40);
                let more = numbers.bytes(more);
                bytes.splice(at..at, more);
            }
            2 => {
                let end = bytes.len().min(at + numbers.below(20));
                bytes.drain(at..end);
            }
            3 => {
                let end = bytes.len().min(at + numbers.below(60));
                let twice = bytes[at..end].to_vec();
                bytes.splice(at..at, twice);
            }
            4 => bytes.splice(at..at, b"9".repeat(numbers.below(30))).for_each(drop),
            _ => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = numbers.next() as u8;
                }
            }
        }
    }
}

fn run(name: &str) {
    let target: &Target = TARGETS.iter().find(|t| t.name == name).unwrap();
    let rounds = std::env::var("HOSTILE_ROUNDS").ok().map_or(ROUNDS, |n| n.parse().unwrap());
    let sound = (target.sound)();
    for input in &sound {
        (target.run)(input);
    }
    for round in 0..rounds {
        let mut numbers = Numbers(round);
        let input = if numbers.below(3) == 0 {
            let length = numbers.below(600);
            numbers.bytes(length)
        } else {
            let which = numbers.below(sound.len());
            let mut input = sound[which].clone();
            change(&mut input, &mut numbers);
            input
        };
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| (target.run)(&input))) {
            eprintln!("{name}, round {round}: {:?}", String::from_utf8_lossy(&input));
            std::panic::resume_unwind(panic);
        }
    }
}

#[test]
fn contracts_of_strangers() {
    run("contract");
}

#[test]
fn sidecar_files_of_strangers() {
    run("sidecar");
}

#[test]
fn model_files_of_strangers() {
    run("model");
}

#[test]
fn metadata_of_strangers() {
    run("meta");
}

#[test]
fn outputs_of_strange_detectors() {
    run("decode");
}

#[test]
fn frames_of_strangers() {
    run("frame");
}
