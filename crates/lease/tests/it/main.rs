//! Who may act.

mod cluster;
mod election;
mod etcd;
mod faults;
mod fencing;
mod home;
mod memory;
mod nats;
mod postgres;
mod process;
mod schedule;
mod servers;
mod simulation;
mod sqlite;
mod zombie;
