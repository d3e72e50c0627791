//! One protected call, side by side with the peers.

use std::process::ExitCode;

use alloc_tracker::Allocator;

mod clock;
mod drive;
mod measure;
mod subject;

#[global_allocator]
static ALLOCATOR: Allocator<std::alloc::System> = Allocator::system();

fn main() -> ExitCode {
    let runs = subject::all();
    let rows = measure::measure(&runs, measure::Effort::FULL);
    for row in &rows {
        eprintln!("{:20} {} {:52} {:8.1} ±{:4.1}% {:5.2}", row.group, row.threads, row.subject, row.ns, row.spread*100., row.allocs);
    }
    ExitCode::SUCCESS
}
