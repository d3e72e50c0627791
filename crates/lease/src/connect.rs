use backstay_core::Invalid;
use backstay_store::Unavailable;

/// Why a home of leases can't be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// An option is out of its range, or what is there was made with another.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// It can't be reached, or does not do what it was asked.
    #[error("the home of leases can't be reached")]
    Unavailable(#[from] Unavailable),
}
