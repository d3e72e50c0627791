//! What may replace what: no I/O, no clock, no data.

use crate::Version;

/// Follows a source's history.
///
/// Every change of a copy goes through here. What it holds only grows, in the order of [`Version`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Follow {
    held: Option<Version>,
    /// Since when a snapshot is being told.
    loading: Option<Version>,
    /// What was told last can't be taken, or was half taken: only a whole snapshot mends that.
    is_broken: bool,
}

/// What a session told that can't be taken. It ends, and the next one begins with a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Broken {
    /// A snapshot is older than the copy: of a replica that is late, or of a source that has gone back.
    #[error("a snapshot of {offered} is older than the copy, {held}")]
    Older {
        /// What was offered.
        offered: Version,
        /// What the copy holds.
        held: Version,
    },
    /// Something is missing between the copy and what was told.
    #[error("changes between {held} and {after} are missing")]
    Gap {
        /// What the copy holds.
        held: Version,
        /// What was told begins here.
        after: Version,
    },
    /// The source says that it is where the copy was long ago, or in another history.
    #[error("the source is at {told}, and the copy at {held}")]
    Behind {
        /// Where the source is.
        told: Version,
        /// What the copy holds.
        held: Version,
    },
    /// Changes or a page where a snapshot should begin, or a snapshot that ends before it begins.
    #[error("what was told is out of its order")]
    Disorder,
    /// The copy would hold more than it may.
    #[error("more than {limit} entries")]
    TooMany {
        /// The bound.
        limit: usize,
    },
}

/// What changes say of the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claims {
    /// There is nothing after them.
    AtHead,
    Nothing,
}

/// What to do with changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Apply {
    /// Those with higher numbers; the copy holds the others.
    Above(u64),
    /// The copy holds them.
    Nothing,
}

impl Follow {
    pub(crate) fn new(held: Option<Version>) -> Self {
        Self {
            held,
            loading: None,
            is_broken: false,
        }
    }

    pub(crate) fn held(&self) -> Option<Version> {
        self.held
    }

    /// From where changes would do.
    pub(crate) fn resume(&self) -> Option<Version> {
        self.held.filter(|_| !self.is_broken)
    }

    pub(crate) fn on_broken(&mut self) {
        self.is_broken = true;
    }

    /// A session has ended: half a snapshot is none.
    pub(crate) fn on_end(&mut self) {
        self.loading = None;
    }

    pub(crate) fn on_snapshot(&mut self, version: Version) -> Result<(), Broken> {
        self.refuse_older(version)?;
        self.loading = Some(version);
        Ok(())
    }

    pub(crate) fn on_page(&self) -> Result<(), Broken> {
        self.loading.map(|_| ()).ok_or(Broken::Disorder)
    }

    pub(crate) fn on_complete(&mut self, version: Version) -> Result<(), Broken> {
        let began = self.loading.take().ok_or(Broken::Disorder)?;
        if version < began || version.epoch != began.epoch {
            return Err(Broken::Disorder);
        }
        self.refuse_older(version)?;
        (self.held, self.is_broken) = (Some(version), false);
        Ok(())
    }

    pub(crate) fn on_changes(
        &mut self,
        after: Version,
        upto: Version,
        claims: Claims,
    ) -> Result<Apply, Broken> {
        let held = self.following()?;
        if upto < after || upto.epoch != after.epoch {
            return Err(Broken::Disorder);
        }
        if upto.epoch < held.epoch || (upto < held && claims == Claims::AtHead) {
            return Err(Broken::Behind { told: upto, held });
        }
        if after > held {
            return Err(Broken::Gap { held, after });
        }
        if upto <= held {
            return Ok(Apply::Nothing);
        }
        // What overlaps was applied before: a deletion would be brought back until it comes again.
        let above = if after < held { held.number } else { 0 };
        Ok(Apply::Above(above))
    }

    /// Changes were applied, all of them.
    pub(crate) fn on_applied(&mut self, upto: Version) {
        self.held = Some(upto);
    }

    fn following(&self) -> Result<Version, Broken> {
        match (self.resume(), self.loading) {
            (Some(held), None) => Ok(held),
            _ => Err(Broken::Disorder),
        }
    }

    fn refuse_older(&self, offered: Version) -> Result<(), Broken> {
        match self.held {
            Some(held) if offered < held => Err(Broken::Older { offered, held }),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
