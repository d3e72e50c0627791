/// Those to wake, in the order of their turn. Wake them once no lock is held.
///
/// Nearly always none or one, and then it allocates nothing.
#[derive(Debug)]
#[must_use = "a waiter who is not woken does not learn that its turn came"]
pub struct Wakes<W> {
    first: Option<W>,
    rest: Vec<W>,
}

impl<W> Wakes<W> {
    pub(super) const fn none() -> Self {
        Self {
            first: None,
            rest: Vec::new(),
        }
    }

    pub(super) fn push(&mut self, waker: W) {
        if self.first.is_none() {
            self.first = Some(waker);
        } else {
            self.rest.push(waker);
        }
    }
}

impl<W> IntoIterator for Wakes<W> {
    type Item = W;
    type IntoIter = std::iter::Chain<std::option::IntoIter<W>, std::vec::IntoIter<W>>;

    fn into_iter(self) -> Self::IntoIter {
        self.first.into_iter().chain(self.rest)
    }
}
