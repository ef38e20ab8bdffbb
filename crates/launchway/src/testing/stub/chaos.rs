//! Faults at random, the same for the same seed.

/// One fault in so many answers, of a random kind, until a number of them is reached.
pub(crate) struct Chaos {
    pub(crate) random: Random,
    pub(crate) one_in: u64,
    pub(crate) left: u32,
}

/// xorshift64: the same seed gives the same numbers for ever.
#[derive(Clone, Copy)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }

    pub(crate) fn one_of<T: Clone>(&mut self, choices: &[T]) -> T {
        let place = usize::try_from(self.below(choices.len() as u64)).unwrap();
        choices[place].clone()
    }
}

impl Chaos {
    /// The kind of the fault that this answer has.
    pub(super) fn strike(&mut self) -> Option<u64> {
        if self.left == 0 || self.random.below(self.one_in) != 0 {
            return None;
        }
        self.left -= 1;
        Some(self.random.below(4))
    }
}
