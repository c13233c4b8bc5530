//! The committed corpus, replayed with a bounded number of seeded mutations: what a stable toolchain can do.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tollway_fuzz::{TARGETS, run};

/// Mutations of each input.
const MUTATIONS: u64 = 3_000;

/// The most a target may take in all: a slow machine replays less.
const PATIENCE: Duration = Duration::from_secs(20);

fn corpus(name: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
    let mut paths: Vec<_> = fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    // Directories have no order; a run must have one.
    paths.sort();
    paths.into_iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

/// Names the input that broke a property, then lets the panic go on.
fn tried(name: &str, origin: &Path, data: &[u8]) {
    if let Err(panic) = std::panic::catch_unwind(|| run(name, data)) {
        eprintln!("{name}, from {}: {:?}", origin.display(), String::from_utf8_lossy(data));
        std::panic::resume_unwind(panic);
    }
}

#[test]
fn every_target_has_a_corpus_and_every_corpus_a_target() {
    let mut folders: Vec<_> = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    folders.sort();
    assert_eq!(folders, TARGETS.map(|(name, _)| name.to_owned()));
    for (name, _) in TARGETS {
        assert!(!corpus(name).is_empty(), "{name}");
    }
}

#[test]
fn the_corpus_holds() {
    for (name, _) in TARGETS {
        for (path, data) in corpus(name) {
            tried(name, &path, &data);
        }
    }
}

#[test]
fn mutations_of_the_corpus_hold() {
    for (name, _) in TARGETS {
        let start = Instant::now();
        let corpus = corpus(name);
        for round in 0..MUTATIONS {
            for (index, (path, data)) in corpus.iter().enumerate() {
                let mut random = Random(round * 1_000_003 + index as u64 + 1);
                tried(name, path, &mutated(data, &corpus, &mut random));
            }
            if start.elapsed() > PATIENCE {
                break;
            }
        }
    }
}

/// One to four small changes: where decoders break is one step from where they hold.
fn mutated(data: &[u8], corpus: &[(PathBuf, Vec<u8>)], random: &mut Random) -> Vec<u8> {
    const TOKENS: [&[u8]; 16] = [
        b"null",
        b"{}",
        b"[]",
        b"\"\"",
        b"-1",
        b"1e3",
        b"01",
        b"1.5",
        b"18446744073709551616",
        b"\\u0000",
        b"\\ud800",
        b"%",
        b"%2e",
        b"\xff",
        b"eip155:",
        b"\"x402Version\":1,",
    ];
    let mut data = data.to_vec();
    for _ in 0..=random.below(3) {
        let at = random.below(data.len() + 1);
        let end = (at + random.below(12)).min(data.len());
        match random.below(6) {
            0 => drop(data.drain(at..end)),
            1 => drop(data.splice(at..at, TOKENS[random.below(TOKENS.len())].iter().copied())),
            2 => drop(data.splice(at..end, TOKENS[random.below(TOKENS.len())].iter().copied())),
            3 => data.insert(at, random.next().to_le_bytes()[0]),
            4 => {
                let copy = data[at..end].to_vec();
                let to = random.below(data.len() + 1);
                drop(data.splice(to..to, copy));
            }
            _ => {
                let other = &corpus[random.below(corpus.len())].1;
                let from = random.below(other.len() + 1);
                let part = &other[from..(from + random.below(64)).min(other.len())];
                drop(data.splice(at..at, part.iter().copied()));
            }
        }
    }
    data
}

/// SplitMix64: the same on every machine.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound.max(1) as u64).unwrap()
    }
}
