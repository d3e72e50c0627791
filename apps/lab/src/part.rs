//! What a process of the lab is that another one has started.

use std::net::SocketAddr;

use crate::child;
use crate::cli::Part;
use crate::keys::authority::{self, Authority};
use crate::keys::door;
use crate::leader::candidate::Candidate;
use crate::leader::{coordination, resource};
use crate::replies::server;
use crate::report::terminal::say;
use crate::saga::gate::Gate;
use crate::saga::{orchestrator, participant};
use crate::torn::{self, reader, writer};

/// Is what it was started for, until whoever started it is gone.
pub(crate) async fn be(part: Part) -> anyhow::Result<()> {
    let tell = |address: SocketAddr| say(&address.to_string());
    let work = async {
        match part {
            Part::Coordination { folder } => coordination::serve(&folder, tell).await,
            Part::Resource { folder } => resource::serve(&folder, tell).await,
            Part::Candidate {
                arm,
                node,
                coordination,
                resource,
            } => {
                let candidate = Candidate {
                    arm,
                    node,
                    coordination,
                    resource,
                };
                candidate.stand().await
            }
            Part::Orders { arm, folder } => server::serve(arm, &folder, tell).await,
            Part::Orchestrator { arm, folder, gate } => {
                orchestrator::serve(arm, &folder, Gate(gate), tell).await
            }
            Part::Participant {
                arm,
                service,
                folder,
                gate,
            } => participant::serve(arm, service, &folder, Gate(gate), tell).await,
            Part::Writer { arm, folder, gate } => {
                writer::serve(arm, &folder, torn::gate::Gate(gate), tell).await
            }
            Part::Reader { arm, folder, gate } => {
                reader::serve(arm, &folder, torn::gate::Gate(gate), tell).await
            }
            Part::Authority { folder } => authority::serve(&folder, tell).await,
            Part::Door {
                arm,
                folder,
                authority,
            } => door::serve(arm, &folder, Authority(authority), tell).await,
        }
    };
    tokio::select! {
        done = work => done,
        () = child::orphaned() => Ok(()),
    }
}
