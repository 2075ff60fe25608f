// Appended to the core by tidegate-mutants: which mutant this process is.

#[doc(hidden)]
pub mod mutant {
    extern crate std;

    use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

    const UNKNOWN: u32 = u32::MAX;
    /// No mutant, but every one that is reached is written down.
    const RECORDING: u32 = u32::MAX - 1;
    const MOST: usize = 10_000;

    static ACTIVE: AtomicU32 = AtomicU32::new(UNKNOWN);
    static REACHED: [AtomicU32; MOST] = [const { AtomicU32::new(0) }; MOST];

    #[cold]
    fn find_out() -> u32 {
        let number = std::env::var("TIDEGATE_MUTANT").ok().and_then(|text| text.parse().ok());
        let record = std::env::var_os("TIDEGATE_MUTANTS_REACHED").is_some();
        let active = if record { RECORDING } else { number.unwrap_or(0) };
        if std::env::var_os("TIDEGATE_MUTANT_QUITS").is_some() {
            std::panic::set_hook(std::boxed::Box::new(|_| std::process::exit(101)));
        }
        ACTIVE.store(active, Relaxed);
        active
    }

    #[cold]
    fn record(mutant: u32) {
        use std::io::Write;
        let reached = &REACHED[mutant as usize];
        if reached.load(Relaxed) == 0 && reached.swap(1, Relaxed) == 0 {
            let path = std::env::var_os("TIDEGATE_MUTANTS_REACHED").unwrap();
            let file = std::fs::OpenOptions::new().create(true).append(true).open(path);
            file.unwrap().write_all(std::format!("{mutant}\n").as_bytes()).unwrap();
        }
    }

    /// Whether this process is that mutant.
    #[inline(always)]
    pub fn is(mutant: u32) -> bool {
        let mut active = ACTIVE.load(Relaxed);
        if active >= RECORDING {
            if active == UNKNOWN {
                active = find_out();
            }
            if active == RECORDING {
                record(mutant);
            }
        }
        active == mutant
    }

    #[inline(always)]
    pub fn equal<A: PartialEq<B> + ?Sized, B: ?Sized>(a: &A, b: &B, mutant: u32) -> bool {
        (a == b) ^ is(mutant)
    }

    #[inline(always)]
    pub fn order<A: PartialOrd<B> + ?Sized, B: ?Sized>(
        a: &A,
        b: &B,
        operator: &str,
        mutants: &[(u32, &str)],
    ) -> bool {
        let mut chosen = operator;
        for (mutant, other) in mutants {
            if is(*mutant) {
                chosen = other;
            }
        }
        match chosen {
            "<" => a < b,
            "<=" => a <= b,
            ">" => a > b,
            ">=" => a >= b,
            "!=" => a != b,
            _ => a == b,
        }
    }
}
