//! Whose crops a run takes.

use super::desk::Job;

/// A crop that is run: which of the worker's jobs, which of its crops.
#[derive(Clone, Copy)]
pub(super) struct Pick {
    pub(super) job: usize,
    pub(super) crop: usize,
}

pub(super) struct Turns {
    /// Crops of one run at most.
    most: usize,
    /// Whose crop was taken last.
    last: u64,
    // Kept from run to run for its memory.
    order: Vec<usize>,
}

impl Turns {
    pub(super) fn of(most: usize) -> Self {
        Self { most, last: 0, order: vec![] }
    }

    pub(super) fn most(&self) -> usize {
        self.most
    }

    /// Takes crops for a run, one of each member in turn, from the member on that comes after the last. A suspect's are taken by
    /// themselves; where it was passed over once, it is next.
    pub(super) fn pick(&mut self, jobs: &mut [Job], picks: &mut Vec<Pick>) {
        let Self { most, last, order } = self;
        picks.clear();
        order.clear();
        order.extend(0..jobs.len());
        order.sort_unstable_by_key(|&i| (jobs[i].id.member <= *last, jobs[i].id.member));
        let late = order.iter().copied().find(|&i| jobs[i].passed_over);
        match late.or(order.first().copied()).filter(|&i| jobs[i].suspect) {
            Some(suspect) => {
                jobs[suspect].passed_over = false;
                order.clear();
                order.push(suspect);
            }
            None => order.retain(|&i| {
                // Only who goes before it by being many: two suspects would else take turns for ever.
                jobs[i].passed_over = jobs[i].suspect;
                !jobs[i].suspect
            }),
        }
        while picks.len() < *most {
            let before = picks.len();
            for &i in order.iter() {
                let job = &mut jobs[i];
                if job.taken < job.count && picks.len() < *most {
                    picks.push(Pick { job: i, crop: job.taken });
                    job.taken += 1;
                    // Who was put first has not had its turn: the others go on where they were.
                    if late.is_none() {
                        *last = job.id.member;
                    }
                }
            }
            if picks.len() == before {
                break;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Instant;

    use super::super::desk::JobId;
    use super::*;
    use crate::interrupt::Bell;

    fn job(member: u64, serial: u64, suspect: bool) -> Job {
        Job {
            id: JobId { member, serial },
            work: Default::default(),
            count: 1,
            taken: 0,
            suspect,
            passed_over: false,
            wait_until: Instant::now(),
            deadline: None,
            bell: Arc::<Bell>::default(),
            mailbox: Arc::default(),
        }
    }

    /// Who is in each of so many runs, where each member hands in its next face when one more run has gone by: two halves take turns.
    fn runs(members: u64, suspects: &[u64], most: usize, count: u64) -> Vec<Vec<u64>> {
        let job = |member, serial| job(member, serial, suspects.contains(&member));
        let (first, mut coming): (Vec<_>, Vec<_>) = (1..=members).partition(|m| m % 2 == 1 || suspects.contains(m));
        let mut jobs: Vec<_> = first.into_iter().map(|member| job(member, 0)).collect();
        let (mut turns, mut picks) = (Turns::of(most), vec![]);
        let mut runs = vec![];
        for serial in 1..=count {
            turns.pick(&mut jobs, &mut picks);
            let run: Vec<_> = picks.iter().map(|p| jobs[p.job].id.member).collect();
            jobs.retain(|job| job.taken < job.count);
            jobs.extend(coming.drain(..).map(|member| job(member, serial)));
            coming.clone_from(&run);
            runs.push(run);
        }
        runs
    }

    fn check(members: u64, suspects: &[u64], most: usize) {
        let runs = runs(members, suspects, most, 200);
        for member in 1..=members {
            let gaps: Vec<_> = runs.split(|run| run.contains(&member)).map(<[_]>::len).collect();
            assert!(gaps.iter().all(|gap| *gap <= 16), "member {member}, {suspects:?} of {most}: {gaps:?}");
        }
        for run in &runs {
            assert!(!run.is_empty() && (run.len() == 1 || !run.iter().any(|m| suspects.contains(m))), "{run:?}");
        }
    }

    #[test]
    fn nobody_waits_for_ever_beside_suspects() {
        for suspects in [&[5][..], &[1], &[9], &[4, 5], &[1, 5, 9], &[]] {
            for most in [2, 4, 8] {
                check(9, suspects, most);
            }
        }
    }
}
