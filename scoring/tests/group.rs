//! Several streams on one session, with a model that tells what it is given and stands still where a test wants it.

#![allow(clippy::unwrap_used, reason = "helpers of tests, too, end the test where they fail")]

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use deepfake_scoring::contract::Contract;
use deepfake_scoring::group::{BatchScorer, JoinError, Member, MemberError, Terms, join};
use deepfake_scoring::score::{Card, Evidence, NotScored, Scorer};
use deepfake_scoring::session::{Provider, RunOptions, SessionError, SessionOptions};

mod models;
use models::{SIDE, brightness};

/// Longer than any test takes.
const LONG: Duration = Duration::from_secs(3600);
/// A crop of that value makes the model stand still until the test opens the gate.
const HOLD: f32 = 1000.0;
/// The run fails.
const FAIL: f32 = 2000.0;
/// The worker panics.
const PANIC: f32 = 3000.0;

/// The brightness model, whose logit is the mean of the crop: crops of one value have that value for a logit.
struct Probe {
    scorer: Scorer,
    /// Values of the crops of each run, as it starts.
    runs: Sender<Vec<f32>>,
    gate: Receiver<()>,
    /// Whether the run went well that stood at the gate.
    held: Sender<bool>,
    values: Vec<f32>,
}

impl BatchScorer for Probe {
    fn card(&self) -> &Card {
        self.scorer.card()
    }

    fn crop_mut(&mut self, index: usize) -> &mut [f32] {
        self.scorer.crop_mut(index)
    }

    fn run(&mut self, n: usize, options: &RunOptions) -> Result<(), SessionError> {
        self.values.clear();
        for i in 0..n {
            let value = self.scorer.crop_mut(i)[0];
            self.values.push(value);
        }
        self.runs.send(self.values.clone()).unwrap();
        assert!(!self.values.contains(&PANIC), "as the test wants it");
        if self.values.contains(&HOLD) {
            self.gate.recv().unwrap();
            let result = self.scorer.run(n, Some(options));
            self.held.send(result.is_ok()).unwrap();
            return result;
        }
        self.scorer.run(n, Some(options))?;
        if self.values.contains(&FAIL) {
            return Err(SessionError::Run { model: "probe".into(), problem: "as the test wants it".into() });
        }
        Ok(())
    }

    fn evidence(&self, index: usize) -> Result<Evidence<'_>, NotScored> {
        self.scorer.evidence(index).and_then(|e| if e.logit == FAIL { Err(NotScored::RunFailed) } else { Ok(e) })
    }
}

fn options() -> SessionOptions {
    SessionOptions { provider: Provider::Cpu, ..SessionOptions::default() }
}

fn terms() -> Terms {
    Terms::new(&brightness(), None, &options()).unwrap()
}

/// A group of a test's own, by the test's name.
struct Rig {
    name: &'static str,
    runs: Receiver<Vec<f32>>,
    gate: Sender<()>,
    held: Receiver<bool>,
}

impl Rig {
    fn new(name: &'static str) -> (Self, Member) {
        let (tell_runs, runs) = channel();
        let (gate, at_gate) = channel();
        let (tell_held, held) = channel();
        let make = || {
            let scorer = Scorer::new(&brightness(), None, &options())?;
            Ok(Box::new(Probe { scorer, runs: tell_runs, gate: at_gate, held: tell_held, values: vec![] }) as _)
        };
        let member = join(name, terms(), make).unwrap();
        (Self { name, runs, gate, held }, member)
    }

    fn join(&self) -> Member {
        join(self.name, terms(), || panic!("the group is there already")).unwrap()
    }

    /// Values of the next run.
    fn run(&self) -> Vec<f32> {
        self.runs.recv_timeout(Duration::from_secs(60)).expect("nothing is run")
    }

    fn open(&self) -> bool {
        self.gate.send(()).unwrap();
        self.held.recv_timeout(Duration::from_secs(60)).unwrap()
    }

    /// Makes the worker stand still in a run, from which it is freed by [`Rig::open`].
    fn hold(&self, member: Member) -> Stream {
        let stream = Stream::start(member, vec![HOLD], None);
        assert_eq!(self.run(), [HOLD]);
        stream
    }
}

type Logits = Vec<Result<f32, NotScored>>;

/// A member at work in a thread of its own.
struct Stream(JoinHandle<(Member, Result<(), MemberError>, Logits)>);

impl Stream {
    fn start(mut member: Member, values: Vec<f32>, options: Option<Arc<RunOptions>>) -> Self {
        Self(std::thread::spawn(move || {
            for (i, value) in values.iter().enumerate() {
                member.crop_mut(i).fill(*value);
            }
            let result = member.run(values.len(), options.as_deref());
            let logits = (0..values.len()).map(|i| {
                let evidence = member.evidence(i)?;
                let map = evidence.map.unwrap();
                assert!(
                    map.values.len() == SIDE * SIDE && map.values.iter().all(|v| (v - evidence.logit).abs() < 1e-3)
                );
                Ok(evidence.logit)
            });
            let logits = logits.collect();
            (member, result, logits)
        }))
    }

    /// As [`Stream::start`], and waits until its faces are on the desk of a worker that stands still.
    fn queue(member: Member, values: Vec<f32>, options: Option<Arc<RunOptions>>) -> Self {
        let watch = member.watch();
        let (before, start) = (watch.stats().waiting, Instant::now());
        let count = values.len();
        let stream = Self::start(member, values, options);
        while watch.stats().waiting < before + count {
            assert!(start.elapsed() < Duration::from_secs(60), "nothing is handed in");
            std::thread::yield_now();
        }
        stream
    }

    fn end(self) -> (Member, Result<(), MemberError>, Logits) {
        self.0.join().unwrap()
    }

    /// Its scores are those of its own faces.
    fn scored(self, values: &[f32]) -> Member {
        let (member, result, logits) = self.end();
        result.unwrap();
        assert_eq!(logits, values.iter().map(|v| Ok(*v)).collect::<Vec<_>>());
        member
    }
}

#[test]
fn faces_of_several_are_run_together_and_each_gets_its_own() {
    let (rig, first) = Rig::new("together");
    let (a, b) = (rig.join(), rig.join());
    let held = rig.hold(first);
    let a = Stream::queue(a, vec![1.0, 2.0, 3.0], None);
    let b = Stream::queue(b, vec![11.0, 12.0], None);
    assert!(rig.open());
    assert_eq!(rig.run(), [1.0, 11.0, 2.0, 12.0, 3.0]);
    let (a, b, first) = (a.scored(&[1.0, 2.0, 3.0]), b.scored(&[11.0, 12.0]), held.scored(&[HOLD]));
    let stats = first.watch().stats();
    assert_eq!((stats.members, stats.runs, stats.faces, stats.waiting), (3, 2, 6, 0));
    drop((a, b));
    assert_eq!(first.watch().stats().members, 1);
}

#[test]
fn many_faces_of_one_do_not_keep_back_the_few_of_another() {
    let (rig, first) = Rig::new("greedy");
    let (greedy, slow) = (rig.join(), rig.join());
    let held = rig.hold(first);
    let mut many: Vec<f32> = (100..120).map(|v| v as f32).collect();
    // The greedy one's ninth face: of the second run after this one.
    many[8] = HOLD;
    let greedy = Stream::queue(greedy, many.clone(), None);
    let slow = Stream::queue(slow, vec![1.0], None);
    rig.open();
    assert_eq!(rig.run()[..3], [100.0, 1.0, 101.0]);
    // Scored while the other's faces are far from all run.
    let slow = slow.scored(&[1.0]);
    let next = rig.run();
    assert!(next.contains(&HOLD) && next.len() == 8, "{next:?}");
    // It comes again, and comes next.
    let slow = Stream::queue(slow, vec![2.0], None);
    rig.open();
    assert_eq!(rig.run()[0], 2.0);
    slow.scored(&[2.0]);
    greedy.scored(&many);
    held.scored(&[HOLD]);
}

#[test]
fn more_streams_than_a_run_has_room_for_take_turns() {
    let (rig, first) = Rig::new("turns");
    let members: Vec<_> = (0..12).map(|_| rig.join()).collect();
    let held = rig.hold(first);
    let streams: Vec<_> =
        members.into_iter().enumerate().map(|(i, member)| Stream::queue(member, vec![i as f32, 50.0], None)).collect();
    rig.open();
    let runs = [rig.run(), rig.run(), rig.run()];
    assert!(runs.iter().all(|r| r.len() == 8), "{runs:?}");
    // Each has had a face run before any has its second.
    let mut firsts = runs.concat();
    firsts.truncate(12);
    assert_eq!(firsts, (0..12).map(|v| v as f32).collect::<Vec<_>>());
    streams.into_iter().enumerate().for_each(|(i, s)| drop(s.scored(&[i as f32, 50.0])));
    held.scored(&[HOLD]);
}

#[test]
fn a_run_waits_for_who_looks_at_a_frame_and_for_nobody_else() {
    let (rig, mut patient) = Rig::new("window");
    let (mut other, _stalled) = (rig.join(), rig.join());
    patient.set_window(LONG);
    other.set_window(LONG);
    // Whoever hands in first waits for the other, and not for the third.
    patient.begin();
    other.begin();
    let stream = Stream::start(patient, vec![1.0], None);
    other.crop_mut(0).fill(2.0);
    other.run(1, None).unwrap();
    let mut run = rig.run();
    run.sort_by(f32::total_cmp);
    assert_eq!(run, [1.0, 2.0]);
    let patient = stream.scored(&[1.0]);
    // It looks at a frame without a face.
    other.begin();
    let stream = Stream::start(patient, vec![3.0], None);
    other.rest();
    assert_eq!(rig.run(), [3.0]);
    let patient = stream.scored(&[3.0]);
    // It ends while it looks at a frame.
    other.begin();
    let stream = Stream::start(patient, vec![4.0], None);
    drop(other);
    assert_eq!(rig.run(), [4.0]);
    stream.scored(&[4.0]);
}

#[test]
fn nobody_waits_beyond_the_window_or_the_deadline() {
    let (rig, mut member) = Rig::new("deadline");
    let (mut other, third) = (rig.join(), rig.join());
    // It never comes.
    other.begin();
    member.set_window(Duration::from_millis(1));
    let mut member = Stream::start(member, vec![1.0], None).scored(&[1.0]);
    member.set_window(LONG);
    // Its frame's time is over.
    member.set_frame_time(Some(Duration::ZERO));
    member.begin();
    let mut member = Stream::start(member, vec![2.0], None).scored(&[2.0]);
    // The least patient of those that are there decides.
    member.set_frame_time(None);
    let mut hasty = rig.join();
    hasty.set_window(Duration::ZERO);
    assert_eq!([rig.run(), rig.run()], [[1.0], [2.0]]);
    let held = rig.hold(third);
    let member = Stream::queue(member, vec![3.0], None);
    let hasty = Stream::queue(hasty, vec![4.0], None);
    rig.open();
    hasty.scored(&[4.0]);
    member.scored(&[3.0]);
    held.scored(&[HOLD]);
}

#[test]
fn who_gives_up_ends_the_run_only_if_no_others_faces_are_in_it() {
    let (rig, first) = Rig::new("given-up");
    let ended = Arc::new(RunOptions::new().unwrap());
    let (a, b) = (rig.join(), rig.join());
    let held = rig.hold(first);
    let a = Stream::queue(a, vec![HOLD, 1.0], Some(Arc::clone(&ended)));
    let b = Stream::queue(b, vec![2.0], None);
    rig.open();
    assert_eq!(rig.run(), [HOLD, 2.0, 1.0]);
    ended.terminate().unwrap();
    let (a, result, logits) = a.end();
    assert!(matches!(result, Err(MemberError::Ended)) && logits.iter().all(|l| *l == Err(NotScored::RunFailed)));
    // It comes again at once and is ended again, waiting this time.
    let stream = Stream::start(a, vec![3.0], Some(Arc::clone(&ended)));
    let (a, result, _) = stream.end();
    assert!(matches!(result, Err(MemberError::Ended)));
    assert!(rig.open(), "the other's face goes on");
    let b = b.scored(&[2.0]);
    // Alone in the run.
    ended.unterminate().unwrap();
    let stream = Stream::start(a, vec![HOLD], Some(Arc::clone(&ended)));
    assert_eq!(rig.run(), [HOLD]);
    ended.terminate().unwrap();
    assert!(matches!(stream.end().1, Err(MemberError::Ended)));
    let b = Stream::queue(b, vec![4.0], None);
    assert!(!rig.open(), "nobody waits for it");
    assert_eq!(rig.run(), [4.0], "what was given up while it waited is not run");
    b.scored(&[4.0]);
    held.scored(&[HOLD]);
}

#[test]
fn a_failure_is_that_of_whose_faces_fail() {
    let (rig, first) = Rig::new("failing");
    let (bad, good) = (rig.join(), rig.join());
    let held = rig.hold(first);
    let bad = Stream::queue(bad, vec![1.0, FAIL], None);
    let good = Stream::queue(good, vec![2.0], None);
    rig.open();
    assert_eq!([rig.run(), rig.run(), rig.run()], [vec![1.0, 2.0, FAIL], vec![1.0, FAIL], vec![2.0]]);
    let good = good.scored(&[2.0]);
    let (bad, result, logits) = bad.end();
    assert!(matches!(result, Err(MemberError::Run(_))));
    assert_eq!(logits, [Ok(1.0), Err(NotScored::RunFailed)]);
    // From now on its faces are kept apart, until they go well.
    let (mut bad, mut good, mut first) = (bad, good, held.scored(&[HOLD]));
    for (value, expected) in
        [(FAIL, vec![vec![FAIL], vec![5.0]]), (3.0, vec![vec![3.0], vec![5.0]]), (4.0, vec![vec![4.0, 5.0]])]
    {
        let held = rig.hold(first);
        let failing = Stream::queue(bad, vec![value], None);
        let other = Stream::queue(good, vec![5.0], None);
        rig.open();
        assert_eq!(expected.iter().map(|_| rig.run()).collect::<Vec<_>>(), expected);
        let result;
        (bad, result, _) = failing.end();
        assert_eq!(result.is_ok(), value != FAIL);
        (good, first) = (other.scored(&[5.0]), held.scored(&[HOLD]));
    }
}

#[test]
fn a_panic_is_told_to_each_member_and_ends_with_the_last_of_them() {
    let (rig, first) = Rig::new("panic");
    let (a, b, idle) = (rig.join(), rig.join(), rig.join());
    let held = rig.hold(first);
    let a = Stream::queue(a, vec![1.0, PANIC], None);
    let b = Stream::queue(b, vec![2.0], None);
    rig.open();
    let panicked = |result| matches!(result, Err(MemberError::Panicked(why)) if why == "as the test wants it");
    let (a, result, logits) = a.end();
    assert!(panicked(result) && logits == [Err(NotScored::RunFailed); 2]);
    let (b, result, _) = b.end();
    assert!(panicked(result));
    let (idle, result, _) = Stream::start(idle, vec![3.0], None).end();
    assert!(panicked(result));
    let (a, result, _) = Stream::start(a, vec![4.0], None).end();
    assert!(panicked(result), "and once more, to who comes once more");
    let refused = join("panic", terms(), || panic!("it is not gone yet"));
    assert!(matches!(refused, Err(JoinError::Broken { .. })));
    drop((a, b, idle, held.scored(&[HOLD])));
    let (_rig, member) = Rig::new("panic");
    Stream::start(member, vec![5.0], None).scored(&[5.0]);
}

#[test]
fn the_session_goes_with_the_last_member() {
    let (rig, first) = Rig::new("last");
    let second = rig.join();
    drop(first);
    let second = Stream::start(second, vec![1.0], None).scored(&[1.0]);
    assert_eq!(rig.run(), [1.0]);
    drop(second);
    assert!(rig.runs.recv().is_err(), "the model is gone before the last member is");
    // The next one makes a session anew.
    let (_rig, member) = Rig::new("last");
    Stream::start(member, vec![2.0], None).scored(&[2.0]);
}

#[test]
fn other_settings_are_refused_by_name_with_both_values() {
    let (_rig, _member) = Rig::new("terms");
    let refusal = |terms: Terms| join("terms", terms, || panic!("it is there")).unwrap_err().to_string();
    let with =
        |contract: Option<&Contract>, options: SessionOptions| Terms::new(&brightness(), contract, &options).unwrap();
    let said = refusal(with(None, SessionOptions { threads: 3, ..options() }));
    assert_eq!(said, "the session-group `terms` has threads=1, this stream asks for threads=3");
    let said = refusal(with(None, SessionOptions { provider: Provider::Auto, ..options() }));
    assert!(said.contains("provider=cpu") && said.contains("provider=auto"), "{said}");
    let said = refusal(with(None, SessionOptions { engine_cache: Some("/x".into()), ..options() }));
    assert!(said.contains("engine-cache=none") && said.contains("engine-cache=/x"), "{said}");
    let mut contract = Contract::from_metadata(brightness().metadata()).unwrap().unwrap();
    assert!(join("terms", with(Some(&contract), options()), || panic!("it is there")).is_ok(), "the same, said aloud");
    contract.crop.margin = 0.5;
    let said = refusal(with(Some(&contract), options()));
    assert!(said.contains("model-config's crop.margin=0.0") && said.contains("crop.margin=0.5"), "{said}");
    contract.crop.margin = 0.0;
    contract.output.map = None;
    let said = refusal(with(Some(&contract), options()));
    assert!(said.contains("output.map=map") && said.contains("output.map=unset"), "{said}");
    let mut bytes = brightness().bytes().to_vec();
    // An empty doc_string: another file that does the same.
    bytes.extend([0x32, 0]);
    let other = deepfake_scoring::model::Model::from_bytes("other", bytes).unwrap();
    let said = refusal(Terms::new(&other, None, &options()).unwrap());
    assert!(said.contains(brightness().sha256()) && said.contains(other.sha256()), "{said}");
}

#[test]
fn streams_come_and_go_and_are_ended_while_others_are_scored() {
    const STREAMS: u32 = 8;
    const ROUNDS: u32 = 60;
    let make = || Ok(Box::new(Scorer::new(&brightness(), None, &options())?) as _);
    let streams: Vec<_> = (0..STREAMS)
        .map(|stream| {
            std::thread::spawn(move || {
                let ended = RunOptions::new().unwrap();
                let (mut place, mut scored) = (None, 0);
                for round in 0..ROUNDS {
                    // A fixed pattern, other for each stream.
                    let number = stream * 7919 + round * 104_729;
                    let member: &mut Member = place.get_or_insert_with(|| join("come-and-go", terms(), make).unwrap());
                    member.set_window(Duration::from_micros(u64::from(number % 500)));
                    member.begin();
                    let count = (number % 5) as usize;
                    for i in 0..count {
                        member.crop_mut(i).fill((number % 1000 + i as u32) as f32);
                    }
                    if number.is_multiple_of(6) {
                        ended.terminate().unwrap();
                    } else {
                        ended.unterminate().unwrap();
                    }
                    match member.run(count, Some(&ended)) {
                        Err(MemberError::Ended) => assert!(number.is_multiple_of(6)),
                        result => {
                            result.unwrap();
                            for i in 0..count {
                                let logit = member.evidence(i).unwrap().logit;
                                assert!((logit - (number % 1000 + i as u32) as f32).abs() < 1e-2);
                            }
                            scored += count;
                        }
                    }
                    if number.is_multiple_of(11) {
                        place = None;
                    }
                }
                scored
            })
        })
        .collect();
    let scored: HashSet<bool> = streams.into_iter().map(|s| s.join().unwrap() > 0).collect();
    assert_eq!(scored, HashSet::from([true]), "each stream has been scored");
}
