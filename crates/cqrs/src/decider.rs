use std::error::Error;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// What may happen to a thing, and what it comes to: the rules of the write side, without I/O.
///
/// ```
/// use backstay_cqrs::Decider;
/// use serde::{Deserialize, Serialize};
///
/// struct Accounts;
///
/// enum Command { Deposit(u64), Withdraw(u64) }
///
/// #[derive(Clone, Debug, Serialize, Deserialize)]
/// enum Event { Deposited { cents: u64 }, Withdrawn { cents: u64 } }
///
/// #[derive(Debug, thiserror::Error)]
/// #[error("{asked} cents are asked for, and {there} are there")]
/// struct TooLittle { asked: u64, there: u64 }
///
/// impl Decider for Accounts {
///     type State = u64;
///     type Command = Command;
///     type Event = Event;
///     type Error = TooLittle;
///
///     fn decide(&self, there: &u64, command: &Command) -> Result<Vec<Event>, TooLittle> {
///         match *command {
///             Command::Deposit(cents) => Ok(vec![Event::Deposited { cents }]),
///             Command::Withdraw(cents) if cents <= *there => Ok(vec![Event::Withdrawn { cents }]),
///             Command::Withdraw(asked) => Err(TooLittle { asked, there: *there }),
///         }
///     }
///
///     fn evolve(&self, there: &mut u64, event: &Event) {
///         match event {
///             Event::Deposited { cents } => *there += cents,
///             Event::Withdrawn { cents } => *there -= cents,
///         }
///     }
/// }
/// ```
pub trait Decider: Send + Sync + 'static {
    /// What a thing is, as far as decisions need it; the default is one of which nothing has happened.
    type State: Default + Send + Sync + 'static;
    /// What is asked for.
    type Command: Sync;
    /// What can happen.
    type Event: Serialize + DeserializeOwned + Send + Sync + 'static;
    /// Why a command is refused.
    type Error: Error + Send + Sync + 'static;

    /// What happens by a command. Nothing, if all is so already.
    ///
    /// It may be asked again for one command, with a newer state, when somebody else was first: so it has no effects of its own.
    fn decide(
        &self,
        state: &Self::State,
        command: &Self::Command,
    ) -> Result<Vec<Self::Event>, Self::Error>;

    /// What the thing is after an event. An event that has happened is never refused.
    fn evolve(&self, state: &mut Self::State, event: &Self::Event);
}
